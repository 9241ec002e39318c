"""Boxes through time, of which labelling tools keep the key frames alone."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple


class KeyBox(NamedTuple):
    """A box at a key frame.

    Attributes:
        frame: its number, from 0.
        corners: x0, y0, x1, y1.
        shown: whether the object is there.
        lasts: whether it is there until the next key frame.
    """

    frame: int
    corners: Sequence[float]
    shown: bool = True
    lasts: bool = True


def boxes_through_time(
    keys: Iterable[KeyBox], end: int | None = None
) -> Iterator[tuple[int, Sequence[float]]]:
    """Yield (frame, corners) of every frame that shows the object, straight lines between key frames.

    Args:
        keys: of one object, in any order; of several at one frame the last counts.
        end: the number of frames of the video, up to which the last box lasts; None: it does not.

    >>> keys = [KeyBox(0, [0, 0, 4, 4]), KeyBox(2, [2, 0, 6, 4], lasts=False), KeyBox(4, [9, 9, 10, 10])]
    >>> [(frame, corners[0]) for frame, corners in boxes_through_time(keys, end=6)]
    [(0, 0), (1, 1.0), (2, 2), (4, 9), (5, 9.0)]
    """
    ordered = sorted({key.frame: key for key in keys}.values())
    for key, after in pairwise([*ordered, None]):
        if key is None or not key.shown:
            continue
        yield key.frame, key.corners
        # Up to a key frame without the object its box stands still.
        goal = after.corners if after and after.shown else key.corners
        stop = (after.frame if after else end or 0) if key.lasts else 0
        for frame in range(key.frame + 1, stop):
            share = (frame - key.frame) / (stop - key.frame)
            yield frame, [one + share * (other - one) for one, other in zip(key.corners, goal, strict=True)]
