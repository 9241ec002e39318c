"""Picture files as Pillow reads them: which they are, the frames of one that moves, any mode as RGB."""

import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence

# Registered with Pillow, but documents, films, data, or drawings that another program must render.
_NO_PICTURES = {
    "PDF", "EPS", "MPEG", "HDF5", "GRIB", "BUFR", "FITS", "WMF", "CUR", "FPX", "MIC", "WAL", "GBR", "IPTC",
}  # fmt: skip
# Formats whose further images are the next frames, not other sizes, layers or views.
_MOVING = {"GIF", "WEBP", "PNG", "AVIF", "TIFF", "FLI", "DCX", "IM", "SPIDER"}
_MOVING_SUFFIXES = (
    ".gif", ".webp", ".png", ".apng", ".avif", ".avifs", ".tif", ".tiff", ".fli", ".flc", ".dcx", ".im",
)  # fmt: skip
_FRAME_OF = re.compile(r"(.+)#(\d{6})")
_STILL_MS = 100
# What files of a format end with, whose decoders make up the rest; nothing of a WebP tells, but many zeros.
_ENDS = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "GIF": b";", "WEBP": b"\0\0"}
_ZEROS = 64
# Depths of cameras and microscopes that store their values in 16 bits.
_DEPTHS = (8, 10, 12, 14, 16)


@cache
def picture_suffixes() -> tuple[str, ...]:
    """Return the endings of the files that Pillow opens as pictures, in lower case."""
    known = Image.registered_extensions().items()
    return tuple(sorted(end for end, kind in known if kind in Image.OPEN and kind not in _NO_PICTURES))


def is_picture(name: str) -> bool:
    """Return whether a name ends as a picture's does.

    >>> [is_picture(name) for name in ("a.JPG", "a.webp", "a.bmp", "a.jfif", "a.pdf")]
    [True, True, True, True, False]
    """
    return name.lower().endswith(picture_suffixes())


def frame_count(path: Path) -> int:
    """Return how many frames a picture file has: 1 unless it moves, or cannot be read."""
    if not path.name.lower().endswith(_MOVING_SUFFIXES) or not _may_move(path):
        return 1
    try:
        with Image.open(path) as image:
            return getattr(image, "n_frames", 1) if image.format in _MOVING else 1
    # What is wrong with it is said when it is read.
    except Exception:
        return 1


def frame_names(folder: Path, names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of the frames in picture files: a file's own, or "clip.gif#000000" and so on."""
    return tuple(frame for name in names for frame in _frames_of(folder, name))


def file_and_frame(name: str) -> tuple[str, int]:
    """Return the file that a frame's name stands for, and the frame's position in it.

    >>> file_and_frame("cat/clip.gif#000012"), file_and_frame("cat/a.jpg")
    (('cat/clip.gif', 12), ('cat/a.jpg', 0))
    """
    found = _FRAME_OF.fullmatch(name)
    return (found[1], int(found[2])) if found else (name, 0)


class AnimatedPicture:
    """The frames of a picture that moves, with the interface of `VideoFile`; times by its own durations."""

    seekable = False

    def __init__(self, path: Path) -> None:
        self.path = path

    def in_order(self) -> Iterator[tuple[int, Image.Image]]:
        """Yield (time in milliseconds, RGB image) of the whole file, each as a viewer composes it."""
        time = 0
        with Image.open(self.path) as image:
            require_whole(self.path, image)
            for frame in ImageSequence.Iterator(image):
                yield time, as_rgb(frame)
                time += max(1, round(frame.info.get("duration") or _STILL_MS))

    def from_keyframe(self, time: int) -> Iterator[tuple[int, Image.Image]]:
        """Yield nothing: every frame builds upon those before it."""
        return iter(())

    def close(self) -> None:
        """Do nothing: the file is open only while it is read."""


def as_rgb(image: Image.Image) -> Image.Image:
    """Convert an image of any mode to RGB, 8 bits a channel; transparency is dropped.

    Grey of more than 8 bits is scaled by the depth it uses, the smallest of 8, 10, 12, 14 and 16 bits that
    holds its largest value: 12-bit data in 16-bit files keep their contrast. Floating-point grey from 0 to 1
    is scaled by 255. Where PIL would clip, nothing is lost.

    Raises:
        ValueError: a floating-point image has values that are not finite.
    """
    if image.mode == "F" or image.mode.startswith("I"):
        values = np.asarray(image).astype(np.float64)
        if not np.isfinite(values).all():
            raise ValueError("values that are not finite")
        top = 1.0 if image.mode == "F" and values.max(initial=0) <= 1 else 2.0 ** used_bits(image) - 1
        return Image.fromarray(np.rint(values.clip(0, top) * (255 / top)).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")


def used_bits(image: Image.Image) -> int:
    """Return how many bits the values of a picture of one deep channel use; 8 for all others."""
    if image.mode != "F" and not image.mode.startswith("I"):
        return 8
    largest = float(np.asarray(image).max(initial=0))
    return next((bits for bits in _DEPTHS if largest < 2**bits), 32)


def require_whole(path: Path, image: Image.Image) -> None:
    """Make sure that a file does not end before its picture does, where its decoder would not notice.

    Raises:
        ValueError: it does.
    """
    if image.format not in _ENDS:
        return
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _ZEROS))
        end = file.read()
        # Copies that stopped are often as long as the whole, and zeros from there on.
        if end.endswith(b"\0\0"):
            file.seek(0)
            end = file.read().rstrip(b"\0") if image.format != "WEBP" or not any(end) else end
        elif image.format != "GIF":
            return
    if not end.endswith(_ENDS[image.format]):
        raise ValueError("truncated: its end is missing")


def _frames_of(folder: Path, name: str) -> list[str]:
    count = frame_count(folder / name)
    return [name] if count == 1 else [f"{name}#{number:06d}" for number in range(count)]


def _may_move(path: Path) -> bool:
    if not path.name.lower().endswith(".png"):
        return True
    try:
        with path.open("rb") as file:
            return b"acTL" in file.read(1024)
    except OSError:
        return False
