"""One frame's boxes at every threshold beside its true boxes: all that scoring needs to know of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tcam_cache.errors import AnnotationError
from tcam_cache.evaluation.boxes import GRID, iou, largest_and_all, otsu_box
from tcam_cache.records import Box, Shot


@dataclass(frozen=True)
class FrameSweep:
    """What one annotated frame's map says at every threshold.

    Attributes:
        path: of the frame, relative to the data set's root.
        tag: the video's class tag.
        predicted_tag: the classifier's first choice, or None when it was not asked.
        video: the video's id.
        shot: the shot's id.
        t: the frame's position in its shot.
        true_boxes: at least one, in pixels of the original frame.
        boxes: (K, 4) float32, the box at each threshold in pixels of the original frame; NaN where none is.
        ious: (K,) float64, the highest IoU of each box with a true box.
        any_ious: (K,) float64, the highest IoU of any region's box with a true box.
        otsu_box: (4,) float32, the box at Otsu's threshold.
        otsu_iou: its highest IoU with a true box.
        flat: the map was constant and says nothing.
        mode: how boxes were taken, "components" or "wsol".
    """

    path: str
    tag: str
    predicted_tag: str | None
    video: str
    shot: str
    t: int
    true_boxes: tuple[Box, ...]
    boxes: np.ndarray
    ious: np.ndarray
    any_ious: np.ndarray
    otsu_box: np.ndarray
    otsu_iou: float
    flat: bool
    mode: str


def sweep_frame(
    scores: np.ndarray,
    shot: Shot,
    t: int,
    size: tuple[int, int],
    *,
    predicted_tag: str | None = None,
    mode: str = "components",
    taus: np.ndarray = GRID,
) -> FrameSweep:
    """Take the boxes of one frame's map at every threshold and compare them with the true ones.

    Args:
        scores: (H, W) float32 map in [0, 1] of the whole frame, squashed to H x W.
        shot: the frame's shot; `shot.boxes[t]` are the true boxes.
        t: the frame's position in its shot.
        size: (width, height) of the original frame in pixels.
        predicted_tag: the classifier's first choice.
        mode: "components", or "wsol" for boxes and IoU of the WSOL protocol.
        taus: (K,) rising thresholds in [0, 1).

    Raises:
        AnnotationError: the frame has no true box.
        EvaluationError: the map is not finite or leaves [0, 1].
        ConfigError: the mode is unknown, or the thresholds do not rise within [0, 1).
    """
    if not shot.boxes.get(t):
        raise AnnotationError("a frame without a true box cannot be scored. Leave it out.", [shot.path(t)])
    largest, regions = largest_and_all(scores, taus, mode)
    boxes = np.vstack([largest, otsu_box(scores, mode)])
    ious, boxes = _compare(boxes, shot.boxes[t], size, scores.shape, mode)
    all_ious, _ = _compare(regions.boxes, shot.boxes[t], size, scores.shape, mode)
    return FrameSweep(
        path=shot.path(t),
        tag=shot.tag,
        predicted_tag=predicted_tag,
        video=shot.video,
        shot=shot.id,
        t=t,
        true_boxes=tuple(shot.boxes[t]),
        boxes=boxes[:-1],
        ious=ious[:-1],
        any_ious=regions.best(all_ious),
        otsu_box=boxes[-1],
        otsu_iou=float(ious[-1]),
        flat=bool(scores.min() == scores.max()),
        mode=mode,
    )


def _compare(
    boxes: np.ndarray, true_boxes: Sequence[Box], size: tuple[int, int], shape: tuple[int, int], mode: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return (K,) the highest IoU of each box of the map, and the boxes in pixels of the original frame."""
    height, width = shape
    scale = np.array([size[0] / width, size[1] / height] * 2)
    if mode == "components":
        scaled = (boxes * scale).astype(np.float32)
        return _highest(scaled, np.array(true_boxes), inclusive=False), scaled
    # The protocol scales and truncates the true boxes instead; multiply first, as it does.
    truth = np.trunc(np.array(true_boxes) * [width, height, width, height] / [*size, *size])
    empty = ~boxes.any(axis=1, keepdims=True)
    return (
        _highest(boxes, truth, inclusive=True),
        np.where(empty, np.nan, boxes * scale).astype(np.float32),
    )


def _highest(boxes: np.ndarray, truth: np.ndarray, inclusive: bool) -> np.ndarray:
    # One true box at a time: all regions of a rough map are a million boxes.
    return np.max([iou(boxes, box[None], inclusive)[:, 0] for box in truth], axis=0)
