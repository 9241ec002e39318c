"""The decoder's loss: partial cross-entropy, CRF, and the absolute size constraint (TCAM Eq. 4 and 5)."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from tcam_cache.config import TrainConfig
from tcam_cache.devices import on_device
from tcam_cache.errors import ConfigError
from tcam_cache.training.crf import crf_loss
from tcam_cache.training.crf_colour import adaptive_colour_crf_loss, clips_of_several, colour_crf_loss
from tcam_cache.training.pseudo_labels import IGNORE
from tcam_cache.training.ranks import Ranks


def log_barrier(z: Tensor, t: float) -> Tensor:
    """Return the extended log barrier psi_t(z), a smooth penalty for the constraint z <= 0.

    psi_t(z) = -(1/t) log(-z) for z <= -1/t^2, else t z - (1/t) log(1/t^2) + 1/t: the tangent goes on where
    the logarithm would leave its domain, so value and slope are continuous at the joint.

    Args:
        z: floating point tensor of any shape.
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
        epoch: number of finished epochs, 0 in the first one.
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
    # Compared as logarithms: growth**epoch could overflow.
    reached = epoch * math.log(growth) >= math.log(cap / start)
    return cap if reached else min(cap, start * growth**epoch)


def partial_cross_entropy(logits: Tensor, labels: Tensor, average: str) -> Tensor:
    """Return -log S0 over background pixels and -log S1 over foreground pixels (TCAM Eq. 4).

    The paper prints log(1 - S0) for background pixels, which would drive S0 to 0 there: a misprint.
    A batch without a label gives exactly 0 and a gradient of 0.

    Args:
        logits: (B, 2, H, W) floating point, channel 0 background, 1 foreground.
        labels: (B, H, W) int64, 0 background, 1 foreground or `IGNORE`.
        average: "batch-mean" is the mean over all labelled pixels, "frame-sum" the mean over frames of sums.

    >>> logits = torch.tensor([[[[0.0, 9.0]], [[0.0, 9.0]]]])
    >>> f"{partial_cross_entropy(logits, torch.tensor([[[0, 1]]]), 'frame-sum').item():.4f}"
    '1.3863'
    """
    margin = logits[:, 1] - logits[:, 0]
    pixelwise = functional.softplus(torch.where(labels == 1, -margin, margin))
    total = torch.where(labels == IGNORE, 0, pixelwise).sum()
    if average == "frame-sum":
        return total / len(labels)
    return total / (labels != IGNORE).sum().clamp(min=1)


def tcam_terms(
    logits: Tensor,
    labels: Tensor,
    rgb: Tensor,
    clips: Tensor,
    config: TrainConfig,
    t: float,
    generator: torch.Generator,
    warmth: float = 1.0,
) -> dict[str, Tensor]:
    """Return the weighted terms whose sum is the loss (TCAM Eq. 5); disabled terms are left out.

    All terms are computed in float32 whatever the logits' precision, in float64 where the logits have it.

    Args:
        logits: (B, 2, H, W) floating point, half precision allowed.
        labels: (B, H, W) int64 pseudo-labels, 0, 1 or `IGNORE`.
        rgb: (B, 3, H, W) un-normalised frames, 0..255, with the same crop and flip.
        clips: (B,) int64 on the CPU, equal for neighbours in the batch that are frames of one clip.
        config: the weights and settings of every term.
        t: the log barrier's t in this epoch.
        generator: the step's generator, on the CPU: draws the CRFs' landmarks.
        warmth: share of its weight that the colour CRF has in this step.

    Returns:
        "cross_entropy", "crf", "colour_crf" (beyond the paper) and "size", each a scalar; a term that is off
        or weighs 0 is not computed.
    """
    with_crf, with_size = config.crf and config.crf_weight > 0, config.asc and config.asc_weight > 0
    with_colour = config.colour_crf_weight > 0
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    with torch.autocast(logits.device.type, enabled=False):
        terms = {"cross_entropy": partial_cross_entropy(logits, labels, config.cross_entropy)}
        if not (with_crf or with_colour or with_size):
            return terms
        softmax = logits.softmax(1)
        if with_crf:
            terms["crf"] = crf_loss(
                softmax, rgb, weight=config.crf_weight, generator=generator,
                landmarks=config.landmarks, gain=config.lattice_gain,
            )  # fmt: skip
        if with_colour:
            weight = warmth * config.colour_crf_weight
            terms["colour_crf"] = _colour_term(softmax, rgb, clips, config, weight, generator)
        if with_size:
            terms["size"] = config.asc_weight * size_loss(softmax, t)
    return terms


def _colour_term(
    softmax: Tensor,
    rgb: Tensor,
    clips: Tensor,
    config: TrainConfig,
    weight: float,
    generator: torch.Generator,
) -> Tensor:
    if config.colour_crf == "adaptive":
        return adaptive_colour_crf_loss(
            softmax, rgb, clips, weight=weight, generator=generator, landmarks=config.landmarks
        )
    return colour_crf_loss(
        softmax, rgb, clips, weight=weight, generator=generator,
        landmarks=config.landmarks, gain=config.lattice_gain,
    )  # fmt: skip


def shared_terms(
    terms: dict[str, Tensor], labels: Tensor, clips: Tensor, config: TrainConfig, ranks: Ranks
) -> dict[str, Tensor]:
    """Return a rank's terms weighted by its share of the batch, so that their sum over ranks is the batch's.

    Args:
        terms: from `tcam_terms` on the rank's share; empty for an empty share.
        labels: (B, H, W) int64 pseudo-labels of the share.
        clips: (B,) int64 on the CPU, of the share.
        config: says what each term is a mean over.
        ranks: every rank must call it.
    """
    if ranks.size == 1:
        return terms
    counts = (labels.new_tensor(len(labels)), on_device(clips_of_several(clips), labels.device))
    mine = torch.stack([(labels != IGNORE).sum(), *counts])
    by_pixels, by_frames, by_clips = mine / ranks.total(mine).clamp(min=1)
    shares = {"cross_entropy": by_pixels} if config.cross_entropy == "batch-mean" else {}
    shares |= {"colour_crf": by_clips} if config.colour_crf == "adaptive" else {}
    return {name: term * shares.get(name, by_frames) for name, term in terms.items()}
