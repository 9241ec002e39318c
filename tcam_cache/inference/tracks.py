"""What the frames of a shot say together: presence over neighbours, smoothed boxes, and track ids."""

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np

from tcam_cache.datasets.boxes_table import FoundBox
from tcam_cache.errors import ConfigError
from tcam_cache.inference.confidence import overlaps
from tcam_cache.records import Box

RADIUS = 2
# Frames of a video, before and after, that speak for the presence of the object in one.
PRESENCE_RADIUS = 2
# Presence of 0 or 1 would outweigh any number of neighbours.
SUREST = 1e-4
# A track ends where the object was away for so many frames.
GAP = 5


def completed_rows(
    rows: Sequence[FoundBox], shots: Sequence[int], threshold: float, radius: int, window: int
) -> list[FoundBox]:
    """Return the rows of a clip with presence, boxes and tracks that heed the other frames of their shots.

    Presence is taken over neighbours; below the threshold a frame has no box. Corners of boxes are weighted
    medians over neighbours, by confidence.

    Args:
        rows: of one clip, in time order.
        shots: the number of each row's shot; rows of a shot lie side by side.
        threshold: of presence, in [0, 1]; 0 keeps every box.
        radius: frames before and after that boxes are smoothed over; 0 leaves them as found.
        window: frames before and after that speak for the presence of one; 0 leaves each to itself.
    """
    numbered = zip(shots, rows, strict=True)
    parts = ([row for _, row in part] for _, part in groupby(numbered, key=lambda one: one[0]))
    done, last = list[FoundBox](), 0
    for part in parts:
        completed = list(_completed(part, threshold, radius, window, last))
        last = max([last, *(row.track for row in completed if row.track)])
        done += completed
    return done


def _completed(
    rows: Sequence[FoundBox], threshold: float, radius: int, window: int, first: int
) -> Iterator[FoundBox]:
    presence = np.array([1.0 if row.presence is None else row.presence for row in rows])
    presence = presence_over(presence, window)
    there = (presence >= threshold) & np.array([row.box is not None for row in rows])
    kept_boxes = (row.box if kept else [np.nan] * 4 for row, kept in zip(rows, there, strict=True))
    boxes = np.array(list(kept_boxes), float)
    weights = np.array([1.0 if row.confidence is None else row.confidence for row in rows])
    smooth = smoothed_boxes(boxes, weights, radius)
    tracks = track_ids(there, 1, GAP)
    for row, here, kept, box, track in zip(rows, presence, there, smooth, tracks, strict=True):
        yield row._replace(
            box=Box(*box.tolist()) if kept else None,
            confidence=row.confidence if kept else None,
            presence=None if row.presence is None else float(here),
            track=int(track) + first if kept else None,
        )


def presence_over(presence: np.ndarray, radius: int | None = None) -> np.ndarray:
    """Return presence with the mean log-odds of each frame and its neighbours in a shot.

    Where the object stays, neighbours take out what one frame shows badly; where it comes and goes, a wide
    window blurs the moment.

    Args:
        presence: (T,) or (T, C) in [0, 1] of the frames of one shot, in time order.
        radius: frames before and after that count; 0 changes nothing, None takes the whole shot.

    Returns:
        The same shape, float64 in [0, 1].

    Raises:
        ConfigError: the radius is below 0.

    >>> presence_over(np.array([0.9, 0.1, 0.9, 0.9]), 1).round(2).tolist()
    [0.5, 0.68, 0.68, 0.9]
    """
    if radius is not None and radius < 0:
        raise ConfigError(f"got a radius of {radius} frames; expected 0 or more, or None for the shot.")
    values = np.asarray(presence, np.float64)
    if radius == 0 or not len(values):
        return values
    sure = np.clip(values, SUREST, 1 - SUREST)
    odds = np.log(sure / (1 - sure))
    total = np.concatenate([np.zeros_like(odds[:1]), odds.cumsum(0)])
    t = np.arange(len(odds))
    reach = len(odds) if radius is None else radius
    first, last = np.clip(t - reach, 0, None), np.clip(t + reach + 1, None, len(odds))
    counts = (last - first).reshape(-1, *[1] * (odds.ndim - 1))
    return 1 / (1 + np.exp(-(total[last] - total[first]) / counts))


