"""Trace a network's forward pass: the calls of its modules in order, and the strides of its features."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

# Sides of the frames that strides are measured with: every stride up to 256 divides them.
SIDES = (256, 512)

# Identity and version of a tensor: in-place operations keep the object and raise its version.
State = tuple[int, int]


class Call(NamedTuple):
    """One call of a module.

    Attributes:
        name: of the module, as `named_modules` has it.
        module: what was called.
        taken: the state of its first argument, or None where that is no tensor.
        given: the state of its output, or None where that is no single tensor.
        shape: of its output; () where that is no single tensor.
    """

    name: str
    module: nn.Module
    taken: State | None
    given: State | None
    shape: tuple[int, ...]


class Trace(NamedTuple):
    """The calls of one forward pass, in the order they ended, and what it returned."""

    calls: tuple[Call, ...]
    output: Any


def traced(network: nn.Module, side: int) -> Trace:
    """Run a network in evaluation mode on a batch without frames (0, 3, side, side), and record every call.

    So only shapes are computed. No hook is left behind. A network that cannot reshape an empty batch, such
    as one with attention in windows, runs one black frame instead.

    Args:
        network: of convolutions or attention.
        side: of the frames in pixels.
    """
    try:
        return _recorded(network, 0, side)
    except RuntimeError:
        return _recorded(network, 1, side)


def _recorded(network: nn.Module, frames: int, side: int) -> Trace:
    """Return what the network returns for so many frames, and every call of a module on the way."""
    calls: list[Call] = []
    # An identity is unique only as long as its tensor is not freed.
    alive: list[Any] = []

    def recorder(name: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        """Return the hook that records the calls of one module."""

        def record(module: nn.Module, taken: tuple[Any, ...], outputs: Any) -> None:
            """Record one call."""
            alive.extend((taken, outputs))
            before = before_calls.pop()
            shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else ()
            calls.append(Call(name, module, before, _state(outputs), shape))

        return record

    before_calls: list[State | None] = []

    def enter(_module: nn.Module, taken: tuple[Any, ...]) -> None:
        """Keep the state of a module's input, which it may then change in place."""
        before_calls.append(_state(taken[0]) if taken else None)

    handles = []
    for name, module in network.named_modules():
        handles.append(module.register_forward_pre_hook(enter))
        handles.append(module.register_forward_hook(recorder(name)))
    try:
        with torch.no_grad(), evaluating(network):
            output = network(_frames(network, frames, side))
    finally:
        for handle in handles:
            handle.remove()
    return Trace(tuple(calls), output)


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode inside the block, and restore the mode of every module after it."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def strides(shapes: Sequence[Sequence[Sequence[int]]], sides: Sequence[int]) -> list[int]:
    """Return the stride of each feature in pixels of the frame.

    Args:
        shapes: the shapes (B, K, h, w) of the features, for each frame.
        sides: of those frames in pixels, one or two; of two the differences are compared, which borders lost
            to unpadded kernels do not change.

    >>> strides([[(1, 8, 27, 27)], [(1, 8, 59, 59)]], (224, 480))
    [8]
    """
    if len(sides) == 1:
        return [round(sides[0] / shape[-1]) for shape in shapes[0]]
    span = sides[1] - sides[0]
    return [round(span / max(1, larger[-1] - smaller[-1])) for smaller, larger in zip(*shapes, strict=True)]


def _state(value: Any) -> State | None:
    return (id(value), value._version) if isinstance(value, Tensor) else None


def _frames(network: nn.Module, count: int, side: int) -> Tensor:
    like = next(network.parameters(), torch.zeros(()))
    return torch.zeros(count, 3, side, side, dtype=like.dtype, device=like.device)
