"""Pictures: maps over frames, boxes, labels and sheets of tiles; NumPy in, NumPy out."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tcam_cache.errors import ConfigError
from tcam_cache.files import atomic_file

TRUE_COLOUR = (46, 204, 64)
PREDICTED_COLOUR = (255, 82, 20)
INK = (28, 32, 38)
PAPER = (255, 255, 255)
OPACITY = 0.75
JPEG_QUALITY = 88
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
    """Lay a map over a frame; the stronger the map, the more it covers.

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


def label(pixels: np.ndarray, text: str, size: int = 14) -> np.ndarray:
    """Put a strip with a line of text above a picture, cut with an ellipsis where it is too long."""
    font = ImageFont.load_default(size)
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
    """Scale an (H, W, 3) picture to a width, keeping its shape."""
    return scale(pixels, width, max(1, round(pixels.shape[0] * width / pixels.shape[1])))


def scale(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Scale an (H, W, 3) picture to (height, width, 3), whatever its shape."""
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))


def faded(pixels: np.ndarray) -> np.ndarray:
    """Return an (H, W, 3) picture in pale grey, for a frame about which nothing is known."""
    grey = pixels.mean(axis=2, keepdims=True)
    return np.repeat(np.rint(127 + grey / 2), 3, axis=2).astype(np.uint8)


def contact_sheet(tiles: Sequence[np.ndarray], columns: int, gap: int = 6) -> np.ndarray:
    """Lay pictures out in rows, each in a cell as large as the largest, on white.

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


def save_image(path: Path | str, pixels: np.ndarray) -> None:
    """Write a picture atomically, as the suffix says: .png, .jpg or .jpeg.

    Raises:
        ConfigError: the suffix is another.
        StorageError: the file system refuses the write.
    """
    kind = _KINDS.get(Path(path).suffix.lower())
    if kind is None:
        raise ConfigError(f"got the picture {path}; expected a name that ends in {' or '.join(_KINDS)}.")
    with atomic_file(path) as file:
        Image.fromarray(pixels).save(file, kind, quality=JPEG_QUALITY)
