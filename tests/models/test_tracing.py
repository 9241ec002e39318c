import pytest
import torch
from torch import nn

from tcam_cache.models.tracing import strides, traced


class Small(nn.Module):
    def __init__(self, reshapes=False):
        super().__init__()
        self.reshapes = reshapes
        self.first = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.active = nn.ReLU(inplace=True)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.never = nn.Conv2d(4, 4, 3)

    def forward(self, values):
        values = self.active(self.norm(self.first(values)))
        values = self.active(values + self.second(values))
        if self.reshapes:
            # Of an empty batch no size can be told from the others.
            values.reshape(len(values), 4, 8, -1)
        return values


either_way = pytest.mark.parametrize("reshapes", [False, True])


@either_way
def test_calls_are_noted_in_the_order_they_end_with_what_goes_from_one_to_the_next(reshapes):
    calls = traced(Small(reshapes), 16).calls
    assert [call.name for call in calls] == ["first", "norm", "active", "second", "active", ""]
    first, norm, active, second, _, whole = calls
    assert norm.taken == first.given and active.taken == norm.given and second.taken == active.given
    assert active.given != norm.given, "in-place work gives the same tensor in another state"
    assert whole.shape == (int(reshapes), 4, 8, 8) and whole.given == calls[-2].given


@either_way
def test_nothing_of_the_network_is_changed_and_no_hook_stays(reshapes):
    network = Small(reshapes).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert len(traced(network, 16).output) == int(reshapes)
    assert network.training and network.norm.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(value.device.type == "cpu" for value in network.state_dict().values())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in network.modules())


@either_way
def test_hooks_are_gone_and_modes_are_back_after_a_failure(reshapes):
    network = Small(reshapes)
    network.second = nn.Conv2d(5, 4, 3)
    with pytest.raises(RuntimeError):
        traced(network, 16)
    assert network.training
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in network.modules())


def test_a_stride_is_what_the_difference_of_two_sizes_says_whatever_borders_are_cut_off():
    assert strides([[(1, 8, 27, 27), (1, 9, 13, 13)], [(1, 8, 59, 59), (1, 9, 29, 29)]], (224, 480)) == [
        8,
        16,
    ]
    assert strides([[(1, 8, 16, 16)]], (224,)) == [14]
