"""Maps in [0, 1]: every CAM is scaled once, here, by its own minimum and maximum."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Cams:
    """A batch of normalised maps.

    Attributes:
        maps: (B, h, w) float32 in [0, 1]; all zero where flat. (B, C, h, w) where every class was asked for.
        raw_min: (B,) or (B, C), minimum before normalising.
        raw_max: (B,) or (B, C), maximum before normalising.
        flat: (B,) or (B, C) bool, true where the raw map was constant.
    """

    maps: torch.Tensor
    raw_min: torch.Tensor
    raw_max: torch.Tensor
    flat: torch.Tensor


def normalise(maps: torch.Tensor) -> Cams:
    """Scale each map to [0, 1] by its own minimum and maximum; one that is constant becomes zeros, flagged.

    So does a map that is not finite: a NaN never reaches the cache.

    Args:
        maps: (..., h, w) raw maps.

    >>> normalise(torch.tensor([[[1.0, 3.0]], [[2.0, 2.0]]])).maps.tolist()
    [[[0.0, 1.0]], [[0.0, 0.0]]]
    """
    maps = maps.float()
    low, high = maps.amin((-2, -1)), maps.amax((-2, -1))
    flat = ~((high > low) & torch.isfinite(high - low))
    span = torch.where(flat, 1.0, high - low)
    scaled = (maps - low[..., None, None]) / span[..., None, None]
    return Cams(torch.where(flat[..., None, None], 0.0, scaled), low, high, flat)
