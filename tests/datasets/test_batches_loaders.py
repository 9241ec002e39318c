"""Tests of the workers that load samples, which send them through pipes."""

import os
import signal

import pytest
import torch
from torch.utils.data import Dataset

from tcam_cache.datasets.batches import loaded, loader_of
from tcam_cache.errors import WorkerError


class Items(Dataset):
    """Tensors that are views of others in every way that a sample may be, and what is no tensor."""

    def __len__(self):
        return 3

    def __getitem__(self, number):
        whole = torch.arange(24.0).reshape(1, 2, 3, 4) + number
        return (whole.permute(0, 3, 1, 2), whole[0, 1], torch.tensor(number), torch.empty(0)), ["text"]


class Dies(Items):
    def __getitem__(self, number):
        os.kill(os.getpid(), signal.SIGBUS)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_item_is_the_same_from_any_process_in_values_and_layout(workers):
    for number, (tensors, rest) in enumerate(loaded(loader_of(Items(), workers))):
        assert rest == ["text"]
        for ours, theirs in zip(tensors, Items()[number][0], strict=True):
            assert torch.equal(ours, theirs) and ours.dtype == theirs.dtype
            assert ours.stride() == theirs.stride()


def test_what_a_worker_sends_takes_no_shared_memory():
    ((tensors, _), *_) = loaded(loader_of(Items(), 1))
    assert not any(tensor.is_shared() for tensor in tensors)
    tensors[0].add_(1)  # and may be written to


def test_the_items_of_a_plan_are_read_anew_at_every_pass():
    plan = [2, 0]
    loader = loader_of(Items(), 1, plan)
    assert [int(tensors[2]) for tensors, _ in loaded(loader)] == [2, 0]
    plan[:] = [1]
    assert [int(tensors[2]) for tensors, _ in loaded(loader)] == [1]


def test_a_worker_that_is_killed_is_a_named_error():
    with pytest.raises(WorkerError, match=r"DataLoader worker[\s\S]*shared memory[\s\S]*--workers 0"):
        list(loaded(loader_of(Dies(), 1)))
