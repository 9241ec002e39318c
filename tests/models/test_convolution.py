"""Gradients by flipped kernels, against autograd's own."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from tcam_cache.models.convolution import FrozenDepthwise, faster_gradients, input_gradient


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (2, 5)])
@pytest.mark.parametrize("padded", [0, 0.5, 1])
@pytest.mark.parametrize("dilation", [(1, 1), (3, 2)])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_the_gradient_is_that_of_autograd(kernel, padded, dilation, groups):
    padding = [int(padded * step * (side - 1)) for step, side in zip(dilation, kernel, strict=True)]
    torch.manual_seed(0)
    values = torch.randn(2, 4, 9, 11, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(8, 4 // groups, *kernel, dtype=torch.float64)
    output = functional.conv2d(values, weight, None, 1, padding, dilation, groups)
    given = torch.randn_like(output)
    (wanted,) = torch.autograd.grad(output, values, given)
    torch.testing.assert_close(input_gradient(given, weight, padding, dilation, groups), wanted)


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=4),
        nn.Conv2d(4, 4, 5, padding=4, dilation=2, groups=4, bias=False),
        nn.Conv2d(4, 4, 3, padding=1, groups=4),
        nn.Conv2d(4, 4, 3, padding=2, dilation=2),
        nn.Conv2d(4, 4, 3, padding=1, dilation=2, groups=4),
        nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=4, padding_mode="reflect"),
        nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=4, stride=2),
    ).requires_grad_(False)


def test_dilated_depthwise_convolutions_alone_are_replaced_and_compute_the_same():
    plain = network()
    fast = copy.deepcopy(plain)
    faster_gradients(fast)
    assert [type(part) is FrozenDepthwise for part in fast] == [True, True, *[False] * 5]
    assert fast.state_dict().keys() == plain.state_dict().keys()
    values = torch.randn(2, 4, 16, 16, requires_grad=True)
    wanted, found = plain(values), fast(values)
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)
    gradients = [torch.autograd.grad(one.square().sum(), values)[0] for one in (wanted, found)]
    torch.testing.assert_close(gradients[1], gradients[0])


def test_half_precision_inside_leaves_gradients_in_the_precision_of_the_input():
    fast = network()[:2]
    faster_gradients(fast)
    values = torch.randn(1, 4, 8, 8, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        output = fast(values)
    assert output.dtype == torch.bfloat16
    (found,) = torch.autograd.grad(output.float().sum(), values)
    assert found.dtype == torch.float32 and found.abs().sum() > 0
