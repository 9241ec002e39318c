"""The frames of one clip in time order, each decoded once: squashed for a network, and whole to draw on."""

from collections import Counter
from collections.abc import Container, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np

from tcam_cache.datasets.frames import ClipSource, ImageFrames, squashed
from tcam_cache.datasets.picture_files import frame_count
from tcam_cache.datasets.video import VideoFrames, decoded_frames, time_name
from tcam_cache.datasets.video_file import is_video, open_video, picture, video_errors
from tcam_cache.errors import FrameError, TcamCacheError
from tcam_cache.processes import in_threads
from tcam_cache.records import Shot


class ClipFrame(NamedTuple):
    """A decoded frame of a clip.

    Attributes:
        name: in its shot.
        number: in its video file, or among the pictures of its folder, from 0.
        squashed: (S, S, 3) uint8 RGB.
        width: of the original frame, in pixels.
        height: of the original frame, in pixels.
        pixels: (height, width, 3) uint8 RGB, or None where they are not needed.
    """

    name: str
    number: int
    squashed: np.ndarray
    width: int
    height: int
    pixels: np.ndarray | None


def clip_frames(
    source: ClipSource,
    shot: Shot,
    size: int,
    *,
    skip: Container[str] = (),
    whole: bool,
    threads: int,
    faults: list[str],
) -> Iterator[ClipFrame]:
    """Yield the readable frames of a clip in order; a video file is decoded once, from its start.

    Args:
        source: of the clip's frames.
        shot: its frames are wanted; without any, all frames of the video file that its `folder` names.
        size: side of the square that frames are squashed to.
        skip: names of frames that are left out.
        whole: keep the pixels of the original frame, too.
        threads: that decode pictures in advance; 0 for this thread alone.
        faults: what cannot be read is added to it, one text each. Of a damaged video the frames before the
            damage are yielded.

    Raises:
        ExtraError: PyAV is not installed.
    """
    if isinstance(source, VideoFrames):
        return _of_video(source, shot, size, skip, whole, faults)
    return _of_pictures(source, shot, size, skip, whole, threads, faults)


def frame_total(source: ClipSource, shot: Shot) -> int | None:
    """Return how many frames a clip has, as a video's header says; None where it does not."""
    path = source.root / shot.folder
    if shot.frames or not isinstance(source, VideoFrames):
        return len(shot)
    if not is_video(path):
        return frame_count(path)
    try:
        with video_errors(source.root, shot.folder, shot.folder):
            container, stream = open_video(path)
            with container:
                seconds = (container.duration or 0) / 1e6
                return stream.frames or round(seconds * float(stream.average_rate or 0)) or None
    # It is reported when the file is decoded.
    except TcamCacheError:
        return None


def _of_video(
    source: VideoFrames, shot: Shot, size: int, skip: Container[str], whole: bool, faults: list[str]
) -> Iterator[ClipFrame]:
    wanted, last = set(shot.frames), shot.frames[-1] if shot.frames else None
    everything = not wanted
    try:
        with video_errors(source.root, shot.folder, shot.folder):
            frames = decoded_frames(source.root / shot.folder, source.absolute)
            for number, (time, frame) in enumerate(frames):
                name = time_name(time)
                if (everything or name in wanted) and name not in skip:
                    pixels = picture(frame, source.upright)
                    yield _frame(name, number, pixels, size, source.interpolation, whole)
                wanted.discard(name)
                if name == last:
                    break
    except FrameError as error:
        faults += error.offenders or (error.message,)
        return
    faults += (f"{shot.folder}/{name}: no frame at this time" for name in sorted(wanted))


def _of_pictures(
    source: ImageFrames,
    shot: Shot,
    size: int,
    skip: Container[str],
    whole: bool,
    threads: int,
    faults: list[str],
) -> Iterator[ClipFrame]:
    numbers = Counter[str]()
    wanted: list[tuple[int, int]] = []
    for t, name in enumerate(shot.frames):
        folder = name.rpartition("/")[0]
        if name not in skip:
            wanted.append((t, numbers[folder]))
        numbers[folder] += 1
    read = partial(_picture_or_faults, source, shot, size, whole)
    for frame_or_faults in in_threads(read, wanted, threads, 2 * threads):
        if isinstance(frame_or_faults, ClipFrame):
            yield frame_or_faults
        else:
            faults += frame_or_faults


def _picture_or_faults(
    source: ImageFrames, shot: Shot, size: int, whole: bool, place: tuple[int, int]
) -> ClipFrame | tuple[str, ...]:
    t, number = place
    try:
        pixels = source.read(shot, t).pixels
    except FrameError as error:
        return error.offenders or (error.message,)
    return _frame(shot.frames[t], number, pixels, size, source.interpolation, whole)


def _frame(
    name: str, number: int, pixels: np.ndarray, size: int, interpolation: str, whole: bool
) -> ClipFrame:
    height, width = pixels.shape[:2]
    small = squashed(pixels, size, interpolation)
    return ClipFrame(name, number, small, width, height, pixels if whole else None)
