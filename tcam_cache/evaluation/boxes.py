"""Boxes of a map at many thresholds, and their overlap with true boxes (Choe et al., CVPR 2020: WSOL)."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from skimage.filters import threshold_otsu
from skimage.measure import label

from tcam_cache.config.evaluate import BOX_MODES
from tcam_cache.errors import ConfigError, EvaluationError
from tcam_cache.evaluation.regions import MergeForest, doubled_areas, extents_of, merge_forest

GRID = np.arange(0, 1, 0.001)
GRID.flags.writeable = False
ROUNDING = 1e-5


class Regions(NamedTuple):
    """The boxes of all regions of a map at all thresholds.

    Attributes:
        boxes: (N, 4) x0, y0, x1, y1 in pixels of the map.
        cuts: (N,) int, the cut (grey level) at which each region exists.
        at: (K,) int, the cut that each threshold makes.
    """

    boxes: np.ndarray
    cuts: np.ndarray
    at: np.ndarray

    def best(self, ious: np.ndarray) -> np.ndarray:
        """Return (K,) the highest of the regions' (N,) overlaps at each threshold, 0 where there is none."""
        best = np.zeros(max(self.cuts.max(initial=0), self.at.max()) + 1)
        np.maximum.at(best, self.cuts, ious)
        return best[self.at]


def boxes_at(scores: np.ndarray, taus: np.ndarray = GRID, mode: str = "components") -> np.ndarray:
    """Return the box of a map at every threshold, equal to binarising and labelling it at each one.

    `components`: the largest 8-connected component, by pixels, of `scores > tau * max`; of equals the one
    whose first pixel comes first, row by row. Right and bottom are exclusive.
    `wsol`: the WSOL protocol. `uint8(255 * scores) > int(tau * max)`; the component with the largest area
    inside the polygon through the centres of its outer pixels (OpenCV's `contourArea`); of equals the one
    whose first pixel comes last (OpenCV's order); x1 = x0 + width, y1 = y0 + height, at most W - 1, H - 1.

    Args:
        scores: (H, W) float32 in [0, 1].
        taus: (K,) in [0, 1), rising.
        mode: "components" or "wsol".

    Returns:
        (K, 4) float32 x0, y0, x1, y1 in pixels of the map; where nothing exceeds the threshold a row of NaN,
        in `wsol` the protocol's row of zeros.

    Raises:
        EvaluationError: the map is not two-dimensional, not finite or leaves [0, 1].
        ConfigError: the mode is unknown, or the thresholds do not rise within [0, 1).

    >>> boxes_at(np.float32([[0, 0.9, 0.2], [0, 1.0, 0.2]]), np.array([0, 0.5])).tolist()
    [[1.0, 0.0, 3.0, 2.0], [1.0, 0.0, 2.0, 2.0]]
    """
    scores, taus = _checked(scores, taus, mode)
    if mode == "components" and len(taus) == 1:
        # The sweep costs as much as labelling ten times.
        return _largest_component(scores.astype(np.float64) > taus[0] * float(scores.max()))[None]
    return largest_and_all(scores, taus, mode)[0]


def largest_and_all(
    scores: np.ndarray, taus: np.ndarray = GRID, mode: str = "components"
) -> tuple[np.ndarray, Regions]:
    """Return the boxes of `boxes_at`, and the boxes of all regions of the map at every threshold.

    The regions are the components; in `wsol` holes have boxes too, since the published evaluator takes all
    of OpenCV's contours (`RETR_TREE`), including those of holes.
    """
    scores, taus = _checked(scores, taus, mode)
    if mode == "wsol":
        return _wsol_boxes(scores, taus)
    cuts = taus * float(scores.max())
    levels = np.searchsorted(cuts, scores.astype(np.float64).ravel(), side="left").reshape(scores.shape)
    boxes = np.full((len(taus), 4), np.nan, np.float32)
    forest = merge_forest(scores, levels)
    extents = extents_of(forest)
    sizes = forest.total(np.flatnonzero(forest.levels))
    largest = _winners(forest, extents, sizes * forest.levels.size - extents[0])
    boxes[: len(largest)] = largest
    return boxes, Regions(extents[1:].T, forest.threshold, np.arange(len(taus)))


def otsu_box(scores: np.ndarray, mode: str = "components") -> np.ndarray:
    """Return the (4,) box of a map above Otsu's threshold of its 8-bit version.

    >>> otsu_box(np.float32([[0.1, 0.1, 0.8], [0.1, 0.2, 0.9]])).tolist()
    [2.0, 0.0, 3.0, 2.0]
    """
    scores, taus = _checked(scores, np.zeros(1), mode)
    grey = _to_grey(scores)
    return boxes_at((grey > threshold_otsu(grey)).astype(np.float32), taus, mode)[0]


