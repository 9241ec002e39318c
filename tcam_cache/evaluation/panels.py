"""One picture a frame: its boxes, its cached CAM, its CAM-TMP and the decoder's map, side by side."""

from dataclasses import dataclass

import numpy as np

from tcam_cache.evaluation.overlays import (
    PREDICTED_COLOUR,
    TRUE_COLOUR,
    contact_sheet,
    draw_boxes,
    label,
    overlay_cam,
    scale_to_width,
)
from tcam_cache.records import Box

TILE_WIDTH = 300


@dataclass(frozen=True)
class Panel:
    """What one row of the report shows.

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
        hit: whether that counts as found.
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
