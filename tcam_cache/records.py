"""The types that all rooms share: Box, Shot, Frame, and the Protocols of sources of frames and maps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike

SPLITS = ("train", "val", "test")


class Box(NamedTuple):
    """A box in pixels of the original frame as it is read (see `manifest --orientation`), right and bottom
    exclusive: width = x1 - x0.
    """

    x0: float
    y0: float
    x1: float
    y1: float


class Frame(NamedTuple):
    """A decoded frame.

    Attributes:
        pixels: (H, W, 3) uint8 RGB, in the requested size (original, or squashed to a square).
        width: of the original frame, in pixels.
        height: of the original frame, in pixels.
    """

    pixels: np.ndarray
    width: int
    height: int


@dataclass(frozen=True)
class Shot:
    """Consecutive frames of one video under one tag, in time order.

    Attributes:
        id: unique in the data set, such as "bird/0001/001".
        tag: the video's class tag, inherited by every frame.
        video: unique in the data set, such as "bird/0001"; a video has one tag and one split.
        split: "train", "val" or "test".
        folder: of the frames, relative to the data set's root, with "/" on every system.
        frames: file names in `folder`, in time order.
        boxes: true boxes by position in `frames`; a frame without annotation has no entry.
    """

    id: str
    tag: str
    video: str
    split: str
    folder: str
    frames: tuple[str, ...]
    boxes: Mapping[int, tuple[Box, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.frames)

    def path(self, t: int) -> str:
        """Return the path of frame t, relative to the data set's root."""
        return f"{self.folder}/{self.frames[t]}"

    def only(self, kept: Sequence[int]) -> "Shot":
        """Return a copy of the shot with only the frames at these positions, and their boxes.

        >>> Shot("a/1", "a", "a/1", "val", "a/1", ("1.jpg", "2.jpg", "3.jpg")).only([0, 2]).frames
        ('1.jpg', '3.jpg')
        """
        boxes = {new: self.boxes[t] for new, t in enumerate(kept) if t in self.boxes}
        return replace(self, frames=tuple(self.frames[t] for t in kept), boxes=boxes)


@dataclass(frozen=True)
class ShotCams:
    """The maps and logits of the frozen classifier for every frame of one shot.

    Attributes:
        cams: (T, h, w) float16, each normalised by its own minimum and maximum to [0, 1]; zeros where flat.
        raw_min: (T,) float32, minimum of each map before it was normalised.
        raw_max: (T,) float32, maximum of each map before it was normalised.
        flat: (T,) bool, true where a map was constant, so that it localises nothing.
        logits: (T, C) float32, one column per class in the classifier's order; (T, 0) without a classifier.
    """

    cams: np.ndarray
    raw_min: np.ndarray
    raw_max: np.ndarray
    flat: np.ndarray
    logits: np.ndarray


class FrameSource(Protocol):
    """Reads frames; small and picklable, so that worker processes can carry it."""

    def read(self, shot: Shot, t: int, size: int | None = None) -> Frame:
        """Decode frame t of a shot; with `size`, squash it to size x size (bilinear, antialiased).

        Raises:
            FrameError: the frame is missing, empty, truncated or not an image.
        """
        ...

    def files(self, shot: Shot) -> tuple[Path, ...]:
        """Return the files that a shot's frames are read from: one a frame, or the one video."""
        ...


class MapFunction(Protocol):
    """Makes maps of frames in a way of your own: what `build --maps MODULE:NAME` names.

    NAME is a function that is called like this, or a class whose objects are. A class is made once in each
    process, with the frozen classifier as its only argument: `classifier.mean.device` is the device to
    compute on, and `classifier(images)` gives logits of (B, 3, H, W) RGB images in [0, 1].

    A `version` (text or a number) of the function or the object takes the place of the hash of its source in
    the cache's fingerprint.
    """

    def __call__(self, frames: np.ndarray, tags: Sequence[str], /) -> ArrayLike:
        """Return (B, h, w) floating point maps, finite, in any range, higher where the object is.

        An array, or a tensor on any device; h and w are the same for all frames. Each map is then normalised
        by its own minimum and maximum; a constant one is stored as flat.

        Args:
            frames: (B, H, W, 3) uint8 RGB, consecutive frames of one shot, squashed to `--image-size`; B is
                at most `--batch-size`.
            tags: B names, one a frame, of the class whose map is wanted: the video's tag, or with
                `--target prediction` the predicted one.
        """
        ...


class CamSource(Protocol):
    """Reads cached CAMs of consecutive frames; picklable, so that worker processes can carry it."""

    def window(self, shot_id: str, t: int, n: int, mode: str = "before") -> np.ndarray:
        """Return the (m, h, w) float32 CAMs in [0, 1] of frame t and its neighbours, oldest first.

        Raises:
            CacheError: the shot is not in the cache, or not finished.
        """
        ...


class AttachmentSource(Protocol):
    """Reads the files that are attached to a cache.

    Attributes:
        path: of the cache, for messages.
    """

    path: Any

    def attachment(self, name: str) -> bytes:
        """Return the bytes of the file attached under a name.

        Raises:
            CacheError: there is no such file.
        """
        ...


def shots_of_split(shots: Sequence[Shot], split: str) -> tuple[Shot, ...]:
    """Return the shots of one split, or every shot for "all".

    >>> shots_of_split([Shot("a/1", "a", "a/1", "val", "a/1", ("1.jpg",))], "train")
    ()
    """
    return tuple(shot for shot in shots if split in ("all", shot.split))