def iou(boxes: np.ndarray, truth: np.ndarray, inclusive: bool = False) -> np.ndarray:
    """Return the intersection over union of each box with each true box.

    Args:
        boxes: (K, 4) x0, y0, x1, y1; a row of NaN overlaps nothing.
        truth: (M, 4) in the same pixels.
        inclusive: right and bottom belong to the box, so that a side is x1 - x0 + 1 (WSOL protocol).

    Returns:
        (K, M) float64 in [0, 1].

    >>> iou(np.array([[0, 0, 2, 2]]), np.array([[1, 0, 3, 2], [0, 0, 2, 2]])).round(3).tolist()
    [[0.333, 1.0]]
    """
    boxes, truth = np.asarray(boxes, np.float64), np.asarray(truth, np.float64)
    least = np.maximum(boxes[:, None, :2], truth[None, :, :2])
    most = np.minimum(boxes[:, None, 2:], truth[None, :, 2:])
    common = np.maximum(most - least + inclusive, 0).prod(axis=-1)
    union = _area(boxes, inclusive)[:, None] + _area(truth, inclusive)[None] - common
    with np.errstate(invalid="ignore"):
        return np.where(union > 0, common / np.where(union > 0, union, 1), 0.0)


def hits(ious: ArrayLike, mode: str, at: float = 0.5) -> np.ndarray:
    """Return which overlaps count as found: IoU > 0.5 (CorLoc), >= 0.5 in the WSOL protocol.

    >>> hits(np.array([0.4, 0.5, 0.6]), "components").tolist()
    [False, False, True]
    """
    return np.asarray(ious) >= at if mode == "wsol" else np.asarray(ious) > at


def _area(boxes: np.ndarray, inclusive: bool) -> np.ndarray:
    return (boxes[:, 2:] - boxes[:, :2] + inclusive).prod(axis=-1)


def _checked(scores: np.ndarray, taus: np.ndarray, mode: str) -> tuple[np.ndarray, np.ndarray]:
    scores, taus = np.asarray(scores, np.float32), np.asarray(taus, np.float64)
    if mode not in BOX_MODES:
        raise ConfigError(f"got box mode {mode!r}; expected one of {', '.join(BOX_MODES)}.")
    if taus.ndim != 1 or not taus.size or not (taus[0] >= 0 and taus[-1] < 1 and (np.diff(taus) > 0).all()):
        raise ConfigError("got thresholds out of order or out of range; give them rising within [0, 1).")
    if scores.ndim != 2 or not scores.size:
        raise EvaluationError(f"got a map of shape {scores.shape}; give one map (H, W) at a time.")
    low, high = float(scores.min()), float(scores.max())
    if not (low >= 0 and high <= 1 + ROUNDING):
        raise EvaluationError(
            f"a map holds values from {low:g} to {high:g}; expected finite ones in [0, 1]. "
            "Maps with NaN come from a run that diverged: train it again with a smaller --lr."
        )
    return scores, taus


def _to_grey(scores: np.ndarray) -> np.ndarray:
    return (scores.astype(np.float64) * 255).astype(np.uint8)


def _largest_component(mask: np.ndarray) -> np.ndarray:
    """Return the (4,) box of the component of a (H, W) mask with the most pixels; NaN where there is none."""
    if not mask.any():
        return np.full(4, np.nan, np.float32)
    # Numbered by their first pixels, row by row.
    components = np.asarray(label(mask, connectivity=2))
    largest = components == np.bincount(components.ravel())[1:].argmax() + 1
    x, y = (np.flatnonzero(largest.any(axis)) for axis in (0, 1))
    return np.array([x[0], y[0], x[-1] + 1, y[-1] + 1], np.float32)


def _winners(forest: MergeForest, extents: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Return (k, 4), the box of the component with the highest key, >= 0 and never equal at one threshold."""
    wins = np.flatnonzero(keys == forest.highest(keys)[forest.threshold])
    return extents[1:, wins[np.argsort(forest.threshold[wins])]].T


def _wsol_boxes(scores: np.ndarray, taus: np.ndarray) -> tuple[np.ndarray, Regions]:
    grey = _to_grey(scores)
    if not grey.any():
        nothing = np.zeros((len(taus), 4), np.float32)
        return nothing, Regions(nothing, np.arange(len(taus)), np.arange(len(taus)))
    forest = merge_forest(scores, grey)
    extents = extents_of(forest)
    areas = doubled_areas(forest, extents)
    largest = _winners(forest, extents, areas * forest.levels.size + extents[0])
    at = np.array([int(tau * grey.max()) for tau in taus])
    height, width = grey.shape
    limits = [width, height, width - 1, height - 1]
    holes, levels = _holes(grey)
    boxes = np.minimum(np.concatenate([extents[1:].T, holes]), limits)
    regions = Regions(boxes, np.concatenate([forest.threshold, levels]), at)
    return np.minimum(largest[at], limits).astype(np.float32), regions


def _holes(grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (N, 4) the boxes of the contours around all holes, and (N,) the grey level that each is of.

    A hole is background that touches no edge of the map, 4-connected where components are 8-connected; its
    contour runs through the pixels around it.
    """
    highest = int(grey.max())
    depth = highest - grey.astype(np.int64)
    forest = merge_forest(depth.astype(np.float32), depth, diagonals=False)
    boxes = extents_of(forest)[1:].T
    inside = (boxes[:, :2] > 0).all(axis=1) & (boxes[:, 2:] < grey.shape[::-1]).all(axis=1)
    # A pixel deeper than `step` in the inverted map is at or below the mirrored grey level.
    return boxes[inside] + np.array([-1, -1, 1, 1], np.int32), highest - 1 - forest.threshold[inside]
