"""Check the corners of boxes: finite, in order and in pixels; other units are an error or a warning."""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from tcam_cache.records import Box

# No object is so small: a box that ends below this is in shares of the image, 0 to 1, up to rounding.
_SUBPIXEL = 1.5
# A box that reaches beyond its frame by this share of the frame was drawn on a frame of another size.
_BEYOND = 0.5
# Boxes may lie within the first hundred pixels by chance, so percentages only lead to a warning.
_SCALES = {"percent": 100, "thousandths": 1000}
_MANY = 8

logger = logging.getLogger(__name__)


def checked_box(corners: Sequence[str | float]) -> Box:
    """Return the box in pixels with these four corners, or raise a `ValueError` that says what is wrong.

    >>> checked_box(["1", "2", "3", "4"])
    Box(x0=1.0, y0=2.0, x1=3.0, y1=4.0)
    """
    box = parsed_box(corners)
    if is_share(box):
        raise ValueError(
            f"box {_text(corners)} is smaller than a pixel, a share of the picture; expected pixels"
        )
    return box


def parsed_box(corners: Sequence[str | float]) -> Box:
    """Return the box with corners x0, y0, x1, y1 in any unit, or raise a `ValueError` with the reason."""
    text = _text(corners)
    try:
        box = Box(*map(float, corners))
    except (TypeError, ValueError):
        comma = any("," in str(corner) for corner in corners)
        hint = "; decimals take a point" if comma else ""
        raise ValueError(f"box {text} is not four numbers{hint}") from None
    if not all(map(math.isfinite, box)):
        raise ValueError(f"box {text} has a NaN or infinite corner")
    if not (box.x0 < box.x1 and box.y0 < box.y1):
        raise ValueError(f"box {text} is inverted or empty; expected x0,y0,x1,y1, no width and height")
    return box


def is_share(box: Box) -> bool:
    """Return whether a box is in shares of its image: between 0 and 1, up to rounding."""
    return min(box) > -1 and max(box) <= _SUBPIXEL


def far_beyond(box: Box, width: int, height: int) -> bool:
    """Return whether a box reaches so far beyond its image that it was drawn on an image of another size."""
    across, down = _BEYOND * width, _BEYOND * height
    return box.x0 < -across or box.y0 < -down or box.x1 > width + across or box.y1 > height + down


def doubt_units(boxes: Mapping[str, Sequence[Box]], sizes: Mapping[str, Any]) -> None:
    """Warn if all boxes look like percent or thousandths of their images.

    Args:
        boxes: by image.
        sizes: (width, height) of each of those images.
    """
    all_boxes = [box for frame in boxes.values() for box in frame]
    sides = [side for frame in boxes for side in sizes[frame]]
    for unit, scale in _SCALES.items():
        if len(all_boxes) >= _MANY and max(map(max, all_boxes)) <= scale and min(sides) >= 2 * scale:
            logger.warning(
                "all %d boxes end within the first %d pixels of frames at least twice as large: are they %s? "
                "Expected pixels",
                len(all_boxes),
                scale,
                unit,
            )
            return


def _text(corners: Sequence[str | float]) -> str:
    return ",".join(f"{corner:g}" if isinstance(corner, float) else str(corner) for corner in corners)
