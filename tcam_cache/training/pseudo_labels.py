"""Pseudo-labels: a few foreground and background pixels drawn from a temporal CAM (TCAM Eq. 3)."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from tcam_cache.training.otsu import regions
from tcam_cache.training.transfer import on_device

IGNORE = -255
_BITS = 31


class PseudoLabels(NamedTuple):
    """The labels of a batch.

    Attributes:
        labels: (B, H, W) int64, 0 background, 1 foreground, `IGNORE` elsewhere.
        flat: (B,) bool, true where the CAM is flat and the frame therefore without a label.
        counts: (B, 2) int64, labelled pixels of background and foreground.
    """

    labels: Tensor
    flat: Tensor
    counts: Tensor


def draw_pseudo_labels(
    cams: Tensor,
    rng_seeds: Tensor,
    *,
    fg_top: float,
    bg_low: float | None,
    pixels: int,
    dilate: bool,
    fg_level: float = 0.0,
) -> PseudoLabels:
    """Draw foreground pixels by activation, background pixels uniformly, without replacement (TCAM Eq. 3).

    Draws are exponential races: the pixels with the smallest E / activation, E ~ Exp(1), are a multinomial
    draw without replacement. A region smaller than `pixels` is taken whole, an empty one gives no label.

    Args:
        cams: (B, H, W) temporal CAMs in [0, 1], on any device.
        rng_seeds: (B,) int64 on the CPU, one per sample: a draw depends on the sample's map and seed alone.
        fg_top: foreground comes from this highest fraction of C+, at least one pixel; 1 is all of C+.
        bg_low: background comes from this lowest fraction of all pixels; None is all of C-.
        pixels: draws per sample and class.
        dilate: grow every drawn pixel to 3x3; pixels claimed by both classes are dropped.
        fg_level: foreground comes from pixels of at least this share of the map's maximum.

    >>> cams = torch.tensor([[[0.0, 0.1], [0.1, 1.0]]])
    >>> drawn = draw_pseudo_labels(
    ...     cams, torch.tensor([7]), fg_top=1.0, bg_low=None, pixels=3, dilate=False)
    >>> drawn.labels.tolist(), drawn.counts.tolist()
    ([[[0, 0], [0, 1]]], [[3, 1]])
    """
    noise = _noise(rng_seeds, cams.shape[1:], cams.device)
    areas = seed_regions(cams, noise, fg_top=fg_top, bg_low=bg_low, fg_level=fg_level)
    taken = _first_of_race(cams, areas, noise, pixels)
    if dilate:
        taken = functional.max_pool2d(taken.float(), 3, stride=1, padding=1) > 0
    taken = taken & ~taken.flip(1)
    labels = torch.full_like(taken[:, 0], IGNORE, dtype=torch.int64)
    labels = labels.masked_fill(taken[:, 0], 0).masked_fill(taken[:, 1], 1)
    return PseudoLabels(labels, ~areas.flatten(1).any(1), taken.sum((2, 3)))


def seed_regions(
    cams: Tensor, noise: Tensor, *, fg_top: float, bg_low: float | None, fg_level: float = 0.0
) -> Tensor:
    """Return the pixels that seeds may come from; pixels of one value at a cut are chosen at random.

    Args:
        cams: (B, H, W) temporal CAMs in [0, 1].
        noise: (B, 2, H, W) int64 in 0..2^31 - 1, independent and uniform.
        fg_top: see `draw_pseudo_labels`.
        bg_low: see `draw_pseudo_labels`.
        fg_level: see `draw_pseudo_labels`.

    Returns:
        (B, 2, H, W) bool, channel 0 for background, 1 for foreground; empty where the map is flat.
    """
    foreground, flat = regions(cams)
    background = ~foreground
    # Each class breaks its ties with the noise that the other class races with, so the two stay independent.
    order = cams.float().abs().view(torch.int32).long()
    if fg_top < 1:
        foreground = _lowest(~order, foreground, noise[:, 0], fg_top)
    if fg_level > 0:
        foreground = foreground & (cams >= fg_level * cams.amax((1, 2), keepdim=True))
    if bg_low is not None:
        background = _lowest(order, torch.ones_like(background), noise[:, 1], bg_low)
    return torch.stack([background, foreground], 1) & ~flat[:, None, None, None]


def _lowest(order: Tensor, region: Tensor, ties: Tensor, fraction: float) -> Tensor:
    keys = ((order << _BITS) | ties).masked_fill(~region, torch.iinfo(torch.int64).max).flatten(1)
    size = region.flatten(1).sum(1)
    last = (size * fraction).floor().long().clamp(min=1, max=keys.shape[1]) - 1
    cut = keys.sort(1).values.gather(1, last[:, None])
    return (keys <= cut).view_as(region) & region


def _first_of_race(cams: Tensor, areas: Tensor, noise: Tensor, pixels: int) -> Tensor:
    uniform = ((noise.float() + 0.5) * 2.0**-_BITS).clamp(max=1 - 2.0**-24)
    weights = torch.stack([torch.ones_like(cams, dtype=torch.float32), cams.float()], 1)
    finish = (torch.log1p(-uniform) / weights).masked_fill(~areas, -torch.inf).flatten(2)
    first = finish.topk(min(pixels, finish.shape[2]), dim=2)
    taken = torch.zeros_like(areas).flatten(2)
    return taken.scatter_(2, first.indices, first.values > -torch.inf).view_as(areas)


def _noise(rng_seeds: Tensor, size: tuple[int, ...], device: torch.device) -> Tensor:
    noise = torch.empty(len(rng_seeds), 2, *size, dtype=torch.int32, pin_memory=device.type == "cuda")
    for row, seed in zip(noise, rng_seeds.tolist(), strict=True):
        row.random_(generator=torch.Generator().manual_seed(seed))
    return on_device(noise, device).long()
