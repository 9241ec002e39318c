"""Otsu regions C+ and C- of temporal CAMs, and the pseudo-labels drawn from them (TCAM Eq. 2 and 3)."""

from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from tcam_cache.devices import on_device

LEVELS = 256
# Neighbours of a pixel in a stack of maps: the four in its own map.
_FOUR = ndimage.generate_binary_structure(2, 1)[None] & np.array([False, True, False])[:, None, None]


class Regions(NamedTuple):
    """The pixels of a batch of CAMs above their Otsu thresholds.

    Attributes:
        foreground: (B, H, W) bool, C+; all false where the map is flat. C- is the rest of other maps.
        flat: (B,) bool, true where all pixels of a map have one grey level, so that it has no regions.
    """

    foreground: Tensor
    flat: Tensor


def otsu_threshold(levels: Tensor) -> Tensor:
    """Return Otsu's threshold of every map; foreground is strictly above it.

    The thresholds are those of `skimage.filters.threshold_otsu` on uint8, the constant itself for a flat map.
    Sums are exact integers. The variances are compared in float64; on MPS, which has none, in float32, where
    two levels whose variances agree to six digits may be confused.

    Args:
        levels: (B, H, W) uint8 or int64 grey levels, 0..255.

    Returns:
        (B,) int64 grey levels, 0..255.

    >>> otsu_threshold(torch.tensor([[[10, 10, 200], [12, 190, 200]]])).tolist()
    [12]
    """
    counts = _histograms(levels)
    mass = counts * torch.arange(LEVELS, device=counts.device)
    below, mass_below = counts.cumsum(1), mass.cumsum(1)
    above, mass_above = below[:, -1:] - below, mass_below[:, -1:] - mass_below
    real = torch.float32 if counts.device.type == "mps" else torch.float64
    # skimage keeps counts in float32 and means in float64: doing the same resolves near-ties the same way.
    gap = mass_below.to(real) / below.clamp(min=1) - mass_above.to(real) / above.clamp(min=1)
    variance = (below.float() * above.float()) * (gap * gap)
    constant = (counts > 0).int().argmax(1)
    return torch.where(variance.amax(1) > 0, variance.argmax(1), constant)


def regions(cams: Tensor) -> Regions:
    """Split every CAM at its Otsu threshold (TCAM Eq. 2), on the 8-bit levels floor(255 cam).

    Args:
        cams: (B, H, W) floating point CAMs in [0, 1].

    >>> regions(torch.tensor([[[0.1, 0.1], [0.9, 0.8]], [[0.5, 0.5], [0.5, 0.5]]])).flat.tolist()
    [False, True]
    """
    levels = (cams.float() * (LEVELS - 1)).floor().long().clamp(0, LEVELS - 1)
    above = levels > otsu_threshold(levels)[:, None, None]
    return Regions(above, ~above.flatten(1).any(1))


def foreground_region(above: Tensor, kind: str) -> Tensor:
    """Return C+ of every map from its pixels above the threshold; all but "blob" is found on the CPU.

    Args:
        above: (B, H, W) bool.
        kind: "blob" is all of them (published with TCAM), "largest" their largest 4-connected region, the
            first in raster order of equals, "box" the filled bounding box of that (published with CoLo-CAM).

    >>> above = torch.tensor([[1, 0, 1, 0], [0, 0, 1, 1]]).bool()[None]
    >>> [foreground_region(above, kind)[0].int().tolist() for kind in ("largest", "box")]
    [[[0, 0, 1, 0], [0, 0, 1, 1]], [[0, 0, 1, 1], [0, 0, 1, 1]]]
    """
    if kind == "blob":
        return above
    largest = on_device(torch.from_numpy(_largest(above.cpu().numpy())), above.device)
    if kind == "largest":
        return largest
    return _between(largest.any(2))[:, :, None] & _between(largest.any(1))[:, None, :]


def _largest(above: np.ndarray) -> np.ndarray:
    labels = np.empty(above.shape, np.int32)
    ndimage.label(above, _FOUR, output=labels)
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    place = areas[labels].reshape(len(above), -1).argmax(1)
    chosen = labels.reshape(len(above), -1)[np.arange(len(above)), place]
    return above & (labels == chosen[:, None, None])


