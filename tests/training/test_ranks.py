"""Tests of the ranks: shares, sums over two processes, and what the others see of one that ends."""

import time

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tcam_cache.errors import ConfigError, RunError
from tcam_cache.training import SINGLE_PROCESS, Ranks, joined_ranks


def joined(two_ranks, call):
    """Return what a function of its ranks returned in each of two processes."""

    def run():
        with joined_ranks() as ranks:
            return call(ranks)

    return two_ranks(run)


@given(st.lists(st.integers()), st.integers(1, 5))
def test_shares_are_disjoint_as_even_as_can_be_and_nothing_is_left_out(batch, size):
    shares = [Ranks(rank, size).share(batch) for rank in range(size)]
    assert sorted(item for share in shares for item in share) == sorted(batch)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert len(shares[0]) == max(map(len, shares))  # the one that writes is never idle


def test_without_torchrun_a_process_is_alone_and_every_sum_is_the_value_itself():
    module = nn.Linear(2, 1)
    with joined_ranks() as ranks:
        assert ranks == SINGLE_PROCESS and ranks.is_first
        value = torch.tensor([1.0])
        assert ranks.total(value) is value
        ranks.sum_gradients(module.parameters())
        assert module.weight.grad is None
        ranks.copy_buffers(module)
        assert ranks.any(True, False) == (True, False)
        assert ranks.gather("x") == ["x"]
        assert ranks.from_first(lambda: 7) == 7


def test_two_processes_know_their_places_and_sum(two_ranks):
    def call(ranks):
        total = ranks.total(torch.tensor([1, 10 ** (1 + ranks.rank)])).tolist()
        made = ranks.from_first(lambda: f"made by {ranks.rank}")
        flags = ranks.any(ranks.rank == 1, ranks.rank == 0, False)
        return ranks.rank, ranks.local_rank, total, made, flags, ranks.gather({"rank": ranks.rank})

    told = ([2, 110], "made by 0", (True, True, False), [{"rank": 0}, {"rank": 1}])
    assert joined(two_ranks, call) == [(0, 0, *told), (1, 1, *told)]


def test_gradients_are_summed_where_only_one_of_the_two_has_any(two_ranks):
    def call(ranks):
        module = nn.Conv2d(2, 1, 2, bias=False).to(memory_format=torch.channels_last)
        if ranks.rank == 1:
            module.weight.grad = torch.arange(8.0).view(1, 2, 2, 2)
        ranks.sum_gradients(module.parameters())
        once = module.weight.grad.flatten().tolist()
        ranks.sum_gradients(module.parameters())
        return once, module.weight.grad.flatten().tolist()

    expected = ([float(n) for n in range(8)], [2.0 * n for n in range(8)])
    assert joined(two_ranks, call) == [expected, expected]


def test_every_process_gets_the_buffers_of_the_first_and_keeps_its_parameters(two_ranks):
    def call(ranks):
        norm = nn.BatchNorm2d(2)
        for value in norm.state_dict().values():
            value.fill_(5 + ranks.rank)
        ranks.copy_buffers(norm)
        return {name: value.unique().tolist() for name, value in norm.state_dict().items()}

    buffers = {"running_mean": [5], "running_var": [5], "num_batches_tracked": [5]}
    first, second = joined(two_ranks, call)
    assert first == {"weight": [5], "bias": [5], **buffers}
    assert second == {"weight": [6], "bias": [6], **buffers}


def test_a_process_that_ends_ends_the_other_with_a_named_error(two_ranks):
    def call(ranks):
        if ranks.rank == 1:
            raise ConfigError("a message. Do this.")
        ranks.from_first(lambda: None)
        ranks.any(False)
        return "waited in vain"

    began = time.monotonic()
    first, second = joined(two_ranks, call)
    assert isinstance(first, RunError) and "another process of this training ended" in str(first)
    assert isinstance(second, ConfigError)
    assert time.monotonic() - began < 30
