"""Otsu's threshold on 8-bit temporal CAMs, and the regions C+ and C- it separates (TCAM Eq. 2)."""

from typing import NamedTuple

import torch
from torch import Tensor

LEVELS = 256


class Regions(NamedTuple):
    """Where a batch of CAMs lies above its Otsu thresholds.

    Attributes:
        foreground: (B, H, W) bool, C+; empty where the map is flat. C- is the rest of a map that is not flat.
        flat: (B,) bool, true where all pixels of a map share one grey level, so that it says nothing.
    """

    foreground: Tensor
    flat: Tensor


def otsu_threshold(levels: Tensor) -> Tensor:
    """Return Otsu's threshold of every map; foreground is what lies strictly above it.

    The thresholds are those of `skimage.filters.threshold_otsu` on uint8, the constant itself for a flat map.
    Sums are exact integers. The variances are compared in float64; on MPS, which has none, in float32, where
    two levels whose variances agree to six digits may be taken for one another.

    Args:
        levels: (B, H, W) grey levels 0..255, uint8 or int64.

    Returns:
        (B,) int64.

    >>> otsu_threshold(torch.tensor([[[10, 10, 200], [12, 190, 200]]])).tolist()
    [12]
    """
    counts = _histograms(levels)
    mass = counts * torch.arange(LEVELS, device=counts.device)
    below, mass_below = counts.cumsum(1), mass.cumsum(1)
    above, mass_above = below[:, -1:] - below, mass_below[:, -1:] - mass_below
    real = torch.float32 if counts.device.type == "mps" else torch.float64
    # skimage keeps counts in float32, means in float64: following it settles near-ties the same way.
    gap = mass_below.to(real) / below.clamp(min=1) - mass_above.to(real) / above.clamp(min=1)
    variance = (below.float() * above.float()) * (gap * gap)
    constant = (counts > 0).int().argmax(1)
    return torch.where(variance.amax(1) > 0, variance.argmax(1), constant)


def regions(cams: Tensor) -> Regions:
    """Split every CAM at its Otsu threshold (TCAM Eq. 2), on the 8-bit levels floor(255 cam).

    Args:
        cams: (B, H, W) floating point in [0, 1].

    >>> regions(torch.tensor([[[0.1, 0.1], [0.9, 0.8]], [[0.5, 0.5], [0.5, 0.5]]])).flat.tolist()
    [False, True]
    """
    levels = (cams.float() * (LEVELS - 1)).floor().long().clamp(0, LEVELS - 1)
    above = levels > otsu_threshold(levels)[:, None, None]
    return Regions(above, ~above.flatten(1).any(1))


def _histograms(levels: Tensor) -> Tensor:
    index = levels.flatten(1).long()
    counts = torch.zeros(len(index), LEVELS, dtype=torch.int32, device=index.device)
    ones = torch.ones(1, 1, dtype=torch.int32, device=index.device).expand_as(index)
    return counts.scatter_add_(1, index, ones).long()
