"""Moving pictures out of frames that are made one at a time; NumPy in, files out."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from tcam_cache.extras import optional
from tcam_cache.files import atomic_file

# H.264 plays everywhere; builds of FFmpeg without it have MPEG-4.
CODECS = ("libx264", "mpeg4")
QUALITY = {"libx264": {"crf": "20"}, "mpeg4": {"qscale": "3"}}


def save_gif(path: Path | str, frames: Iterable[np.ndarray], fps: float) -> None:
    """Write an endless GIF atomically.

    Args:
        path: of the file.
        frames: at least one (H, W, 3) uint8, all of one size.
        fps: frames a second; the format counts hundredths of a second.

    Raises:
        StorageError: the file system refuses the write.
    """
    images = (_in_256_colours(frame) for frame in frames)
    with atomic_file(path) as file:
        next(images).save(
            file, "GIF", save_all=True, append_images=images, duration=round(1000 / fps), loop=0
        )


def save_mp4(path: Path | str, frames: Iterable[np.ndarray], fps: float) -> None:
    """Write an MP4 video atomically; an odd side loses its last row or column of pixels.

    Args:
        path: of the file.
        frames: at least one (H, W, 3) uint8, all of one size.
        fps: frames a second.

    Raises:
        ExtraError: PyAV is not installed.
        StorageError: the file system refuses the write.
    """
    av = optional("av", "video")
    codec = next(name for name in CODECS if name in av.codecs_available)
    with atomic_file(path) as file, av.open(file, "w", format="mp4") as container:
        stream = container.add_stream(
            codec, rate=Fraction(fps).limit_denominator(1000), options=QUALITY[codec]
        )
        stream.pix_fmt = "yuv420p"
        for number, frame in enumerate(frames):
            even = np.ascontiguousarray(frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2])
            if number == 0:
                stream.height, stream.width = even.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(even, "rgb24")))
        container.mux(stream.encode())


def _in_256_colours(frame: np.ndarray) -> Image.Image:
    # Pillow's own choice is slow, and leaves a CAM three flat colours; an octree and dither keep its slope.
    image = Image.fromarray(frame)
    palette = image.quantize(256, Image.Quantize.FASTOCTREE)
    return image.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
