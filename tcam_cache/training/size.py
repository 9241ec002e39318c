"""Absolute size constraint: both regions are pushed to be large, through an extended log barrier (ASC)."""

import math

import torch
from torch import Tensor

from tcam_cache.errors import ConfigError


def log_barrier(z: Tensor, t: float) -> Tensor:
    """Return the extended log barrier psi_t(z), a smooth penalty for the constraint z <= 0.

    psi_t(z) = -(1/t) log(-z) for z <= -1/t^2, else t z - (1/t) log(1/t^2) + 1/t: the tangent goes on where
    the logarithm would leave its domain, so value and slope are continuous at the joint.

    Args:
        z: any shape, floating point.
        t: sharpness, > 0; the larger, the closer to a hard constraint.

    >>> log_barrier(torch.tensor([-1.0, 1.0]), t=1.0).tolist()
    [-0.0, 2.0]
    """
    joint = 1 / t**2
    inside = -torch.log((-z).clamp(min=joint)) / t
    return torch.where(z <= -joint, inside, t * z + (1 - math.log(joint)) / t)


def size_loss(softmax: Tensor, t: float) -> Tensor:
    """Return the mean over the batch of 1/2 sum_r psi_t(-sum_p S_r(p)), without its weight.

    Args:
        softmax: (B, 2, H, W) maps of background and foreground in [0, 1]; sizes count pixels of this grid.
        t: sharpness of the barrier, > 0.

    >>> f"{size_loss(torch.full((1, 2, 2, 2), 0.5), t=1.0).item():.4f}"  # two pixels each: -log 2
    '-0.6931'
    """
    return log_barrier(-softmax.sum((2, 3)), t).mean()


def barrier_t(epoch: int, start: float, growth: float, cap: float) -> float:
    """Return the barrier's t in an epoch: start x growth^epoch, at most `cap` (paper: 1, 1.01, 10).

    Args:
        epoch: finished epochs, 0 in the first one.
        start: t of the first epoch, > 0.
        growth: factor per epoch, >= 1.
        cap: the largest t.

    Raises:
        ConfigError: t would not be positive.

    >>> barrier_t(0, 1.0, 1.01, 10.0), barrier_t(1000, 1.0, 1.01, 10.0)
    (1.0, 10.0)
    """
    if not min(start, cap) > 0:
        raise ConfigError(
            f"got a log barrier with t = {min(start, cap)}; expected t > 0. Raise its start or cap."
        )
    # By logarithms: a power too large for a float would be an error.
    reached = epoch * math.log(growth) >= math.log(cap / start)
    return cap if reached else min(cap, start * growth**epoch)
