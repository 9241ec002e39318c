"""Frames from image files, and the source that reads the frames of a data set."""

import struct
import warnings
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, overload

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from tcam_cache.config import DataConfig
from tcam_cache.datasets.manifest import Manifest, is_upright
from tcam_cache.datasets.manifest_file import read_manifest
from tcam_cache.datasets.picture_files import (
    as_rgb,
    file_and_frame,
    opened,
    require_whole,
    resampling,
)
from tcam_cache.datasets.video import VideoFrames
from tcam_cache.errors import FrameError
from tcam_cache.records import Frame, FrameSource, Shot

_HEADER_READERS = 16
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ON_ITS_SIDE = (5, 6, 7, 8)
# Keys of a PNG header that can hold an orientation; Pillow's full search would decode the pixels.
_PNG_TAGS = {"exif", "Raw profile type exif", "XML:com.adobe.xmp"}


def squashed(frame: np.ndarray, size: int, interpolation: str = "bilinear") -> np.ndarray:
    """Return an (H, W, 3) uint8 frame squashed to (size, size, 3), as every `FrameSource` does."""
    return np.array(Image.fromarray(frame).resize((size, size), resampling(interpolation)))


@dataclass(frozen=True)
class ImageFrames:
    """Reads a shot's frames from image files below a root; a `FrameSource`.

    Greyscale, palette, CMYK and 16-bit images become RGB uint8, see `picture_files.as_rgb`.

    Attributes:
        root: the data set's folder.
        upright: turn and mirror images as their EXIF orientation says, which is how they are shown; else
            pixels are as stored.
        depth: bits that data of more than 8 bits use, see `picture_files.data_depth`; None for each
            frame's own.
        interpolation: how frames are squashed, see `resampling`.
    """

    root: Path
    upright: bool = True
    depth: int | None = None
    interpolation: str = "bilinear"

    def files(self, shot: Shot) -> tuple[Path, ...]:
        """Return the files that a shot's frames are read from, one per frame except for animated images."""
        files = dict.fromkeys(file_and_frame(name)[0] for name in shot.frames)
        return tuple(self.root / shot.folder / name for name in files)

    def read(self, shot: Shot, t: int, size: int | None = None) -> Frame:
        """Decode frame t of a shot; with `size`, squash it to size x size (antialiased).

        Raises:
            FrameError: the frame is missing, empty, truncated or not an image.
        """
        with warnings.catch_warnings(action="ignore"), open_image(self.root, shot.path(t)) as image:
            rgb = as_rgb(turned(image) if self.upright else image, self.depth)
            width, height = rgb.size
            if size is not None:
                rgb = rgb.resize((size, size), resampling(self.interpolation))
            return Frame(np.array(rgb), width, height)


def image_sizes(
    root: Path | str, names: Iterable[str], upright: bool = False
) -> dict[str, tuple[int, int] | FrameError]:
    """Return each image's (width, height), upright or as stored, or the error from reading its header."""

    def size_or_error(name: str) -> tuple[int, int] | FrameError:
        """Return the size in one image's header, or the error."""
        try:
            with open_image(root, name) as image:
                return shown_size(image, upright)
        except FrameError as error:
            return error

    names = list(names)
    # Warning filters are global to the process: set once here, not concurrently in the threads.
    with warnings.catch_warnings(action="ignore"), ThreadPoolExecutor(_HEADER_READERS) as pool:
        return dict(zip(names, pool.map(size_or_error, names), strict=True))


@contextmanager
def open_image(root: Path | str, name: str) -> Iterator[Image.Image]:
    """Open the image `root/name`; frames of animated images are named by `picture_files.frame_names`.

    Any exception, also while decoding, becomes a `FrameError` that names the image.
    """
    path, number = Path(root) / name, 0
    if "#" in name and not path.exists():
        file, number = file_and_frame(name)
        path = Path(root) / file
    try:
        with opened(path) as image:
            require_whole(path, image)
            if number:
                image.seek(number)
            yield image
    # For a damaged file decoders raise nearly any built-in exception.
    except Exception as error:
        reason = _reason(path, error)
        raise FrameError(
            "1 frame cannot be read. Replace it, or leave it out and index the data set again.",
            [f"{name}: {reason}"],
        ) from error


def turned(image: Image.Image) -> Image.Image:
    """Return an image turned by its EXIF orientation; without one, unchanged."""
    turn = _TURNS.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def shown_size(image: Image.Image, upright: bool) -> tuple[int, int]:
    """Return an image's (width, height), upright or as stored."""
    width, height = image.size
    return (height, width) if upright and _orientation(image) in _ON_ITS_SIDE else (width, height)


def _orientation(image: Image.Image) -> int:
    # Pillow applies the orientation of TIFF itself.
    if image.format == "TIFF" or (image.format == "PNG" and not _PNG_TAGS & image.info.keys()):
        return 1
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    # An unreadable tag is ignored: the pixels may be valid.
    except (SyntaxError, TypeError, ValueError, KeyError, struct.error):
        return 1


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "missing"
    if not isinstance(error, OSError) or error.errno is None:
        if path.stat().st_size == 0:
            return "empty file"
        if isinstance(error, UnidentifiedImageError):
            return "not an image"
        if isinstance(error, Image.DecompressionBombError):
            return "too large to be a frame"
        if "truncated" in str(error).lower():
            return "truncated"
        if isinstance(error, EOFError):
            return "no such frame in it"
        return f"damaged ({error})"
    return f"cannot be opened ({error.strerror})"


class Indexed(Protocol):
    """An indexed data set: a manifest, or a scan."""

    @property
    def root(self) -> Path:
        """The data set's folder."""
        ...

    @property
    def layout(self) -> str:
        """How it lies there."""
        ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """The other entries of its header."""
        ...


ClipSource = VideoFrames | ImageFrames


def frame_source(data: Indexed, interpolation: str = "bilinear") -> ClipSource:
    """Return the source of a data set's frames, by the layout and orientation in its header.

    Args:
        data: a manifest or a scan.
        interpolation: how frames are squashed, see `resampling`.
    """
    upright = is_upright(data.facts)
    if data.layout == "videos":
        return VideoFrames(data.root, upright, "times" not in data.facts, interpolation)
    return ImageFrames(data.root, upright, data.facts.get("depth", 16), interpolation)


@overload
def squashing(source: ClipSource, interpolation: str) -> ClipSource: ...
@overload
def squashing(source: FrameSource, interpolation: str) -> FrameSource: ...
def squashing(source: FrameSource, interpolation: str) -> FrameSource:
    """Return the same frames squashed by an interpolation, see `resampling`; other kinds of source stay."""
    if isinstance(source, VideoFrames):
        return VideoFrames(source.root, source.upright, source.absolute, interpolation)
    if isinstance(source, ImageFrames):
        return replace(source, interpolation=interpolation)
    return source


def rooted(source: ClipSource, root: Path) -> ClipSource:
    """Return the same source, whose paths start from another root."""
    if isinstance(source, VideoFrames):
        return VideoFrames(root, source.upright, source.absolute, source.interpolation)
    return replace(source, root=root)


def open_data(config: DataConfig, interpolation: str = "bilinear") -> tuple[Manifest, FrameSource]:
    """Read the manifest and return it with the source of its frames, squashed as the backbone wants them."""
    manifest = read_manifest(config.manifest, config.root)
    return manifest, frame_source(manifest, interpolation)
