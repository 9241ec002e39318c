"""The rows of a clip completed after its last frame: presence, boxes and tracks over the frames of a shot."""

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np

from tcam_cache.datasets.boxes_table import FoundBox
from tcam_cache.inference.presence import presence_over
from tcam_cache.inference.tracks import smoothed_boxes, track_ids
from tcam_cache.records import Box

# Frames before and after that speak for the presence of the object in one.
PRESENCE_RADIUS = 2
# A track ends where the object was away for so many frames.
GAP = 5


def completed_rows(
    rows: Sequence[FoundBox], shots: Sequence[int], threshold: float, radius: int
) -> list[FoundBox]:
    """Return the rows of a clip with presence, boxes and tracks that heed the other frames of their shots.

    Presence is taken over neighbours; below the threshold a frame has no box. Corners of boxes are weighted
    medians over neighbours, by confidence.

    Args:
        rows: of one clip, in time order.
        shots: the number of each row's shot; rows of a shot lie side by side.
        threshold: of presence, in [0, 1]; 0 keeps every box.
        radius: frames before and after that boxes are smoothed over; 0 leaves them as found.
    """
    numbered = zip(shots, rows, strict=True)
    parts = ([row for _, row in part] for _, part in groupby(numbered, key=lambda one: one[0]))
    done, last = list[FoundBox](), 0
    for part in parts:
        completed = list(_completed(part, threshold, radius, last))
        last = max([last, *(row.track for row in completed if row.track)])
        done += completed
    return done


def _completed(rows: Sequence[FoundBox], threshold: float, radius: int, first: int) -> Iterator[FoundBox]:
    presence = np.array([1.0 if row.presence is None else row.presence for row in rows])
    presence = presence_over(presence, PRESENCE_RADIUS)
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
