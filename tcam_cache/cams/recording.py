"""Record the outputs of modules inside a network during one forward pass."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from tcam_cache.errors import ConfigError


@contextmanager
def recorded(modules: Sequence[nn.Module], dtype: torch.dtype, gradients: bool) -> Iterator[list[Tensor]]:
    """Record the output of each module, in the order they run, while the block runs the network.

    The graph begins at the first module's output, so that nothing before it is differentiated. Later modules
    get a copy, since they may work in place. After the block, even if it fails, the hooks are removed and the
    gradient mode is restored.

    Args:
        modules: of the network, each called once.
        dtype: of the recorded outputs.
        gradients: whether gradients with respect to the outputs will be taken.

    Raises:
        ConfigError: the output of a module is not a tensor.
    """
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _taken: tuple, output: Tensor) -> Tensor:
        """Record one output, and pass on a copy of it."""
        if not isinstance(output, Tensor):
            raise ConfigError(
                f"a layer returns a {type(output).__name__}; expected a tensor. Take one inside it."
            )
        output = output.to(dtype)
        if not kept:
            torch.set_grad_enabled(gradients)
            output = output.detach().clone().requires_grad_(gradients)
        kept.append(output)
        return output.clone()

    handles = [module.register_forward_hook(keep) for module in modules]
    try:
        # Restores the mode at the end, which the hook changes.
        with torch.no_grad():
            yield kept
    finally:
        for handle in handles:
            handle.remove()
