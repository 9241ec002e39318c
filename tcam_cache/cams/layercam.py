"""CAMs in closed form: a head of global average pooling and one linear layer needs no backward pass.

With S_c = b_c + sum_k w_kc mean_ij A_k(ij), the gradient dS_c/dA_k(ij) is w_kc / HW at every position, so
each method of the family is a weighted sum of activations.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from tcam_cache.errors import ConfigError


@dataclass(frozen=True)
class Cams:
    """A batch of normalised maps.

    Attributes:
        maps: (B, h, w) float32 in [0, 1]; all zero where flat.
        raw_min: (B,) minimum before normalising.
        raw_max: (B,) maximum before normalising.
        flat: (B,) bool, true where the raw map was constant.
    """

    maps: torch.Tensor
    raw_min: torch.Tensor
    raw_max: torch.Tensor
    flat: torch.Tensor


def layer_cam(activations: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return LayerCAM (Jiang et al. 2021) at the last layer before a GAP + linear head, not normalised.

    ReLU(sum_k ReLU(g_k) A_k) with g_k = w_k / HW. The outer ReLU stays, since activations may be negative
    (MobileNetV3 ends in Hardswish).

    Args:
        activations: (B, K, h, w) features before pooling.
        weights: (B, K) the head's weights of each frame's class.

    Returns:
        (B, h, w), not negative.
    """
    positions = activations.shape[-2] * activations.shape[-1]
    return torch.einsum("bk,bkhw->bhw", weights.relu() / positions, activations).relu()


CLOSED_FORMS: Mapping[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {"layercam": layer_cam}


def normalise(maps: torch.Tensor) -> Cams:
    """Scale each map to [0, 1] by its own minimum and maximum; one that is constant becomes zeros, flagged.

    So does a map that is not finite: a NaN never reaches the cache.

    Args:
        maps: (B, h, w) raw maps.

    >>> normalise(torch.tensor([[[1.0, 3.0]], [[2.0, 2.0]]])).maps.tolist()
    [[[0.0, 1.0]], [[0.0, 0.0]]]
    """
    maps = maps.float()
    low, high = maps.amin((1, 2)), maps.amax((1, 2))
    flat = ~((high > low) & torch.isfinite(high - low))
    span = torch.where(flat, 1.0, high - low)
    scaled = (maps - low[:, None, None]) / span[:, None, None]
    return Cams(torch.where(flat[:, None, None], 0.0, scaled), low, high, flat)


def cams_of_tags(classifier: nn.Module, activations: torch.Tensor, tags: torch.Tensor, method: str) -> Cams:
    """Return the normalised CAM of each frame's tag, from features the forward pass already gave.

    Args:
        classifier: has `head`, the `nn.Linear` after global average pooling.
        activations: (B, K, h, w) deepest features.
        tags: (B,) int64 class index of each frame.
        method: one of `CLOSED_FORMS`.

    Raises:
        ConfigError: unknown method, or a head that allows no closed form.
    """
    if method not in CLOSED_FORMS:
        raise ConfigError(f"unknown CAM method {method!r}. Those that exist: {', '.join(CLOSED_FORMS)}.")
    head = classifier.head
    if not isinstance(head, nn.Linear):
        raise ConfigError(
            f"{method} needs global average pooling and one linear layer as head, got {type(head).__name__}. "
            "Fit a classifier with `tcam-cache classifier`."
        )
    return normalise(CLOSED_FORMS[method](activations, head.weight[tags]))