def _between(marked: Tensor) -> Tensor:
    """Fill each row of a (B, N) mask between its first and its last mark."""
    return (marked.cumsum(1) > 0) & (marked.flip(1).cumsum(1) > 0).flip(1)


def _histograms(levels: Tensor) -> Tensor:
    index = levels.flatten(1).long()
    counts = torch.zeros(len(index), LEVELS, dtype=torch.int32, device=index.device)
    ones = torch.ones(1, 1, dtype=torch.int32, device=index.device).expand_as(index)
    return counts.scatter_add_(1, index, ones).long()


IGNORE = -255
_BITS = 31


class PseudoLabels(NamedTuple):
    """The pseudo-labels of a batch.

    Attributes:
        labels: (B, H, W) int64, 0 background, 1 foreground, `IGNORE` elsewhere.
        flat: (B,) bool, true where the CAM is flat, so that the frame has no label.
        counts: (B, 2) int64, number of labelled pixels of background and foreground.
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
    fg_region: str = "blob",
) -> PseudoLabels:
    """Draw foreground pixels by activation, background pixels uniformly, without replacement (TCAM Eq. 3).

    Draws are exponential races: the pixels with the smallest E / activation, E ~ Exp(1), are a multinomial
    draw without replacement. Of a region smaller than `pixels` all pixels are drawn.

    Args:
        cams: (B, H, W) floating point temporal CAMs (CAM-TMP) in [0, 1], on any device.
        rng_seeds: (B,) int64 on the CPU, one per sample: a draw depends only on the sample's map and seed.
        fg_top: foreground is drawn from this highest fraction of C+, at least one pixel; 1 is all of C+.
        bg_low: background is drawn from this lowest fraction of all pixels; None is all of C-.
        pixels: number of pixels to draw per sample and class.
        dilate: grow every drawn pixel to 3x3; pixels that get both labels become `IGNORE`.
        fg_level: foreground is drawn from pixels of at least this share of the map's maximum.
        fg_region: what C+ is, see `foreground_region`; C- are pixels outside it, below the threshold.

    >>> cams = torch.tensor([[[0.0, 0.1], [0.1, 1.0]]])
    >>> drawn = draw_pseudo_labels(
    ...     cams, torch.tensor([7]), fg_top=1.0, bg_low=None, pixels=3, dilate=False)
    >>> drawn.labels.tolist(), drawn.counts.tolist()
    ([[[0, 0], [0, 1]]], [[3, 1]])
    """
    noise = _noise(rng_seeds, cams.shape[1:], cams.device)
    areas = seed_regions(cams, noise, fg_top=fg_top, bg_low=bg_low, fg_level=fg_level, fg_region=fg_region)
    taken = _first_of_race(cams, areas, noise, pixels)
    if dilate:
        taken = functional.max_pool2d(taken.float(), 3, stride=1, padding=1) > 0
    taken = taken & ~taken.flip(1)
    labels = torch.full_like(taken[:, 0], IGNORE, dtype=torch.int64)
    labels = labels.masked_fill(taken[:, 0], 0).masked_fill(taken[:, 1], 1)
    return PseudoLabels(labels, ~areas.flatten(1).any(1), taken.sum((2, 3)))


def seed_regions(
    cams: Tensor,
    noise: Tensor,
    *,
    fg_top: float,
    bg_low: float | None,
    fg_level: float = 0.0,
    fg_region: str = "blob",
) -> Tensor:
    """Return the pixels that seeds may be drawn from; ties at a fraction's limit are broken at random.

    Args:
        cams: (B, H, W) floating point temporal CAMs in [0, 1].
        noise: (B, 2, H, W) int64 in 0..2^31 - 1, independent and uniform.
        fg_top: see `draw_pseudo_labels`.
        bg_low: see `draw_pseudo_labels`.
        fg_level: see `draw_pseudo_labels`.
        fg_region: see `draw_pseudo_labels`.

    Returns:
        (B, 2, H, W) bool, channel 0 for background, 1 for foreground; all false where the map is flat.
    """
    above, flat = regions(cams)
    foreground = foreground_region(above, fg_region)
    background = ~(above | foreground)
    # Ties of one class are broken with the noise of the other's race, so that ties and races are independent.
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
