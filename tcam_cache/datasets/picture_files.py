"""Image files as read by Pillow: suffixes, the frames of animated images, conversion of any mode to RGB."""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import cast

import numpy as np
from PIL import Image, ImageSequence
from PIL.TiffImagePlugin import TiffImageFile

# Registered with Pillow, but documents, videos, data, or drawings that another program must render.
_NO_PICTURES = {
    "PDF", "EPS", "MPEG", "HDF5", "GRIB", "BUFR", "FITS", "WMF", "CUR", "FPX", "MIC", "WAL", "GBR", "IPTC",
}  # fmt: skip
# Formats in which further images are the next frames, not other sizes, layers or views.
_MOVING = {"GIF", "WEBP", "PNG", "AVIF", "TIFF", "FLI", "DCX", "IM", "SPIDER"}
_MOVING_SUFFIXES = (
    ".gif", ".webp", ".png", ".apng", ".avif", ".avifs", ".tif", ".tiff", ".fli", ".flc", ".dcx", ".im",
)  # fmt: skip
_FRAME_OF = re.compile(r"(.+)#(\d{6})")
_STILL_MS = 100
# The last bytes of formats whose decoders fill in a missing end; of a WebP only zeros can be detected.
_ENDS = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "GIF": b";", "WEBP": b"\0\0"}
_ZEROS = 64
# Depths of cameras and microscopes that store their values in 16 bits.
_DEPTHS = (8, 10, 12, 14, 16)
# Number of frames that are decoded to find the depth of a data set.
_LOOKED_AT = 32
_DEEP = "stored with 16 bits a channel"


@cache
def picture_suffixes() -> tuple[str, ...]:
    """Return the suffixes of image files that Pillow opens, in lower case."""
    known = Image.registered_extensions().items()
    return tuple(sorted(end for end, kind in known if kind in Image.OPEN and kind not in _NO_PICTURES))


def is_picture(name: str) -> bool:
    """Return whether a name has the suffix of an image.

    >>> [is_picture(name) for name in ("a.JPG", "a.webp", "a.bmp", "a.jfif", "a.pdf")]
    [True, True, True, True, False]
    """
    return name.lower().endswith(picture_suffixes())


def frame_count(path: Path) -> int:
    """Return the number of frames of an image file: 1 if it is not animated or cannot be read."""
    if not path.name.lower().endswith(_MOVING_SUFFIXES) or not _may_move(path):
        return 1
    try:
        with Image.open(path) as image:
            return getattr(image, "n_frames", 1) if image.format in _MOVING else 1
    # The error is reported when the frame is read.
    except Exception:
        return 1


