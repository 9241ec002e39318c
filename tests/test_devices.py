"""Tests of what every stage does first."""

import multiprocessing
import os
import re
from functools import partial

import pytest
import torch

from tcam_cache.devices import find_device, worker_count
from tcam_cache.errors import DeviceError
from tcam_cache.processes import in_processes, worker_number


def test_auto_takes_the_first_accelerator_and_else_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert find_device("auto") == find_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert find_device("auto") == torch.device("mps")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert find_device("auto") == find_device("cuda") == torch.device("cuda:0")
    assert find_device("cuda:1") == torch.device("cuda:1")


@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_worker_processes_take_the_gpus_in_turn(monkeypatch, name):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for number, device in ((1, "cuda:0"), (2, "cuda:1"), (3, "cuda:0"), (10, "cuda:1")):
        monkeypatch.setattr(multiprocessing.current_process(), "name", f"LokyProcess-{number}")
        assert str(find_device(name)) == device
        assert str(find_device("cuda:1")) == "cuda:1"


def test_worker_processes_have_the_names_that_their_numbers_are_read_from():
    name = partial(eval, "__import__('multiprocessing').current_process().name")
    names = set(in_processes((name for _ in range(6)), 2))
    assert all(re.fullmatch(r"LokyProcess-[1-9]\d*", one) for one in names)
    assert worker_number() == 0


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


def test_processes_that_train_together_share_the_cores(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    assert [worker_count(None, local_size=local_size) for local_size in (1, 2, 4, 16)] == [15, 7, 3, 1]
    assert worker_count(5, local_size=4) == 5


def test_each_process_that_trains_with_others_gets_a_device_of_its_own(monkeypatch):
    chosen = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name in ("auto", "cuda"):
        assert [find_device(name, local_rank, 2) for local_rank in range(2)] == [
            torch.device("cuda:0"),
            torch.device("cuda:1"),
        ]
    assert chosen == [0, 1, 0, 1]
    assert find_device("cpu", 1, 2) == torch.device("cpu")
    with pytest.raises(DeviceError, match=r"started 3 processes here, where there are 2 CUDA"):
        find_device("auto", 0, 3)
    with pytest.raises(DeviceError, match="got device 'cuda:1' for 2 processes"):
        find_device("cuda:1", 0, 2)


def test_processes_without_an_accelerator_train_on_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert find_device("auto", 1, 2) == torch.device("cpu")
    with pytest.raises(DeviceError, match="0 CUDA"):
        find_device("cuda", 1, 2)
