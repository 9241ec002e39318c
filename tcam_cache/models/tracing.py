"""What a network does, seen rather than guessed: its calls in order, and the strides of its features."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

# Sides of the frames that strides are measured with: every stride up to 256 divides them.
SIDES = (256, 512)

# What tells one state of a tensor from another: in-place work keeps the object and moves its version.
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
    """Run a network in evaluation mode on one frame without values, (1, 3, side, side), and note every call.

    Nothing is computed but shapes, no weight is copied, and no hook stays.
    """
    calls: list[Call] = []
    # States hold only as long as no tensor is freed and its place taken by another.
    alive: list[Any] = []

    def noting(name: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        """Return the hook that notes the calls of one module."""

        def note(module: nn.Module, taken: tuple[Any, ...], given: Any) -> None:
            """Note one call."""
            alive.extend((taken, given))
            before = before_calls.pop()
            shape = tuple(given.shape) if isinstance(given, Tensor) else ()
            calls.append(Call(name, module, before, _state(given), shape))

        return note

    before_calls: list[State | None] = []

    def enter(_module: nn.Module, taken: tuple[Any, ...]) -> None:
        """Keep the state of what a module takes, before it may change it in place."""
        before_calls.append(_state(taken[0]) if taken else None)

    values = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    empty = {name: torch.empty_like(value, device="meta") for name, value in values.items()}
    frame = torch.zeros(1, 3, side, side, device="meta", dtype=_dtype(network))
    handles = []
    for name, module in network.named_modules():
        handles.append(module.register_forward_pre_hook(enter))
        handles.append(module.register_forward_hook(noting(name)))
    try:
        with torch.no_grad(), evaluating(network):
            output = functional_call(network, empty, (frame,))
    finally:
        for handle in handles:
            handle.remove()
    return Trace(tuple(calls), output)


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode for a while."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def strides(shapes: Sequence[Sequence[Sequence[int]]], sides: Sequence[int]) -> list[int]:
    """Return how many pixels lie between two positions of each feature.

    Args:
        shapes: by frame, the shapes (B, K, h, w) of the features.
        sides: of those frames, in pixels; one, or two of which the difference counts, so that borders that a
            kernel cuts off do not.

    >>> strides([[(1, 8, 27, 27)], [(1, 8, 59, 59)]], (224, 480))
    [8]
    """
    if len(sides) == 1:
        return [round(sides[0] / shape[-1]) for shape in shapes[0]]
    span = sides[1] - sides[0]
    return [round(span / max(1, larger[-1] - smaller[-1])) for smaller, larger in zip(*shapes, strict=True)]


def _state(value: Any) -> State | None:
    return (id(value), value._version) if isinstance(value, Tensor) else None


def _dtype(network: nn.Module) -> torch.dtype:
    return next((value.dtype for value in network.parameters()), torch.float32)
