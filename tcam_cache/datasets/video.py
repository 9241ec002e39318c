"""Random access to the frames of video files by time, from the nearest keyframe: a `FrameSource`."""

import gc
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tcam_cache.datasets.picture_files import AnimatedPicture, frame_count, is_picture, resampling
from tcam_cache.datasets.video_damage import demuxer_errors, require_whole
from tcam_cache.datasets.video_file import VideoFile, is_video, picture, video_errors
from tcam_cache.records import Frame, Shot

# Files that one process keeps open, and how far ahead it decodes instead of seeking a keyframe.
_OPEN_FILES = 4
_NEAR_MS = 1000
_LEFT_TO_THE_PARENT: list[Any] = []
# PyAV's frames own FFmpeg threads, which a fork does not copy: freeing such a frame in the child would block.
# Freezing exempts all objects of the parent from the child's garbage collection.
os.register_at_fork(after_in_child=gc.freeze)


class VideoFrames:
    """Reads a shot's frames from the video file that its `folder` names; a `FrameSource`.

    A frame's name is its time from the first frame of the file, `time_name`. In any reading order and
    number of processes, a frame has the same pixels as when the file is decoded from its start. Each process
    opens files for itself on first use; a pickled copy has no open files.

    Attributes:
        root: the folder that the files' paths are relative to.
        upright: turn and mirror frames as the file's display matrix says; else pixels are as stored.
        absolute: names count from the container's zero, as in manifests that say nothing of it.
        interpolation: how frames are squashed, see `resampling`.
    """

    def __init__(
        self,
        root: Path | str,
        upright: bool = True,
        absolute: bool = False,
        interpolation: str = "bilinear",
    ) -> None:
        self.root, self.upright, self.absolute = Path(root), upright, absolute
        self.interpolation = interpolation
        self._open: OrderedDict[str, _Reader] = OrderedDict()
        self._process = os.getpid()

    def read(self, shot: Shot, t: int, size: int | None = None) -> Frame:
        """Decode frame t of a shot; with `size`, squash it to size x size (antialiased).

        Raises:
            FrameError: the file is missing or damaged, or has no frame at that time.
            ExtraError: PyAV is not installed.
        """
        with video_errors(self.root, shot.folder, shot.path(t)):
            pixels = picture(self._reader(shot.folder).at(time_of(shot.frames[t])), self.upright)
        height, width = pixels.shape[:2]
        if size is not None:
            squashed = Image.fromarray(pixels).resize((size, size), resampling(self.interpolation))
            pixels = np.array(squashed)
        return Frame(pixels, width, height)

    def files(self, shot: Shot) -> tuple[Path, ...]:
        """Return the one file that a shot's frames are read from."""
        return (self.root / shot.folder,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VideoFrames) and self.__getstate__() == other.__getstate__()

    def __hash__(self) -> int:
        return hash(self.root)

    def __getstate__(self) -> dict[str, Any]:
        names = ("root", "upright", "absolute", "interpolation")
        return {name: getattr(self, name) for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)

    def _reader(self, folder: str) -> "_Reader":
        if self._process != os.getpid():
            # After a fork the open files are shared with the parent: seeking would move its file position,
            # and closing would wait for threads that exist only in the parent.
            _LEFT_TO_THE_PARENT.append(self._open)
            self.__init__(**self.__getstate__())
        if folder not in self._open:
            self._open[folder] = _Reader(_opened(self.root / folder, self.absolute))
            if len(self._open) > _OPEN_FILES:
                _, oldest = self._open.popitem(last=False)
                oldest.file.close()
        self._open.move_to_end(folder)
        return self._open[folder]


def time_name(milliseconds: int) -> str:
    """Return the name of the frame at a time: sortable, without a dot, which would look like a suffix.

    >>> time_name(1240)
    '00001240ms'
    """
    return f"{milliseconds:08d}ms"


def time_of(name: str) -> int:
    """Return the time in milliseconds that a frame's name holds, or raise a `ValueError`."""
    if not (name.endswith("ms") and name[:-2].isdecimal()):
        raise ValueError(f"{name!r} is no time such as {time_name(1240)}")
    return int(name[:-2])


def frame_times(path: Path) -> tuple[str, ...]:
    """Return the names of a video's frames, in order; decodes the whole file.

    Raises:
        FrameError: the file is missing or damaged, or the times of its frames are.
        ExtraError: PyAV is not installed.
    """
    with video_errors(path.parent, path.name, path.name):
        return tuple(time_name(time) for time, _ in decoded_frames(path))


def decoded_frames(path: Path, absolute: bool = False) -> Iterator[tuple[int, Any]]:
    """Yield (time in milliseconds, PyAV's frame) of a whole file; exceptions are not converted."""
    file, times = _opened(path, absolute), []
    try:
        with demuxer_errors() as logged:
            for time, frame in file.in_order():
                times.append(time)
                yield time, frame
        if isinstance(file, VideoFile):
            require_whole(file, times, logged)
    finally:
        file.close()


def is_moving(path: Path) -> bool:
    """Return whether a path is a video file, or an animated image such as GIF or WebP."""
    return is_video(path) or (is_picture(path.name) and frame_count(path) > 1)


def _opened(path: Path, absolute: bool = False) -> "VideoFile | AnimatedPicture":
    return (
        AnimatedPicture(path) if is_picture(path.name) and not is_video(path) else VideoFile(path, absolute)
    )


_Way = Callable[[int], Iterator[tuple[int, Any]]]


class _Reader:
    """An open file, the iterator over its next frames, and the last frame read."""

    def __init__(self, file: "VideoFile | AnimatedPicture") -> None:
        self.file = file
        self._begin(iter(()))

    def at(self, time: int) -> Any:
        """Return the frame at a time: decode on if it is close ahead, else from the keyframe before it.

        If that fails, the file is decoded from its start: only that proves that a frame does not exist.
        """
        last, frame = self._last
        if last == time:
            return frame
        ways: list[_Way | None] = [self.file.from_keyframe] if self.file.seekable else []
        if last < time and (time - last <= _NEAR_MS or not self.file.seekable) and frame is not None:
            ways.insert(0, None)
        for way in ways:
            try:
                frame_at_time = self._decode_to(time, way and way(time))
            # The keyframe was not usable; the file itself may be valid.
            except Exception:
                frame_at_time = None
            if frame_at_time is not None:
                return frame_at_time
        frame_at_time = self._decode_to(time, self.file.in_order())
        if frame_at_time is None:
            raise ValueError("no frame at this time")
        return frame_at_time

    def _decode_to(self, time: int, frames: Iterator[tuple[int, Any]] | None) -> Any:
        if frames is not None:
            self._begin(frames)
        for frame_time, frame in self._frames:
            self._last = frame_time, frame
            if frame_time >= time:
                return frame if frame_time == time else None
        return None

    def _begin(self, frames: Iterator[tuple[int, Any]]) -> None:
        self._frames, self._last = frames, (-1, None)
