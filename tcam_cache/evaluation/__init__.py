"""From maps to boxes, from boxes to CorLoc, from CorLoc to a report; nothing here imports torch."""

from tcam_cache.evaluation.boxes import GRID, boxes_at, iou, otsu_box
from tcam_cache.evaluation.metrics import Evaluation, Metrics, score
from tcam_cache.evaluation.sweeps import FrameSweep, sweep_frame
from tcam_cache.evaluation.thresholds import choose_tau

__all__ = [
    "GRID",
    "Evaluation",
    "FrameSweep",
    "Metrics",
    "boxes_at",
    "choose_tau",
    "iou",
    "otsu_box",
    "score",
    "sweep_frame",
]
