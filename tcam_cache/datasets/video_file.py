"""An open video file: its video stream, its times, and its frames in order or from a reliable keyframe."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, dropwhile, islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tcam_cache.errors import ExtraError, FrameError
from tcam_cache.extras import optional

SUFFIXES = (
    ".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".mpe", ".m1v", ".m2v", ".mpv", ".vob",
    ".ts", ".m2ts", ".mts", ".m2t", ".tod", ".mod", ".wmv", ".asf", ".flv", ".f4v", ".ogv", ".ogg", ".ogm",
    ".3gp", ".3g2", ".qt", ".mxf", ".dv", ".divx", ".y4m", ".mjpeg", ".mjpg", ".h264", ".264", ".avc",
    ".h265", ".265", ".hevc", ".ivf", ".obu", ".nut", ".rm", ".rmvb", ".wtv",
)  # fmt: skip
# Containers with a time in every packet, so that the position after a seek is known.
_EXACT = ("mov", "matroska")
# FFmpeg's flag of raw streams: the times of their packets are invented.
_NO_TIMES = 0x80
_ATTEMPTS = 4
# FFmpeg's constants for colour spaces and ranges of frames, and the converter's for the former.
_RGB_SPACE, _FULL, _LIMITED = 0, 2, 1
_BT601, _KNOWN_SPACES = 5, {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}


class Damaged(ValueError):
    """A video file is truncated or damaged."""


class VideoFile:
    """An open video file; times count from the first displayed frame.

    Seeking is reliable only in some containers, so it is used only in Matroska and MP4; others are demuxed
    from the start, and decoded from the last keyframe before the frame. Decoding must begin exactly
    at that keyframe, and frames displayed before it but stored after it are left out: they may depend on
    frames that were not decoded. If that is not possible, the file is decoded from its start.

    Attributes:
        path: the file.
        absolute: count times from the container's zero, as manifests of earlier versions do.
        container: PyAV's open container.
        stream: its video stream.
        seekable: whether frames can be decoded from a keyframe other than the first, as far as is known.
    """

    def __init__(self, path: Path, absolute: bool = False) -> None:
        self.path, self.absolute, self.seekable = path, absolute, True
        self._first: int | None = None
        self._keys: list[tuple[int, int]] | None = None
        self.container, self.stream = open_video(path)

    def close(self) -> None:
        """Close the file."""
        self.container.close()

    def in_order(self) -> Iterator[tuple[int, Any]]:
        """Yield (time in milliseconds, PyAV's frame) of the whole file.

        Of frames with the same time in milliseconds only the first is yielded: their names would be equal.
        """
        packets = dropwhile(lambda packet: not packet.is_keyframe, self._packets())
        last = -1
        for number, frame in enumerate(sound_frames(packets)):
            if self._first is None:
                self._first = 0 if self.absolute else frame.pts
            time = self._count(number) if self._untimed() else self._ms(frame.pts, frame.time_base)
            if time < last:
                raise ValueError("the times of its frames run backwards; write it anew, for example as MP4")
            if time > last:
                yield time, frame
            last = time

    def from_keyframe(self, time: int) -> Iterator[tuple[int, Any]]:
        """Yield (time, frame) starting at a keyframe at or before a time; nothing if none is reliable."""
        if self._first is None:
            next(self.in_order(), None)
        packets = self._sought(time) if self._is_exact() else self._skipped(time)
        key = next(packets, None)
        if key is None:
            return
        # Leading pictures depend on frames before the keyframe.
        after = (packet for packet in packets if packet.pts is None or packet.pts > key.pts)
        last = -1
        for frame in sound_frames(chain([key], after)):
            if last < 0 and not (frame.key_frame and frame.pts == key.pts):
                self.seekable = self._is_exact()
                return
            frame_time = self._ms(frame.pts, frame.time_base)
            if frame_time > last:
                yield frame_time, frame
            last = max(frame_time, last)

    def _packets(self) -> Iterator[Any]:
        # Reopened: in some containers seeking to the start ends at another position.
        self.container.close()
        self.container, self.stream = open_video(self.path)
        return self.container.demux(self.stream)

    def _sought(self, time: int) -> Iterator[Any]:
        if self._first is None:
            return iter(())
        # Half a millisecond on: names are rounded, and the keyframe may be the frame itself.
        offset = self._first + int((time + 0.5) / 1000 / self.stream.time_base)
        for _ in range(_ATTEMPTS):
            self.container.seek(offset, stream=self.stream, backward=True)
            packets = self.container.demux(self.stream)
            key = next(packets)
            if key.pts is None:
                break
            if key.is_keyframe and self._ms(key.pts, key.time_base) <= time:
                return chain([key], packets)
            offset = min(key.pts, key.pts if key.dts is None else key.dts) - 1
        return iter(())

    def _skipped(self, time: int) -> Iterator[Any]:
        if self._keys is None:
            self._keys = self._key_places()
            self.seekable = bool(self._keys)
        places = [place for place, at in self._keys if at <= time]
        return islice(self._packets(), places[-1], None) if places else iter(())

    def _key_places(self) -> list[tuple[int, int]]:
        """Return (packet number, time) of every keyframe; empty if times do not identify packets."""
        packets = [
            (packet.pts, packet.is_keyframe, packet.time_base) for packet in self._packets() if packet.size
        ]
        times = {pts for pts, _, _ in packets}
        if self._untimed() or None in times or len(times) < len(packets):
            return []
        return [(place, self._ms(pts, base)) for place, (pts, key, base) in enumerate(packets) if key]

    def _ms(self, pts: int | None, base: Any) -> int:
        if pts is None or self._first is None:
            raise ValueError("its frames have no times; write it anew, for example as MP4")
        return round(1000 * float((pts - self._first) * base))

    def _count(self, number: int) -> int:
        rate = self.stream.guessed_rate or self.stream.average_rate
        if not rate:
            raise ValueError("its frames have no times, nor a rate; write it anew, for example as MP4")
        return round(1000 * float(number / rate))

    def _untimed(self) -> bool:
        return bool(int(self.container.format.flags) & _NO_TIMES)

    def _is_exact(self) -> bool:
        return self.container.format.name.startswith(_EXACT)


def is_video(path: Path) -> bool:
    """Return whether a path is a file with the suffix of a video.

    >>> is_video(Path("clip.MP4")), is_video(Path("folder"))
    (True, False)
    """
    return path.suffix.lower() in SUFFIXES and not path.is_dir()


def open_video(path: Path) -> tuple[Any, Any]:
    """Open a video file with PyAV and return (container, video stream); exceptions are not converted.

    The stream is the one that a player shows: not a cover image, the default stream if the file marks one,
    else the largest. Decoding errors are raised, not concealed. One thread decodes: the work is divided among
    processes, and threads do not survive a fork.
    """
    av = optional("av", "video")
    container = av.open(str(path))
    marks = av.stream.Disposition
    streams = [video for video in container.streams.video if marks.attached_pic not in video.disposition]
    if not streams:
        container.close()
        raise ValueError("no moving picture in it")
    stream = max(streams, key=lambda s: (marks.default in s.disposition, s.width * s.height))
    stream.codec_context.thread_count = 1
    stream.codec_context.options = {"err_detect": "crccheck+explode"}
    return container, stream


def sound_frames(packets: Iterable[Any]) -> Iterator[Any]:
    """Decode packets of a stream from a keyframe on; a damaged packet or frame raises `Damaged`.

    Frames displayed before that keyframe are left out if they depend on frames before it.
    """
    key = None
    for packet in packets:
        key = packet.pts if key is None else key
        try:
            if packet.is_corrupt:
                raise Damaged(f"damaged or cut off{_place(packet)}")
            frames = _decoded(packet)
        except Damaged:
            if not _is_before(packet, key):
                raise
            continue
        for frame in frames:
            if not frame.is_corrupt:
                yield frame
            elif not _is_before(frame, key):
                raise Damaged(f"damaged{_place(frame)}")


def picture(frame: Any, upright: bool = True, side: int | None = None) -> np.ndarray:
    """Return a decoded frame as (H, W, 3) uint8 RGB; with `side`, the mean colours of side x side cells.

    `frame` is a frame of PyAV, or the RGB image of an animated image.

    Colours are converted by the colour space and range in the file, equally in all versions of PyAV; without
    them by BT.601 in limited range, as in FFmpeg and OpenCV. Non-square pixels stay as stored, as in OpenCV.
    `upright` turns and mirrors the frame by the file's display matrix.
    """
    if isinstance(frame, Image.Image):
        return np.array(frame if side is None else frame.resize((side, side), Image.Resampling.BOX))
    sized = {} if side is None else {"width": side, "height": side, "interpolation": "AREA"}
    space = int(frame.colorspace)
    if space != _RGB_SPACE and not frame.format.is_rgb:
        sized["src_colorspace"] = _KNOWN_SPACES.get(space, _BT601)
        sized["src_color_range"] = _FULL if _is_full_range(frame) else _LIMITED
        sized["dst_color_range"] = _FULL
    pixels = frame.reformat(format="rgb24", **sized).to_ndarray()
    return np.ascontiguousarray(_turned(pixels, _matrix(frame))) if upright else pixels


def shown_size(frame: Any, upright: bool) -> tuple[int, int]:
    """Return a decoded frame's (width, height), upright or as stored."""
    size = frame.width, frame.height
    if isinstance(frame, Image.Image):
        return size
    return size[::-1] if upright and _on_its_side(_matrix(frame)) else size


@contextmanager
def video_errors(root: Path | str, file: str, name: str) -> Iterator[None]:
    """Turn any exception of a video file into a `FrameError` that names the frame, or the file.

    The `ExtraError` of a missing PyAV passes unchanged.
    """
    try:
        yield
    except ExtraError:
        raise
    # For a damaged file decoders raise nearly any built-in exception.
    except Exception as error:
        raise FrameError(
            "a video cannot be read. Replace it, or leave it out and index the data set again.",
            [f"{name}: {_reason(Path(root) / file, error)}"],
        ) from error


def _matrix(frame: Any) -> tuple[float, float, float, float]:
    # The display matrix has rows a b u, c d v, x y w: a pixel at (x, y) is shown at (a x + c y, b x + d y).
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return 1.0, 0.0, 0.0, 1.0
    a, b, _, c, d = np.frombuffer(data, np.int32)[:5].tolist()
    return a, b, c, d


def _on_its_side(matrix: tuple[float, float, float, float]) -> bool:
    a, b, c, d = matrix
    return abs(b) + abs(c) > abs(a) + abs(d)


def _turned(pixels: np.ndarray, matrix: tuple[float, float, float, float]) -> np.ndarray:
    a, b, c, d = matrix
    if _on_its_side(matrix):
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    return pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


def _is_full_range(frame: Any) -> bool:
    name, code = frame.format.name, int(frame.color_range)
    return name.startswith("yuvj") or code == _FULL or (code != _LIMITED and name.startswith(("gray", "ya")))


def _decoded(packet: Any) -> list[Any]:
    try:
        return packet.decode()
    except Exception as error:
        raise Damaged(f"damaged{_place(packet)}: {getattr(error, 'strerror', None) or error}") from error


def _is_before(timed: Any, key: int | None) -> bool:
    return None not in (timed.pts, key) and timed.pts < key


def _place(timed: Any) -> str:
    return "" if timed.pts is None else f" at {float(timed.pts * timed.time_base):.2f} s of its own clock"


def _reason(path: Path, error: Exception) -> str:
    if not path.exists():
        return "missing"
    if path.stat().st_size == 0:
        return "empty file"
    if isinstance(error, Damaged):
        return str(error)
    return f"cannot be decoded ({getattr(error, 'strerror', None) or error})"
