"""Presence: is the object of a tag in a frame, from the deepest features of the pass that its box is of."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch.nn import functional

from tcam_cache.models.wrappings import State

# Features are averaged in at most 7 x 7 windows, as fine as the backbones' own 32 pixels at 224; finer ones
# cost four times as much and give the same.
WINDOWS = 7
# A layer with fewer outputs says less than the features it is made of.
LEAST_CONCEPTS = 100
_HEAD = re.compile(r"(?:^|\.)(?:_?fc|classifier|heads?|last_linear)\.(?:\w+\.)?weight$")


class Concepts(NamedTuple):
    """The layer that a pretrained backbone classified with: what of its classes is seen in a window.

    Attributes:
        weight: (E, K) float16.
        bias: (E,) float16.
    """

    weight: torch.Tensor
    bias: torch.Tensor


class Presence(NamedTuple):
    """What tells frames with the object of a tag from frames without it; see `fit_presence`.

    Attributes:
        concepts: of the backbone; None where it came without.
        weight: (C + 1, E) float64; the last row is of pictures of nothing.
        bias: (C + 1,) float64.
        slope: of the log-odds over the margin, above 0.
        offset: of the log-odds.
        threshold: in [0, 1]; below it the object is taken for absent.
        scores: of left-out videos: "presence_auroc", "presence_precision", "presence_recall" (percentages),
            and "presence_threshold".
    """

    concepts: Concepts | None
    weight: torch.Tensor
    bias: torch.Tensor
    slope: float
    offset: float
    threshold: float
    scores: Mapping[str, float]

    def of(self, deepest: torch.Tensor) -> torch.Tensor:
        """Return the presence (B, C) float32 in [0, 1] of each tag, of deepest features (B, K, h, w)."""
        vectors = evidence(deepest, self.concepts).double()
        scores = vectors @ self.weight.to(vectors.device).T + self.bias.to(vectors.device)
        return torch.sigmoid(self.slope * margins(scores)[:, :-1] + self.offset).float()

    def to_values(self) -> dict[str, Any]:
        """Return tensors and plain values, as a classifier file keeps them."""
        return {**self._asdict(), "concepts": self.concepts and self.concepts._asdict()}

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> "Presence":
        """Return what `to_values` wrote."""
        concepts = values["concepts"] and Concepts(**values["concepts"])
        return cls(**{**{name: values[name] for name in cls._fields}, "concepts": concepts})


def evidence(deepest: torch.Tensor, concepts: Concepts | None) -> torch.Tensor:
    """Return the strongest sign of each concept, or else of each feature, in any window of a frame.

    Args:
        deepest: (B, K, h, w) floating point, the deepest features.
        concepts: of K features; or None.

    Returns:
        (B, E) float32; (B, K) without concepts.

    >>> deepest = torch.tensor([[[[0.0, 4.0]], [[2.0, 0.0]]]])
    >>> evidence(deepest, None).tolist()
    [[4.0, 2.0]]
    >>> evidence(deepest, Concepts(torch.tensor([[1.0, 1.0]]), torch.tensor([0.5]))).tolist()
    [[4.5]]
    """
    height, width = deepest.shape[-2:]
    sides = (min(height, WINDOWS), min(width, WINDOWS))
    windows = functional.adaptive_avg_pool2d(deepest.float(), sides).flatten(2)
    if concepts is None:
        return windows.amax(2)
    weight, bias = (one.to(windows) for one in concepts)
    return functional.linear(windows.transpose(1, 2), weight, bias).amax(1)


def margins(scores: torch.Tensor) -> torch.Tensor:
    """Return how far each score is above the highest of the others, in each row.

    Args:
        scores: (B, C) floating point, C at least 2.

    >>> margins(torch.tensor([[1.0, 4.0, 2.0]])).tolist()
    [[-3.0, 2.0, -2.0]]
    """
    highest, second = scores.topk(2, dim=1).values.unbind(1)
    is_highest = torch.arange(scores.shape[1], device=scores.device) == scores.argmax(1, keepdim=True)
    return scores - torch.where(is_highest, second[:, None], highest[:, None])


def concepts_in(states: Mapping[str, State], depth: int) -> Concepts | None:
    """Return the only classification layer in a file of weights that fits a backbone, or None.

    Args:
        states: tensors by name, by their place in the file.
        depth: K, channels of the deepest features. Linear layers and 1 x 1 convolutions on them are found.

    >>> concepts_in({"": {"fc.weight": torch.ones(200, 8), "fc.bias": torch.ones(200)}}, 8).weight.shape
    torch.Size([200, 8])
    """
    heads = [
        (values[name], values[f"{name.removesuffix('weight')}bias"])
        for values in states.values()
        for name in values
        if _HEAD.search(name) and f"{name.removesuffix('weight')}bias" in values
    ]
    if len(heads) != 1:  # none, or several layers: what they say of one window is not known
        return None
    weight, bias = heads[0]
    fits = weight.shape[1:] in ((depth,), (depth, 1, 1)) and len(weight) >= LEAST_CONCEPTS
    if not fits or not (weight.isfinite().all() and bias.isfinite().all()):
        return None
    return Concepts(weight.flatten(1).detach().half().clone(), bias.detach().half().clone())
