"""A video file again, with what was found drawn into its frames and its sound kept."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from tcam_cache.datasets.boxes_table import FoundBox
from tcam_cache.datasets.video_file import is_video, open_video
from tcam_cache.evaluation.report.pictures import (
    CODECS,
    INK,
    PAPER,
    PREDICTED_COLOUR,
    QUALITY,
    draw_boxes,
    overlay_cam,
    scale,
    text_font,
)
from tcam_cache.extras import optional
from tcam_cache.files import atomic_file

# A map that leaves the object visible.
MAP_OPACITY = 0.4
# The height of letters as a share of the frame's height, and the least in pixels.
_LETTERS, _LEAST = 0.04, 12
_MS = Fraction(1, 1000)

logger = logging.getLogger(__name__)


def drawn(pixels: np.ndarray, row: FoundBox, scores: np.ndarray | None = None) -> np.ndarray:
    """Return a frame with its box, tag and presence, over a light heat map where one is given.

    Where the object is not there, tag and presence stand in the upper left corner, on a dark plate.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        row: the box, in pixels of the frame, and its presence where that is known.
        scores: (h, w) float32 in [0, 1], or None.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    if scores is not None:
        pixels = overlay_cam(pixels, scores, MAP_OPACITY)
    text = row.tag if row.presence is None else f"{row.tag} {row.presence:.2f}"
    if row.box is not None:
        return _with_text(draw_boxes(pixels, [row.box]), text, row.box.x0, row.box.y0, PREDICTED_COLOUR)
    return pixels if row.presence is None else _with_text(pixels, text, 0, 0, INK)


def write_video(path: Path, clip: Path, frames: Iterable[tuple[int, np.ndarray]], rate: float) -> None:
    """Write an MP4 of drawn frames at the times of a video file, with that file's sound, atomically.

    One frame at a time is in memory. Sound that MP4 has no place for is left out, with a warning. An odd side
    loses its last row or column of pixels; frames of another size are scaled to the first one's.

    Args:
        path: of the MP4.
        clip: the video file whose sound is kept.
        frames: (time in milliseconds from the first frame, (H, W, 3) uint8 RGB), in order; at least one.
        rate: about how many frames a second.

    Raises:
        ExtraError: PyAV is not installed.
        StorageError: the file system refuses the write.
    """
    av = optional("av", "video")
    codec = next(name for name in CODECS if name in av.codecs_available)
    with (
        _sound_of(clip) as (sound, start),
        atomic_file(path) as file,
        av.open(file, "w", format="mp4") as container,
    ):
        about = Fraction(rate).limit_denominator(1000)
        stream = container.add_stream(codec, rate=about, options=QUALITY[codec])
        stream.pix_fmt, stream.codec_context.time_base = "yuv420p", _MS
        packets = _copied(clip, sound, start, container)
        for number, (time, pixels) in enumerate(frames):
            if number == 0:
                stream.height, stream.width = (side // 2 * 2 for side in pixels.shape[:2])
            # Both in the order of time: else all of one waits in memory for the other.
            for packet in packets.until(time / 1000):
                container.mux(packet)
            frame = av.VideoFrame.from_ndarray(_fitted(pixels, stream.width, stream.height), "rgb24")
            frame.pts, frame.time_base = time, _MS
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        for packet in packets.until(float("inf")):
            container.mux(packet)


@contextmanager
def _sound_of(clip: Path) -> Iterator[tuple[Any, float]]:
    """Yield the first sound stream of an open video file, or None, and the time of its first picture."""
    if not is_video(clip):
        yield None, 0.0
        return
    container, stream = open_video(clip)
    with container:
        first = next(container.decode(stream)).time or 0.0
    container, _ = open_video(clip)
    with container:
        yield next(iter(container.streams.audio), None), first


class _Packets:
    """Packets of a sound stream that are taken up to a time; its lifetime is that of both open files."""

    def __init__(self, packets: Iterable[Any]) -> None:
        self._packets = iter(packets)
        self._held = next(self._packets, None)

    def until(self, seconds: float) -> Iterator[Any]:
        """Yield the packets up to a time, each once."""
        while self._held is not None and float(self._held.pts * self._held.time_base) <= seconds:
            yield self._held
            self._held = next(self._packets, None)


def _copied(clip: Path, sound: Any, start: float, container: Any) -> _Packets:
    """Add a stream for the sound to a container, and return the packets for it, from time 0 on."""
    if sound is None:
        return _Packets(())
    name = sound.codec_context.name
    if name not in container.supported_codecs:
        logger.warning("the sound of %s is %s, which MP4 does not hold: left out", clip, name)
        return _Packets(())
    stream = container.add_stream_from_template(sound)

    def packets() -> Iterator[Any]:
        """Yield the sound's packets, shifted so that the clip begins at 0."""
        for packet in sound.container.demux(sound):
            if packet.pts is None or packet.dts is None:
                continue
            shift = round(start / packet.time_base)
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            if packet.pts >= 0:
                packet.stream = stream
                yield packet

    return _Packets(packets())


def _fitted(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    rows, columns = pixels.shape[:2]
    if rows - height not in (0, 1) or columns - width not in (0, 1):
        return scale(pixels, width, height)
    return np.ascontiguousarray(pixels[:height, :width])


def _with_text(
    pixels: np.ndarray, text: str, left: float, top: float, colour: tuple[int, int, int]
) -> np.ndarray:
    """Write a text on a plate above a point, or below it where there is no room above."""
    image = Image.fromarray(pixels)
    font = text_font(max(_LEAST, round(_LETTERS * image.height)))
    draw = ImageDraw.Draw(image)
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    _, _, right, bottom = draw.textbbox((0, 0), text, font)
    width, height = right + 6, bottom + 4
    x = max(0.0, min(left, image.width - width))
    y = top - height if top >= height else top
    draw.rectangle((x, y, x + width, y + height), fill=colour)
    draw.text((x + 3, y + 1), text, PAPER, font)
    return np.asarray(image)
