"""Gradients of frozen convolutions with respect to their inputs, as convolutions by the flipped kernel."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def input_gradient(
    gradient: Tensor, weight: Tensor, padding: Sequence[int], dilation: Sequence[int], groups: int
) -> Tensor:
    """Return the gradient with respect to the input of a convolution of stride 1.

    Args:
        gradient: (B, O, h, w) the gradient with respect to its output.
        weight: (O, C / groups, m, n) its kernel.
        padding: of rows and columns, less than the extent of the kernel.
        dilation: of rows and columns.
        groups: of channels.

    Returns:
        (B, C, H, W).

    >>> kernel = torch.tensor([[[[1.0, 2.0, 3.0]]]])
    >>> input_gradient(torch.tensor([[[[0.0, 1.0, 0.0]]]]), kernel, (0, 1), (1, 1), 1).tolist()
    [[[[1.0, 2.0, 3.0]]]]
    """
    flipped = weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1).flip(2, 3)
    sides = zip(dilation, weight.shape[2:], padding, strict=True)
    rest = [step * (side - 1) - edge for step, side, edge in sides]
    return functional.conv2d(gradient, flipped, None, 1, rest, list(dilation), groups)


class FrozenDepthwise(nn.Conv2d):
    """A dilated depthwise convolution that is differentiated with respect to its input alone.

    On CPUs torch has no fast kernel for this gradient: it took twelve times as long as the convolution.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Convolve (B, K, h, w)."""
        return _Depthwise.apply(input, self.weight, self.bias, self.padding, self.dilation, self.groups)


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: Tensor, bias: Tensor | None, *how: Any) -> Tensor:
        """Convolve (B, K, h, w)."""
        ctx.save_for_backward(weight)
        ctx.how = how
        return functional.conv2d(values, weight, bias, 1, *how)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient with respect to the values."""
        (weight,) = ctx.saved_tensors
        return input_gradient(gradient, weight.to(gradient.dtype), *ctx.how), *[None] * 5


def faster_gradients(network: nn.Module) -> None:
    """Make the dilated depthwise convolutions of a frozen network `FrozenDepthwise`, in place."""
    for module in network.modules():
        if type(module) is nn.Conv2d and _is_slow(module):
            module.__class__ = FrozenDepthwise


def _is_slow(module: nn.Conv2d) -> bool:
    """Return whether a convolution is depthwise and dilated, and keeps the size of its input."""
    depthwise = module.groups == module.in_channels == module.out_channels > 1
    wide = [step * (side - 1) for step, side in zip(module.dilation, module.kernel_size, strict=True)]
    same = not isinstance(module.padding, str) and [2 * edge for edge in module.padding] == wide
    plain = module.padding_mode == "zeros" and set(module.stride) == {1}
    return depthwise and plain and same and max(module.dilation) > 1
