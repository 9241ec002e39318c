"""Where one shot ends and the next begins: a simple detector of hard cuts on thumbnails."""

import numpy as np

THUMBNAIL = 32
# Mean absolute difference of two thumbnails, in grey levels of 255: a cut changes more than this ...
LEAST_CHANGE = 18.0
# ... and so many times more than its neighbourhood moves, ...
TIMES_THE_MOTION = 2.5
# ... which is this many frames on either side.
NEIGHBOURHOOD = 6


def find_cuts(thumbnails: np.ndarray) -> list[int]:
    """Return the frames that begin a new shot, the first frame of the video left out.

    A frame begins a shot when its thumbnail differs from the one before by at least `LEAST_CHANGE`, by
    `TIMES_THE_MOTION` times the median of the changes around it (so that fast motion is not cut), and when
    the change lasts: it and the frame after differ from the two before just as much (so that a flash of one
    frame is not a cut). Dissolves and fades are not found.

    Args:
        thumbnails: (T, h, w, 3) uint8, all frames of a video in order.

    >>> black, white = np.zeros((4, 8, 8, 3), np.uint8), np.full((3, 8, 8, 3), 255, np.uint8)
    >>> find_cuts(np.concatenate([black, white]))
    [4]
    """
    if len(thumbnails) < 2:
        return []
    changes = _differences(thumbnails[1:], thumbnails[:-1])
    cuts = []
    for number in np.flatnonzero(changes >= LEAST_CHANGE):
        around = np.delete(
            changes[max(0, number - NEIGHBOURHOOD) : number + NEIGHBOURHOOD + 1], min(number, NEIGHBOURHOOD)
        )
        motion = float(np.median(around)) if len(around) else 0.0
        lasting = min(_across(thumbnails, number - 1), _across(thumbnails, number))
        if changes[number] >= TIMES_THE_MOTION * motion and lasting >= LEAST_CHANGE:
            cuts.append(int(number) + 1)
    return cuts


def _across(thumbnails: np.ndarray, first: int) -> float:
    """Return how much a frame differs from the second one after it, the video's ends standing still."""
    one, other = thumbnails[max(0, first)], thumbnails[min(first + 2, len(thumbnails) - 1)]
    return float(_differences(other[None], one[None])[0])


def _differences(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.abs(one.astype(np.int16) - other).mean(axis=(1, 2, 3))
