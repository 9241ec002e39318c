"""What modules inside a network give while it runs, kept without leaving a hook behind."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from tcam_cache.errors import ConfigError


@contextmanager
def recorded(modules: Sequence[nn.Module], dtype: torch.dtype, gradients: bool) -> Iterator[list[Tensor]]:
    """Keep the output of each module, in the order they run, while the body runs the network.

    Nothing before the first of them is differentiated: its output is where the graph begins, and every other
    output hangs on it. What follows gets a copy, since it may work in place. Hooks and gradient mode are gone
    or as before when the body ends, however it ends.

    Args:
        modules: of the network, each called once.
        dtype: of what is kept.
        gradients: whether the outputs shall be differentiable with respect to.

    Raises:
        ConfigError: the output of a module is no tensor.
    """
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _taken: tuple, given: Tensor) -> Tensor:
        """Keep one output, and hand on a copy of it."""
        if not isinstance(given, Tensor):
            raise ConfigError(f"the layer gives a {type(given).__name__}, no tensor. Take one inside it.")
        given = given.to(dtype)
        if not kept:
            torch.set_grad_enabled(gradients)
            given = given.detach().clone().requires_grad_(gradients)
        kept.append(given)
        return given.clone()

    handles = [module.register_forward_hook(keep) for module in modules]
    try:
        # Restored at the end, whatever the hook has set.
        with torch.no_grad():
            yield kept
    finally:
        for handle in handles:
            handle.remove()
