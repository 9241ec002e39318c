"""How sure a box is, without a true box: what maps of its pass, its mirror and its neighbours agree on."""

import numpy as np

from tcam_cache.inference.maps import FrameMap, box_of
from tcam_cache.records import Box

# A box that hardly depends on the threshold is that of a compact map.
LOW_TAU, HIGH_TAU = 0.35, 0.65


def frame_confidence(item: FrameMap, box: Box | None) -> float | None:
    """Return how sure the box of a frame is, in [0, 1]; None without a box.

    The mean of two IoUs: of the boxes of its map at tau 0.35 and 0.65, and, where it is mixed, of the boxes
    of the decoder's map and of the CAM. Its rank correlation with the true IoU, on videos that were not
    learned from, is in docs/log.md; mirrors and neighbours added nothing.
    """
    if box is None:
        return None
    size = (item.width, item.height)
    pairs = [(box_of(item.scores, size, LOW_TAU), box_of(item.scores, size, HIGH_TAU))]
    parts = dict(item.parts)
    if {"decoder", "CAM"} <= parts.keys():
        pairs.append((box_of(parts["decoder"], size, 0.5), box_of(parts["CAM"], size, 0.5)))
    none = [np.nan] * 4
    ones, others = (np.array([none if one is None else one for one in of]) for of in zip(*pairs, strict=True))
    return float(overlaps(ones, others).mean())


def overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the IoU of each box with the other box of its row, 0 where one of them is missing.

    Args:
        boxes: (T, 4) x0, y0, x1, y1, right and bottom exclusive; a row of NaN where there is no box.
        others: (T, 4), alike, in the same units.

    Returns:
        (T,) float64 in [0, 1].

    >>> overlaps(np.array([[0, 0, 2, 2], [0, 0, 1, 1]]), np.array([[0, 0, 2, 1], [np.nan] * 4])).tolist()
    [0.5, 0.0]
    """
    one, other = np.asarray(boxes, np.float64), np.asarray(others, np.float64)
    sides = np.minimum(one[:, 2:], other[:, 2:]) - np.maximum(one[:, :2], other[:, :2])
    shared = np.clip(sides, 0, None).prod(1)
    areas = [(box[:, 2:] - box[:, :2]).prod(1) for box in (one, other)]
    union = areas[0] + areas[1] - shared
    return np.nan_to_num(np.divide(shared, union, out=np.zeros(len(one)), where=union > 0))
