"""Processes that train one model together under torchrun, and the sums of an epoch over them."""

import functools
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

from tcam_cache.errors import RunError
from tcam_cache.torchrun import process_count

# Timeout for a rank that is slower or writes files. A rank that ends is noticed at once, without it.
_PATIENCE = timedelta(days=1)
_T = TypeVar("_T")


@dataclass(frozen=True)
class Ranks:
    """This process among those that take every step together, each on its share of the batch.

    Every rank must call all methods but `share`, in the same order. With one process sums are the values.

    Attributes:
        rank: index of this process, from 0.
        size: number of processes.
        local_rank: index among the processes on this machine; it selects this process's device.
        local_size: number of processes on this machine.

    >>> Ranks(rank=1, size=2).share([10, 11, 12]), Ranks().share([10, 11, 12])
    ([11], [10, 11, 12])
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def is_first(self) -> bool:
        """Return whether this is rank 0, which writes the files."""
        return self.rank == 0

    def share(self, batch: Sequence[_T]) -> Sequence[_T]:
        """Return this rank's part of a batch; parts are as even as possible, and may be empty."""
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
        """Replace every parameter's gradient by its sum over ranks; a missing gradient counts as zero."""
        if self.size == 1:
            return
        gradients: list[Tensor] = []
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
        total = self.total(torch.cat([gradient.flatten() for gradient in gradients]))
        for gradient, part in zip(gradients, total.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def copy_buffers(self, module: nn.Module) -> None:
        """Copy a module's buffers, such as statistics of batch norms, from rank 0 to all ranks."""
        if self.size == 1:
            return
        with _together():
            for buffer in module.buffers():
                distributed.broadcast(buffer, src=0)

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Return for each flag whether any rank has set it; does not synchronise the device."""
        if self.size == 1:
            return flags
        return tuple(bool(raised) for raised in self.total(torch.tensor(flags, dtype=torch.int32)))

    def gather(self, value: Any) -> list[Any]:
        """Return every rank's value, in the order of ranks; their tensors are on the CPU."""
        gathered = [value] * self.size
        if self.size > 1:
            with _together():
                distributed.all_gather_object(gathered, value)
        return gathered

    def from_first(self, make: Callable[[], _T]) -> _T:
        """Return the value that `make` returns on rank 0, to all ranks."""
        if self.size == 1:
            return make()
        made: list[Any] = [make() if self.is_first else None]
        with _together():
            distributed.broadcast_object_list(made, src=0)
        return made[0]


SINGLE_PROCESS = Ranks()


@contextmanager
def joined_ranks() -> Iterator[Ranks]:
    """Join the process group of torchrun; without torchrun, yield a single process.

    Sums on CUDA devices go through nccl, all others through gloo.

    Raises:
        RunError: another process has ended.
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
    # A rank that ends closes its connections, which raises an error in the others.
    try:
        yield
    except RuntimeError as error:
        raise RunError(
            "another process of this training ended: its own message says why. Run the same command with "
            "--resume to go on."
        ) from error


@dataclass
class EpochSums:
    """Running sums of an epoch; reading them synchronises the device, so only logging does.

    Attributes:
        step: number of steps taken.
        losses: sum of every loss term over the steps.
        broken: for every loss term the first step at which it was not finite, infinity if none.
        counts: the task's counts when the sums were reduced.
        seconds_data: seconds spent waiting for batches.
        seconds_compute: seconds spent on steps.

    >>> sums = EpochSums()
    >>> for loss in (1.0, 2.0):
    ...     sums.add({"size": torch.tensor(loss)})
    >>> sums.line()["losses"]
    {'size': 1.5}
    """

    step: int = 0
    losses: dict[str, torch.Tensor] = field(default_factory=dict)
    broken: dict[str, torch.Tensor] = field(default_factory=dict)
    counts: dict[str, torch.Tensor] = field(default_factory=dict)
    seconds_data: float = 0.0
    seconds_compute: float = 0.0

    def add(self, terms: Mapping[str, torch.Tensor]) -> None:
        """Add the loss terms of a step."""
        for name, term in terms.items():
            value = term.detach()
            self.losses[name] = self.losses.get(name, 0.0) + value
            here = torch.full_like(value, math.inf).masked_fill(~value.isfinite(), self.step)
            self.broken[name] = torch.minimum(here, self.broken.get(name, here).to(here))
        self.step += 1

    def line(self) -> dict[str, Any]:
        """Return the epoch's part of its line of the log: the mean of every term, counts and seconds."""
        losses = {name: float(value) / self.step for name, value in self.losses.items()}
        return {
            **{name: int(value) for name, value in self.counts.items()},
            "losses": losses,
            "loss": sum(losses.values()),
            "seconds_data": round(self.seconds_data, 3),
            "seconds_compute": round(self.seconds_compute, 3),
        }

    def to_state(self) -> dict[str, Any]:
        """Return the fields, for a checkpoint."""
        return dict(vars(self))

    def restore_counts(self, counts: Mapping[str, torch.Tensor]) -> None:
        """Set a task's counts to the stored values."""
        for name, value in self.counts.items():
            counts[name].copy_(value)

    def reduce(self, ranks: Ranks, counts: Mapping[str, torch.Tensor]) -> "EpochSums":
        """Return the sums and the tasks' counts over all ranks; every rank must call it.

        Seconds are not summed: they are this rank's.
        """
        mine = [
            {name: value.clone().cpu() for name, value in kept.items()}
            for kept in (self.losses, self.broken, counts)
        ]
        losses, broken, counted = zip(*ranks.gather(mine), strict=True)
        return replace(
            self,
            losses=_merged(losses, torch.add),
            broken=_merged(broken, torch.minimum),
            counts=_merged(counted, torch.add),
        )

    def for_rank(self, ranks: Ranks) -> "EpochSums":
        """Return a rank's part of sums from a checkpoint: all of them for rank 0, zeros for the others."""
        return self if ranks.is_first else EpochSums(self.step)


def require_finite(sums: EpochSums, model: nn.Module, epoch: int) -> None:
    """Make sure that all losses and weights of a fit are finite.

    Args:
        sums: of the epoch.
        model: the fitted module.
        epoch: counted from 0.

    Raises:
        RunError: some are not; the first such loss terms, or the weights, are named.
    """
    steps = {name: float(step) for name, step in sums.broken.items()}
    first = min(steps.values(), default=math.inf)
    broken = [
        f"{name}: {float(sums.losses[name])}, first in step {step + 1:.0f}"
        for name, step in steps.items()
        if step == first < math.inf
    ]
    what = "loss" if broken else "model"
    if broken := broken or _broken_weights(model):
        raise RunError(
            f"the {what} is not finite in epoch {epoch + 1}. The checkpoint before it is kept; lower --lr.",
            broken,
        )


def _merged(parts: Sequence[Mapping[str, torch.Tensor]], combine: Callable) -> dict[str, torch.Tensor]:
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: functools.reduce(combine, [part[name] for part in parts if name in part]) for name in names}


def _broken_weights(model: nn.Module) -> list[str]:
    state = model.state_dict()
    if not state:
        return []
    finite = torch.stack([value.isfinite().all() for value in state.values()]).tolist()
    return [name for name, fine in zip(state, finite, strict=True) if not fine]
