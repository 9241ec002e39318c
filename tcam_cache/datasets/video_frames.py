"""Frames out of video files, at random: a `FrameSource` like `ImageFrames`, by time and nearest keyframe."""

import os
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tcam_cache.errors import ExtraError, FrameError
from tcam_cache.extras import optional
from tcam_cache.records import Frame, Shot

SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")
# Files that one process keeps open, and how far ahead it decodes on rather than look for a keyframe.
_OPEN_FILES = 4
_NEAR_MS = 1000
_LEFT_TO_THE_PARENT: list[Any] = []


class VideoFrames:
    """Reads a shot's frames out of the video file that its `folder` names; a `FrameSource`.

    A frame's name is its time from the start of the file, `time_name`. Files are opened when a frame of them
    is asked for, by each process for itself; a copy in another process starts with none. Frames are as
    stored, a rotation in the file's header is ignored, just as with images.

    Attributes:
        root: the folder that the files' paths are relative to.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self._open: OrderedDict[str, _Reader] = OrderedDict()
        self._process = os.getpid()

    def read(self, shot: Shot, t: int, size: int | None = None) -> Frame:
        """Decode frame t of a shot; with `size`, squash it to size x size (bilinear, antialiased).

        Raises:
            FrameError: the file is missing or damaged, or has no frame at that time.
            ExtraError: PyAV is not installed.
        """
        with video_errors(self.root, shot.folder, shot.path(t)):
            picture = self._reader(shot.folder).at(time_of(shot.frames[t])).to_image()
        width, height = picture.size
        if size is not None:
            picture = picture.resize((size, size), Image.Resampling.BILINEAR)
        return Frame(np.array(picture), width, height)

    def files(self, shot: Shot) -> tuple[Path, ...]:
        """Return the one file that a shot's frames are read from."""
        return (self.root / shot.folder,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VideoFrames) and self.root == other.root

    def __hash__(self) -> int:
        return hash(self.root)

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["root"])

    def _reader(self, folder: str) -> "_Reader":
        if self._process != os.getpid():
            # After a fork the open files are shared with the parent: seeking in them would move its place,
            # and freeing them would wait for threads that stayed there.
            _LEFT_TO_THE_PARENT.append(self._open)
            self.__init__(self.root)
        if folder not in self._open:
            self._open[folder] = _Reader(self.root / folder)
            if len(self._open) > _OPEN_FILES:
                _, oldest = self._open.popitem(last=False)
                oldest.close()
        self._open.move_to_end(folder)
        return self._open[folder]


def time_name(milliseconds: int) -> str:
    """Return the name of the frame at a time: sortable, without a dot that would look like a suffix.

    >>> time_name(1240)
    '00001240ms'
    """
    return f"{milliseconds:08d}ms"


def time_of(name: str) -> int:
    """Return the time in milliseconds that a frame's name holds, or raise a `ValueError`."""
    if not (name.endswith("ms") and name[:-2].isdecimal()):
        raise ValueError(f"{name!r} is no time such as {time_name(1240)}")
    return int(name[:-2])


def is_video(path: Path) -> bool:
    """Return whether a path names a file that ends as a video does.

    >>> is_video(Path("clip.MP4")), is_video(Path("folder"))
    (True, False)
    """
    return path.suffix.lower() in SUFFIXES and not path.is_dir()


def frame_times(path: Path) -> tuple[str, ...]:
    """Return the names of a video's frames, in order; all of them are decoded once.

    Raises:
        FrameError: the file is missing or damaged, or the times of its frames are.
        ExtraError: PyAV is not installed.
    """
    with video_errors(path.parent, path.name, path.name):
        return tuple(time_name(time) for time, _ in decoded_frames(path))


def decoded_frames(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield (time in milliseconds, PyAV's frame) of a whole file; errors are the caller's.

    Frames less than a millisecond apart would have one name: the first stands for all.
    """
    container, stream = open_video(path)
    last = -1
    try:
        for frame in container.decode(stream):
            time = frame_ms(frame)
            if time < last:
                raise ValueError("the times of its frames run backwards; write it anew, for example as MP4")
            if time > last:
                yield time, frame
            last = time
    finally:
        container.close()


def open_video(path: Path) -> tuple[Any, Any]:
    """Open a video file with PyAV and return (container, its first video stream); errors are the caller's.

    One thread decodes: processes share the work, and threads would not outlive a fork.
    """
    container = optional("av", "video").open(str(path))
    if not container.streams.video:
        container.close()
        raise ValueError("no picture in it")
    stream = container.streams.video[0]
    stream.codec_context.thread_count = 1
    return container, stream


def frame_ms(frame: Any) -> int:
    """Return a decoded frame's time in milliseconds, or raise a `ValueError` where the file has none."""
    if frame.time is None:
        raise ValueError("its frames have no times; write it anew, for example as MP4")
    return round(1000 * frame.time)


@contextmanager
def video_errors(root: Path | str, file: str, name: str) -> Iterator[None]:
    """Turn whatever goes wrong with a video file into a `FrameError` that names the frame, or the file.

    That PyAV is not installed is no fault of the file: that `ExtraError` passes.
    """
    try:
        yield
    except ExtraError:
        raise
    # Decoders of damaged files raise nearly every built-in exception; each means the same to us.
    except Exception as error:
        raise FrameError(
            "a video cannot be read. Replace it, or leave it out and index the data set again.",
            [f"{name}: {_reason(Path(root) / file, error)}"],
        ) from error


class _Reader:
    """One open file and the place in it."""

    def __init__(self, path: Path) -> None:
        self._container, self._stream = open_video(path)
        self._start()

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def at(self, milliseconds: int) -> Any:
        """Return the frame at a time: decode on when it is near ahead, else from the keyframe before it."""
        if self._last is not None and frame_ms(self._last) == milliseconds:
            return self._last
        ahead = milliseconds - (frame_ms(self._last) if self._last is not None else milliseconds)
        tries = [self._before, self._first]
        if 0 < ahead <= _NEAR_MS:
            tries.insert(0, lambda _: None)
        for move in tries:
            move(milliseconds)
            found = self._decode_to(milliseconds)
            if found is not None:
                return found
        raise ValueError("no frame at this time")

    def _decode_to(self, milliseconds: int) -> Any:
        for frame in self._frames:
            self._last = frame
            if frame_ms(frame) >= milliseconds:
                return frame if frame_ms(frame) == milliseconds else None
        return None

    def _before(self, milliseconds: int) -> None:
        # Half a millisecond on: names are rounded, and the keyframe may be the frame itself.
        offset = int((milliseconds + 0.5) / 1000 / self._stream.time_base)
        self._container.seek(offset, stream=self._stream, backward=True)
        self._start()

    def _first(self, _: int) -> None:
        self._container.seek(0, stream=self._stream, backward=True)
        self._start()

    def _start(self) -> None:
        self._last = None
        self._frames = self._container.decode(self._stream)


def _reason(path: Path, error: Exception) -> str:
    if not path.exists():
        return "missing"
    if path.stat().st_size == 0:
        return "empty file"
    return f"cannot be decoded ({getattr(error, 'strerror', None) or error})"