def smoothed_boxes(boxes: np.ndarray, weights: np.ndarray, radius: int = RADIUS) -> np.ndarray:
    """Return boxes whose corners are the weighted medians of those of neighbouring frames.

    A frame without a box keeps none, and is no neighbour of any other; what is on its two sides is two runs.
    The median follows a jump of the object at once and leaves out a frame that alone is wrong.

    Args:
        boxes: (T, 4) of consecutive frames of one shot, in time order; a row of NaN where there is no box.
        weights: (T,) at least 0, such as confidence or presence; where a window has only zeros, they count
            the same.
        radius: frames before and after that count; 0 changes nothing.

    Returns:
        (T, 4) float64.

    Raises:
        ConfigError: the radius is below 0, a weight is below 0 or no number, or the lengths differ.

    >>> boxes = np.array([[0, 0, 4, 4], [9, 9, 10, 10], [0, 0, 4, 5], [1, 0, 4, 4.0]])
    >>> smoothed_boxes(boxes, np.ones(4), 1).tolist()[1]
    [0.0, 0.0, 4.0, 5.0]
    """
    boxes, weights = _checked(boxes, weights, radius)
    smooth = boxes.copy()
    runs = np.cumsum(np.isnan(boxes).any(1))
    for t in np.flatnonzero(~np.isnan(boxes).any(1)):
        near = np.arange(max(0, t - radius), min(len(boxes), t + radius + 1))
        near = near[(runs[near] == runs[t]) & ~np.isnan(boxes[near]).any(1)]
        share = weights[near] if weights[near].any() else np.ones(len(near))
        smooth[t] = [_weighted_median(column, share) for column in boxes[near].T]
    return smooth


def track_ids(presence: np.ndarray, threshold: float, gap: int = 1) -> np.ndarray:
    """Return the track of each frame of one shot: one object, and a new id after it was away.

    Args:
        presence: (T,) in [0, 1], in time order.
        threshold: below it the object is away.
        gap: a run of at least so many frames without the object ends a track; shorter ones do not, and
            their frames have no id either.

    Returns:
        (T,) int64 from 1; 0 where the object is away.

    Raises:
        ConfigError: the gap is below 1.

    >>> track_ids(np.array([0.9, 0.8, 0.1, 0.9, 0.0, 0.2, 0.7]), 0.5, gap=2).tolist()
    [1, 1, 0, 1, 0, 0, 2]
    """
    if gap < 1:
        raise ConfigError(f"got a gap of {gap} frames; expected 1 or more.")
    there = np.asarray(presence) >= threshold
    ids, current, away = np.zeros(len(there), np.int64), 0, gap
    for t, seen in enumerate(there):
        if not seen:
            away += 1
            continue
        current += away >= gap
        ids[t], away = current, 0
    return ids


def jitter(boxes: np.ndarray) -> float:
    """Return 1 - the mean IoU of consecutive boxes of one shot; NaN without two in a row.

    Args:
        boxes: (T, 4) in time order; a row of NaN where there is no box.

    >>> jitter(np.array([[0, 0, 2, 2], [0, 0, 2, 1], [np.nan] * 4]))
    0.5
    """
    boxes = np.asarray(boxes, np.float64)
    mask = np.asarray(np.isfinite(boxes).all(axis=1))
    pairs = mask[1:] & mask[:-1]
    return 1 - float(overlaps(boxes[1:], boxes[:-1])[pairs].mean()) if pairs.any() else float("nan")


def _weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    """Return the lowest value at which half of the weights is reached; the mean of two where it is exact."""
    order = np.argsort(values, kind="stable")
    values, total = values[order], np.cumsum(weights[order])
    half = total[-1] / 2
    low, high = np.searchsorted(total, half), np.searchsorted(total, half, side="right")
    return float((values[low] + values[min(high, len(values) - 1)]) / 2)


def _checked(boxes: np.ndarray, weights: np.ndarray, radius: int) -> tuple[np.ndarray, np.ndarray]:
    boxes, weights = np.asarray(boxes, np.float64), np.asarray(weights, np.float64)
    if radius < 0:
        raise ConfigError(f"got a radius of {radius} frames; expected 0 or more.")
    if boxes.shape != (len(weights), 4) or not (np.isfinite(weights) & (weights >= 0)).all():
        raise ConfigError(
            f"got boxes of shape {boxes.shape} and weights of shape {weights.shape}; expected (T, 4), and T "
            "finite weights of at least 0."
        )
    return boxes, weights
