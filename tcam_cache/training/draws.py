"""What an epoch draws: random frames of shots, alone or as clips of consecutive ones, and their crops."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch


class Draw(NamedTuple):
    """One frame an epoch draws.

    Attributes:
        shot: position of the shot in the list that is trained on.
        t: position of the frame in that shot.
        seed: of everything random about this frame alone (pseudo-labels), so that neither the batch it falls
            into nor the worker that loads it changes it.
        clip: seed of what the frames of its clip share (crop and flip): that of the clip's first frame, and
            therefore a frame's own where it stands alone.
    """

    shot: int
    t: int
    seed: int
    clip: int


@dataclass(frozen=True)
class Crop:
    """A square crop of side `size` at row `y`, column `x`, mirrored left to right when `flip`."""

    y: int
    x: int
    size: int
    flip: bool

    def of(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the crop of a (..., H, W) tensor."""
        cut = pixels[..., self.y : self.y + self.size, self.x : self.x + self.size]
        return cut.flip(-1) if self.flip else cut


def draw_epoch(
    lengths: Sequence[int], frames_per_shot: int, seed: int, epoch: int, together: int = 1
) -> list[list[Draw]]:
    """Draw an epoch: random frames of every shot, without repeats, in random order (paper, Sec. 4.1).

    With `together` > 1 clips of so many consecutive frames are drawn instead, and their order is random. They
    do not overlap where the shot has room for them, and never start at the same frame.

    Args:
        lengths: number of frames of each shot.
        frames_per_shot: frames to draw of each (all of a shorter shot), rounded up to whole clips; 1 in the
            paper.
        seed: of the run.
        epoch: counted from 0; the draws depend on seed and epoch alone.
        together: frames of a clip; a shorter shot is one clip as a whole.

    Returns:
        The clips, each with its frames in time order; of one frame each in the paper.

    >>> draw_epoch([1], 3, seed=0, epoch=0)[0][0][:2]
    (0, 0)
    >>> [draw.t for draw in draw_epoch([3], 1, seed=0, epoch=0, together=4)[0]]
    [0, 1, 2]
    """
    rng = np.random.default_rng([seed, epoch])
    chosen = [
        (shot, times)
        for shot, length in enumerate(lengths)
        for times in _draw_times(rng, length, frames_per_shot, together)
    ]
    seeds = iter(rng.integers(2**63, size=sum(len(times) for _, times in chosen)).tolist())
    clips = []
    for shot, times in chosen:
        own = [next(seeds) for _ in times]
        clips.append([Draw(shot, t, one, own[0]) for t, one in zip(times, own, strict=True)])
    return [clips[place] for place in rng.permutation(len(clips))]


def clips_of_shot(length: int, frames_per_shot: int, together: int) -> int:
    """Return how many clips an epoch draws of a shot: enough for its frames that are asked for.

    >>> clips_of_shot(9, 1, 1), clips_of_shot(9, 5, 4), clips_of_shot(9, 20, 4), clips_of_shot(3, 20, 4)
    (1, 2, 3, 1)
    """
    return -(-min(frames_per_shot, length) // together)


def draw_crop(seed: int, resize_size: int, size: int) -> Crop:
    """Draw the random crop and flip of one clip: any position, mirrored half of the time."""
    rng = np.random.default_rng([seed, 0])
    y, x = rng.integers(resize_size - size + 1, size=2)
    return Crop(int(y), int(x), size, bool(rng.random() < 0.5))


def _draw_times(rng: np.random.Generator, length: int, frames_per_shot: int, together: int) -> list[range]:
    number, size = clips_of_shot(length, frames_per_shot, together), min(together, length)
    # Starts are drawn as if every clip were one frame; the others' frames then push them apart. All ways to
    # lie side by side are so equally likely. Where there is no room for that, clips may overlap.
    push = size - 1 if number * size <= length else 0
    starts = rng.choice(length - size + 1 - push * (number - 1), size=number, replace=False)
    starts = starts + push * starts.argsort().argsort()
    return [range(start, start + size) for start in starts.tolist()]
