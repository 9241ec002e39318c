"""Processes that train one model together under torchrun: which of them this is, and their sums."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

from tcam_cache.errors import RunError
from tcam_cache.torchrun import process_count

# Ranks wait for one that is slower, or that writes. One that ends is noticed at once, not by this.
_PATIENCE = timedelta(days=1)
_T = TypeVar("_T")


@dataclass(frozen=True)
class Ranks:
    """One of the processes that take every step together, each on its share of the batch.

    All but `share` must be called by every rank, in the same order. Alone, sums are the values themselves.

    Attributes:
        rank: position of this process.
        size: how many there are.
        local_rank: position among those of this machine; it says which device is this process's own.
        local_size: how many are on this machine.

    >>> Ranks(rank=1, size=2).share([10, 11, 12]), Ranks().share([10, 11, 12])
    ([11], [10, 11, 12])
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def is_first(self) -> bool:
        """Tell whether this is the one that writes."""
        return self.rank == 0

    def share(self, batch: Sequence[_T]) -> Sequence[_T]:
        """Return this rank's part of a batch: as even as can be, empty where there are more ranks."""
        return batch[self.rank :: self.size]

    def total(self, value: Tensor) -> Tensor:
        """Return the sum of every rank's value, on its device."""
        if self.size == 1:
            return value
        total = value.clone()
        with _together():
            distributed.all_reduce(total)
        return total

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give every parameter the sum of its gradients over ranks; a rank without one adds nothing."""
        if self.size == 1:
            return
        parameters = list(parameters)
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        total = self.total(torch.cat([parameter.grad.flatten() for parameter in parameters]))
        for parameter, part in zip(parameters, total.split([p.numel() for p in parameters]), strict=True):
            parameter.grad.copy_(part.view_as(parameter))

    def copy_buffers(self, module: nn.Module) -> None:
        """Give a module's buffers, such as statistics of batch norms, the values of the first rank's."""
        if self.size == 1:
            return
        with _together():
            for buffer in module.buffers():
                distributed.broadcast(buffer, src=0)

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Tell of each flag whether a rank has raised it; no device is waited for."""
        if self.size == 1:
            return flags
        return tuple(bool(raised) for raised in self.total(torch.tensor(flags, dtype=torch.int32)))

    def gather(self, value: Any) -> list[Any]:
        """Return every rank's value, in the order of ranks; tensors in it lie on the CPU."""
        gathered = [value] * self.size
        if self.size > 1:
            with _together():
                distributed.all_gather_object(gathered, value)
        return gathered

    def from_first(self, make: Callable[[], _T]) -> _T:
        """Return what the first rank makes, while the others wait."""
        if self.size == 1:
            return make()
        made = [make() if self.is_first else None]
        with _together():
            distributed.broadcast_object_list(made, src=0)
        return made[0]


SINGLE_PROCESS = Ranks()


@contextmanager
def joined_ranks() -> Iterator[Ranks]:
    """Join the processes that torchrun has started with this one, or be alone without it.

    Sums on CUDA devices go through nccl, all others through gloo.

    Raises:
        RunError: another process has ended before its time.
    """
    ranks = _started()
    if ranks.size == 1:
        yield ranks
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    with _together():
        distributed.init_process_group(backend, timeout=_PATIENCE)
    try:
        yield ranks
    finally:
        distributed.destroy_process_group()


def _started() -> Ranks:
    if process_count() == 1:
        return SINGLE_PROCESS
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    return Ranks(*(int(os.environ[name]) for name in names))


@contextmanager
def _together() -> Iterator[None]:
    # A rank that ends closes its connections, which the others see as an error of theirs.
    try:
        yield
    except RuntimeError as error:
        raise RunError(
            "another process of this training ended: its own message says why. Run the same command with "
            "--resume to go on."
        ) from error
