"""Normalise maps by their own minimum and maximum, and fuse the maps of several layers."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional


@dataclass(frozen=True)
class Cams:
    """A batch of normalised maps.

    Attributes:
        maps: (B, h, w) float32 in [0, 1]; all zero where flat. (B, C, h, w) for the target "all".
        raw_min: (B,) or (B, C) float32, minimum before normalising.
        raw_max: (B,) or (B, C) float32, maximum before normalising.
        flat: (B,) or (B, C) bool, true where the raw map was constant.
    """

    maps: torch.Tensor
    raw_min: torch.Tensor
    raw_max: torch.Tensor
    flat: torch.Tensor


def normalise(maps: torch.Tensor) -> Cams:
    """Return each map scaled to [0, 1] by its own minimum and maximum; constant maps become zeros, and flat.

    Maps that are not finite also become zeros: a NaN never reaches the cache.

    Args:
        maps: (..., h, w) floating point raw maps, any range.

    >>> normalise(torch.tensor([[[1.0, 3.0]], [[2.0, 2.0]]])).maps.tolist()
    [[[0.0, 1.0]], [[0.0, 0.0]]]
    """
    maps = maps.float()
    low, high = maps.amin((-2, -1)), maps.amax((-2, -1))
    flat = ~((high > low) & torch.isfinite(high - low))
    span = torch.where(flat, 1.0, high - low)
    scaled = (maps - low[..., None, None]) / span[..., None, None]
    return Cams(torch.where(flat[..., None, None], 0.0, scaled), low, high, flat)


# The paper's gamma, and the number of last stages that count as deep: it scales S1 to S3 of five stages.
GAMMA = 2.0
DEEP_STAGES = 2


def fused(maps: Sequence[torch.Tensor], shallow: Sequence[bool], fuse: str = "max") -> torch.Tensor:
    """Fuse the maps of several layers into one, at the finest resolution.

    For the maximum, each map M becomes M / max M; a shallow layer's map has few high values, and becomes
    tanh(gamma M / max M) (LayerCAM, Jiang et al. 2021). For the means, each is first normalised to [0, 1].

    Args:
        maps: (..., h, w) raw maps, one per layer; resolutions may differ.
        shallow: for each map, whether its layer is shallow.
        fuse: "max", "mean" or "geometric".

    >>> deep, shallow = torch.tensor([[[0.0, 4.0]]]), torch.tensor([[[1.0, 0.5]]])
    >>> [round(value, 3) for value in fused([deep, shallow], [False, True]).flatten().tolist()]
    [0.964, 1.0]
    >>> fused([deep, shallow], [False, True], "mean").tolist()
    [[[0.5, 0.5]]]
    """
    size = max((one.shape[-2:] for one in maps), key=lambda shape: shape[0] * shape[1])
    if fuse == "max":
        scaled = [_scaled(one, below) for one, below in zip(maps, shallow, strict=True)]
        return torch.stack([resized(one, size) for one in scaled]).amax(0)
    stacked = torch.stack([resized(normalise(one).maps, size) for one in maps])
    return stacked.mean(0) if fuse == "mean" else stacked.prod(0).pow(1 / len(maps))


def _scaled(maps: torch.Tensor, shallow: bool) -> torch.Tensor:
    """Return maps (..., h, w) over their own maxima, and the tanh of gamma times that for a shallow layer."""
    highest = maps.amax((-2, -1), keepdim=True)
    unit = maps / torch.where(highest > 0, highest, 1.0)
    return torch.tanh(GAMMA * unit) if shallow else unit


def resized(maps: torch.Tensor, size: torch.Size) -> torch.Tensor:
    """Resize maps (..., h, w), bilinear, align_corners=False; maps of that size already stay as they are."""
    if maps.shape[-2:] == size:
        return maps
    flat = maps.reshape(-1, 1, *maps.shape[-2:])
    resized = functional.interpolate(flat, size=tuple(size), mode="bilinear", align_corners=False)
    return resized.reshape(*maps.shape[:-2], *size)