def frame_names(folder: Path, names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of the frames in image files: the file's name, or "clip.gif#000000" and so on."""
    return tuple(frame for name in names for frame in _frames_of(folder, name))


def file_and_frame(name: str) -> tuple[str, int]:
    """Return the file of a frame's name, and the frame's index in it.

    >>> file_and_frame("cat/clip.gif#000012"), file_and_frame("cat/a.jpg")
    (('cat/clip.gif', 12), ('cat/a.jpg', 0))
    """
    match = _FRAME_OF.fullmatch(name)
    return (match[1], int(match[2])) if match else (name, 0)


def opened(path: Path) -> Image.Image:
    """Open an image file, with a mark in its `info` if colours have 16 bits; see `as_rgb`."""
    image = Image.open(path)
    if image.format == "TIFF":
        tags = cast(TiffImageFile, image).tag_v2
        deep = image.mode in ("RGB", "RGBA", "LA") and 16 in tags.get(258, ())
    else:
        # Only known before the image is loaded.
        deep = image.mode in ("RGB", "RGBA", "LA") and any("16" in str(tile[3]) for tile in image.tile)
    image.info[_DEEP] = deep
    return image


class AnimatedPicture:
    """The frames of an animated image, with the interface of `VideoFile`; times from its frame durations."""

    seekable = False

    def __init__(self, path: Path) -> None:
        self.path = path

    def in_order(self) -> Iterator[tuple[int, Image.Image]]:
        """Yield (time in milliseconds, RGB image) of all frames, composed as a viewer shows them."""
        time = 0
        with Image.open(self.path) as image:
            require_whole(self.path, image)
            for frame in ImageSequence.Iterator(image):
                yield time, as_rgb(frame)
                time += max(1, round(frame.info.get("duration") or _STILL_MS))

    def from_keyframe(self, time: int) -> Iterator[tuple[int, Image.Image]]:
        """Yield nothing: every frame depends on the frames before it."""
        return iter(())

    def close(self) -> None:
        """Do nothing: the file is open only while it is read."""


def as_rgb(image: Image.Image, depth: int | None = None) -> Image.Image:
    """Convert an image of any mode to RGB, 8 bits a channel; transparency is dropped.

    Floating-point grey from 0 to 1 is scaled by 255, larger values like whole numbers. Negative values are 0.

    Args:
        image: open or decoded.
        depth: bits that values of more than 8 bits use, see `data_depth`; None: those of this image.

    Raises:
        ValueError: a floating-point image has values that are not finite.
    """
    if image.mode == "F" or image.mode.startswith("I"):
        values = np.asarray(image).astype(np.float64)
        if not np.isfinite(values).all():
            raise ValueError("values that are not finite")
        top = 2.0 ** (depth or used_bits(image)) - 1
        if image.mode == "F" and values.max(initial=0) <= 255:
            top = 1.0 if values.max(initial=0) <= 1 else 255.0
        return Image.fromarray(np.rint(values.clip(0, top) * (255 / top)).astype(np.uint8)).convert("RGB")
    if not image.info.get(_DEEP, False) or (depth := depth or used_bits(image)) in (8, 16):
        return image.convert("RGB")
    # Pillow keeps the upper 8 of 16 bits, so only 4 bits of 12-bit data.
    upper = np.asarray(image.convert("RGB")).astype(np.float64)
    top = 2.0 ** (depth - 8) - 1
    return Image.fromarray(np.rint(upper.clip(0, top) * (255 / top)).astype(np.uint8))


def resampling(interpolation: str) -> Image.Resampling:
    """Return Pillow's filter for "bilinear", "bicubic", "lanczos" or "nearest"."""
    return Image.Resampling[interpolation.upper()]


def used_bits(image: Image.Image) -> int:
    """Return how many bits the values of an image use: 8, or 10, 12, 14 or 16 of 16 stored bits."""
    if image.mode == "F" or image.mode.startswith("I"):
        largest = float(np.asarray(image).max(initial=0))
    elif image.info.get(_DEEP, False):
        largest = 256 * float(np.asarray(image.convert("RGB")).max(initial=0))
    else:
        return 8
    return next((bits for bits in _DEPTHS if largest < 2**bits), 16)


def data_depth(root: Path, frames: Sequence[str]) -> int | None:
    """Return how many bits a data set of more than 8 bits uses, from a sample of frames; None for 8 bits.

    All frames share one depth: with a depth per frame, a video would flicker.

    Args:
        root: the data set's folder.
        frames: paths below it, in order; evenly spaced ones are decoded, and all that are looked at are deep.
    """
    depths: set[int] = set()
    chosen: list[int] = np.linspace(0, len(frames) - 1, min(_LOOKED_AT, len(frames)), dtype=int).tolist()
    for name in dict.fromkeys(file_and_frame(frames[at])[0] for at in chosen):
        try:
            with opened(root / name) as image:
                if image.mode == "F" or not (image.mode.startswith("I") or image.info.get(_DEEP, False)):
                    return None
                depths.add(used_bits(image))
        # The error is reported when the frame is read.
        except Exception:
            continue
    return max(depths, default=None)


def require_whole(path: Path, image: Image.Image) -> None:
    """Make sure that a file is not truncated in a way that its decoder does not notice.

    Raises:
        ValueError: it is.
    """
    if image.format not in _ENDS:
        return
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _ZEROS))
        end = file.read()
        # An interrupted copy often has the full length, filled with zeros.
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
    """Return whether a file can have several frames; for a PNG read from the chunks before the image data."""
    if not path.name.lower().endswith(".png"):
        return True
    try:
        with path.open("rb") as file:
            file.seek(8)
            while len(head := file.read(8)) == 8 and head[4:] != b"IDAT":
                if head[4:] == b"acTL":
                    return True
                file.seek(int.from_bytes(head[:4]) + 4, 1)
    except (OSError, ValueError, OverflowError):
        return False
    return False
