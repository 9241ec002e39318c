"""Outputs of inner modules, recorded in networks of one weight each."""

import pytest
import torch
from torch import nn

from tcam_cache.cams.recording import recorded
from tcam_cache.errors import ConfigError


def scaling(by):
    """Return a layer that multiplies by a number."""
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, by)
    return layer


def hooks_of(network):
    return [hook for part in network.modules() for hook in part._forward_hooks]


def test_outputs_are_recorded_in_order_and_the_graph_begins_at_the_first():
    network = nn.Sequential(scaling(2.0), scaling(3.0), scaling(5.0))
    values = torch.ones(1, 1, requires_grad=True)
    with recorded([network[1], network[0]], torch.float64, gradients=True) as kept:
        output = network.double()(values.double())
    assert [one.item() for one in kept] == [2, 6]
    assert [one.item() for one in torch.autograd.grad(output, kept, retain_graph=True)] == [15, 5]
    assert torch.autograd.grad(output, values, allow_unused=True) == (None,)
    assert not hooks_of(network)


def test_what_follows_in_place_does_not_change_a_record():
    network = nn.Sequential(scaling(-2.0), nn.ReLU(inplace=True))
    with recorded([network[0]], torch.float32, gradients=False) as kept:
        output = network(torch.ones(1, 1))
    assert (kept[0].item(), output.item()) == (-2, 0) and not kept[0].requires_grad


def test_a_module_that_returns_no_tensor_is_refused_and_leaves_no_hook():
    network = nn.Sequential(nn.LSTM(1, 1))
    with (
        pytest.raises(ConfigError, match=r"returns a tuple; expected a tensor\. Take one inside it"),
        recorded([network[0]], torch.float32, gradients=True),
    ):
        network(torch.ones(1, 1))
    assert not hooks_of(network) and torch.is_grad_enabled()
