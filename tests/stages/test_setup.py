"""Tests of what every stage does first."""

import os

import pytest
import torch

from tcam_cache.errors import DeviceError
from tcam_cache.stages.setup import find_device, worker_count


def test_auto_takes_the_first_accelerator_and_else_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert find_device("auto") == find_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert find_device("auto") == torch.device("mps")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert find_device("auto") == find_device("cuda") == torch.device("cuda:0")
    assert find_device("cuda:1") == torch.device("cuda:1")


@pytest.mark.parametrize("name", ["cuda:7", "cude", "", "CPU", "mps:1"])
def test_a_device_that_is_not_there_is_named_with_those_that_are(monkeypatch, name):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(DeviceError, match=r"cpu, cuda:0, cuda:1") as caught:
        find_device(name)
    assert repr(name) in str(caught.value)


def test_one_core_is_left_to_the_network(monkeypatch):
    for cores, workers in ((1, 1), (2, 1), (16, 15), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        assert worker_count(None) == workers
    assert (worker_count(0), worker_count(3)) == (0, 3)
