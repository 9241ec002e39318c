"""What an epoch has summed so far, on the device, and the check that all of it is finite."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from tcam_cache.errors import RunError
from tcam_cache.training.ranks import Ranks


@dataclass
class EpochSums:
    """Sums of an epoch under way; reading one makes the host wait for the device, so only logging does.

    Attributes:
        step: steps taken.
        losses: the sum of every loss term over steps.
        broken: for every loss term the first step in which it was not finite, infinity if none.
        counts: what the task had counted when they were put together.
        seconds_data: spent waiting for batches.
        seconds_compute: spent on steps.

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
        """Return what a checkpoint keeps: the fields."""
        return dict(vars(self))

    def restore_counts(self, counts: Mapping[str, torch.Tensor]) -> None:
        """Set a task's counts to what they were when these sums were kept."""
        for name, value in self.counts.items():
            counts[name].copy_(value)

    def reduce(self, ranks: Ranks, counts: Mapping[str, torch.Tensor]) -> "EpochSums":
        """Return the sums over all ranks, which must all call it, with what their tasks have counted.

        Seconds are this rank's.
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
        """Return a rank's part of the sums that a checkpoint keeps: the first takes them all."""
        return self if ranks.is_first else EpochSums(self.step)


def require_finite(sums: EpochSums, model: nn.Module, epoch: int) -> None:
    """Make sure that no loss and no weight of a fit has left the finite numbers.

    Args:
        sums: of the epoch.
        model: what is fitted.
        epoch: counted from 0.

    Raises:
        RunError: one has; the terms that were the first to, or the weights, are named.
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
