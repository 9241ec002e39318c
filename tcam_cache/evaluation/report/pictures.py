"""Images: overlays of maps and boxes, panels of a report, contact sheets, animations."""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tcam_cache.errors import ConfigError
from tcam_cache.extras import optional
from tcam_cache.files import atomic_file
from tcam_cache.records import Box

TRUE_COLOUR = (46, 204, 64)
PREDICTED_COLOUR = (255, 82, 20)
INK = (28, 32, 38)
PAPER = (255, 255, 255)
OPACITY = 0.75
JPEG_QUALITY = 88
_FONT = "mpl-data/fonts/ttf/DejaVuSans.ttf"
_KINDS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


def jet(values: np.ndarray) -> np.ndarray:
    """Colour values in [0, 1] from blue over green to red.

    Args:
        values: (h, w) float.

    Returns:
        (h, w, 3) uint8 RGB.

    >>> jet(np.array([[0.0, 0.5, 1.0]]))[0].tolist()
    [[0, 0, 127], [127, 255, 127], [127, 0, 0]]
    """
    centres = np.array([3, 2, 1])
    ramps = np.clip(1.5 - np.abs(4 * np.asarray(values, np.float64)[..., None] - centres), 0, 1)
    return (ramps * 255).astype(np.uint8)


def resize_map(scores: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize an (h, w) map to (height, width) float32, bilinear between pixel centres."""
    image = Image.fromarray(np.asarray(scores, np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))


def overlay_cam(pixels: np.ndarray, cam: np.ndarray, opacity: float = OPACITY) -> np.ndarray:
    """Overlay a map on a frame, more opaque where the map is higher.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        cam: (h, w) in [0, 1], of any size.
        opacity: of the map where it is 1.

    Returns:
        (H, W, 3) uint8.
    """
    height, width = pixels.shape[:2]
    values = np.clip(resize_map(cam, width, height), 0, 1)
    alpha = opacity * values[..., None]
    return np.rint(alpha * jet(values) + (1 - alpha) * pixels).astype(np.uint8)


def draw_boxes(
    pixels: np.ndarray,
    boxes: Iterable[Sequence[float]],
    colour: tuple[int, int, int] = PREDICTED_COLOUR,
    width: int = 3,
) -> np.ndarray:
    """Draw boxes x0, y0, x1, y1 (right and bottom exclusive) just inside their borders, with a dark rim.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        boxes: in pixels of this picture.
        colour: RGB.
        width: of the line in pixels.
    """
    image = Image.fromarray(pixels)
    draw = ImageDraw.Draw(image)
    for x0, y0, x1, y1 in boxes:
        corners = np.rint([x0, y0, max(x1 - 1, x0), max(y1 - 1, y0)]).astype(int).tolist()
        draw.rectangle(corners, outline=INK, width=width + 1)
        draw.rectangle(corners, outline=colour, width=width)
    return np.asarray(image)


def text_font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return a font with the letters of most European languages; Pillow's own has ASCII alone."""
    matplotlib = find_spec("matplotlib")  # its import takes a third of a second
    path = Path(matplotlib.origin if matplotlib and matplotlib.origin else "").parent / _FONT
    return ImageFont.truetype(path, size) if path.is_file() else ImageFont.load_default(size)


def label(pixels: np.ndarray, text: str, size: int = 14) -> np.ndarray:
    """Add a strip with a line of text above an image; too long text ends in an ellipsis."""
    font = text_font(size)
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    strip = Image.new("RGB", (pixels.shape[1], size + 8), PAPER)
    draw = ImageDraw.Draw(strip)
    room = strip.width - 8
    if draw.textlength(text, font) > room:
        while text and draw.textlength(text + "…", font) > room:
            text = text[:-1]
        text += "…"
    draw.text((4, 3), text, INK, font)
    return np.vstack([np.asarray(strip), pixels])


def scale_to_width(pixels: np.ndarray, width: int) -> np.ndarray:
    """Scale an (H, W, 3) image to a width, keeping its aspect ratio."""
    return scale(pixels, width, max(1, round(pixels.shape[0] * width / pixels.shape[1])))


def scale(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Scale an (H, W, 3) image to (height, width, 3), ignoring its aspect ratio."""
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))


def faded(pixels: np.ndarray) -> np.ndarray:
    """Return an (H, W, 3) image in pale grey, for a frame without a map."""
    grey = pixels.mean(axis=2, keepdims=True)
    return np.repeat(np.rint(127 + grey / 2), 3, axis=2).astype(np.uint8)


def contact_sheet(tiles: Sequence[np.ndarray], columns: int, gap: int = 6) -> np.ndarray:
    """Arrange images in a grid of equal cells on white.

    Args:
        tiles: at least one (H, W, 3) uint8, sizes may differ.
        columns: tiles a row.
        gap: pixels between tiles.

    Returns:
        (H, W, 3) uint8.
    """
    height, width = (max(tile.shape[axis] for tile in tiles) for axis in (0, 1))
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    shape = rows * (height + gap) - gap, columns * (width + gap) - gap, 3
    sheet = np.full(shape, 255, np.uint8)
    for index, tile in enumerate(tiles):
        y, x = (index // columns) * (height + gap), (index % columns) * (width + gap)
        sheet[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
    return sheet


def justified_rows(
    pictures: Sequence[tuple[np.ndarray, str]], columns: int, width: int, gap: int = 6
) -> np.ndarray:
    """Arrange labelled images in rows without holes: those of a row are scaled to one height.

    Args:
        pictures: at least one (H, W, 3) uint8 with its text, shapes may differ.
        columns: images a row.
        width: of an image, in the mean of its row.
        gap: pixels between images.

    Returns:
        (H, W, 3) uint8.
    """
    rows = []
    for first in range(0, len(pictures), columns):
        part = pictures[first : first + columns]
        aspects = np.array([pixels.shape[1] / pixels.shape[0] for pixels, _ in part])
        height = len(part) * width / aspects.sum()
        ends = np.rint(np.cumsum(aspects) * height).astype(int)
        tiles = [
            label(scale(pixels, max(1, wide), max(1, round(height))), text)
            for (pixels, text), wide in zip(part, np.diff(ends, prepend=0).tolist(), strict=True)
        ]
        turned = [tile.transpose(1, 0, 2) for tile in tiles]
        rows.append(stacked(turned, gap).transpose(1, 0, 2))
    return stacked(rows, gap)


def stacked(images: Sequence[np.ndarray], gap: int) -> np.ndarray:
    """Put images, each (H, W, 3) uint8 of its own size, below each other on white."""
    width = max(image.shape[1] for image in images)
    sheet = np.full((sum(map(len, images)) + gap * (len(images) - 1), width, 3), 255, np.uint8)
    top = 0
    for image in images:
        sheet[top : top + len(image), : image.shape[1]] = image
        top += len(image) + gap
    return sheet


def encoded_jpeg(pixels: np.ndarray) -> bytes:
    """Return an (H, W, 3) uint8 image as a JPEG file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()


def save_image(path: Path | str, pixels: np.ndarray) -> None:
    """Write an image atomically, in the format of its suffix: .png, .jpg or .jpeg.

    Raises:
        ConfigError: the suffix is another.
        StorageError: the file system refuses the write.
    """
    kind = _KINDS.get(Path(path).suffix.lower())
    if kind is None:
        raise ConfigError(f"got the picture {path}; expected a name that ends in {' or '.join(_KINDS)}.")
    with atomic_file(path) as file:
        Image.fromarray(pixels).save(file, kind, quality=JPEG_QUALITY)


TILE_WIDTH = 300


@dataclass(frozen=True)
class Panel:
    """The content of one row of images in the report.

    Attributes:
        path: of the frame, relative to the data set's root.
        tag: the video's class tag.
        pixels: (H, W, 3) uint8 RGB, in the original size or smaller, of the original shape.
        width: of the original frame, in pixels; boxes are in its pixels.
        cam: (h, w) cached CAM in [0, 1], or None.
        temporal: (h, w) CAM-TMP in [0, 1], or None.
        decoder: (h, w) the decoder's foreground map in [0, 1], or None.
        true_boxes: in pixels of the original frame.
        predicted_box: in pixels of the original frame, or None.
        iou: of the predicted box with the best true box.
        hit: whether that counts as correct (CorLoc).
    """

    path: str
    tag: str
    pixels: np.ndarray
    width: int
    cam: np.ndarray | None
    temporal: np.ndarray | None
    decoder: np.ndarray | None
    true_boxes: tuple[Box, ...]
    predicted_box: Box | None
    iou: float
    hit: bool


def draw_panel(panel: Panel, tile_width: int = TILE_WIDTH) -> np.ndarray:
    """Return the panel's tiles in one row, (H, W, 3) uint8; maps that are absent leave no tile.

    The true boxes are green, the predicted one orange; it is also drawn on the map it was taken from.
    """
    frame = scale_to_width(panel.pixels, tile_width)
    maps = {"cached CAM": panel.cam, "CAM-TMP": panel.temporal, "decoder map": panel.decoder}
    drawn = {name: overlay_cam(frame, scores) for name, scores in maps.items() if scores is not None}
    scored = "decoder map" if panel.decoder is not None else "cached CAM"
    tiles = {"frame": frame, **drawn}
    for name in {"frame", scored} & set(tiles):
        tiles[name] = _with_boxes(tiles[name], panel)
    return contact_sheet([label(tile, name) for name, tile in tiles.items()], columns=len(tiles))


def _with_boxes(tile: np.ndarray, panel: Panel) -> np.ndarray:
    scale = tile.shape[1] / panel.width
    tile = draw_boxes(tile, np.array(panel.true_boxes).reshape(-1, 4) * scale, TRUE_COLOUR)
    predicted = [] if panel.predicted_box is None else [np.array(panel.predicted_box) * scale]
    return draw_boxes(tile, predicted, PREDICTED_COLOUR)


# H.264 plays in every browser; FFmpeg builds without it have MPEG-4.
CODECS = ("libx264", "mpeg4")
# With its macroblock tree, x264 encodes the same small frames differently from one call to the next.
QUALITY = {"libx264": {"crf": "20", "mbtree": "0"}, "mpeg4": {"qscale": "3"}}


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
    # Pillow's default is slow and reduces a CAM to three flat colours; octree and dither keep gradients.
    image = Image.fromarray(frame)
    palette = image.quantize(256, Image.Quantize.FASTOCTREE)
    return image.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
