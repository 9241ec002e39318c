"""Boxes of maps, CorLoc of boxes, and reports; nothing here imports torch."""

from tcam_cache.evaluation.boxes import GRID, boxes_at, hits, iou, otsu_box
from tcam_cache.evaluation.metrics import Evaluation, Metrics, score
from tcam_cache.evaluation.published import PublishedRow, published, published_ablation
from tcam_cache.evaluation.report.folder import write_report
from tcam_cache.evaluation.report.pictures import Panel, draw_panel
from tcam_cache.evaluation.rows import FrameRow, from_csv, to_csv
from tcam_cache.evaluation.thresholds import (
    FrameSweep,
    Threshold,
    choose_tau,
    corloc_curve,
    require_val_tau,
    sweep_frame,
)

__all__ = [
    "GRID",
    "Evaluation",
    "FrameRow",
    "FrameSweep",
    "Metrics",
    "Panel",
    "PublishedRow",
    "Threshold",
    "boxes_at",
    "choose_tau",
    "corloc_curve",
    "draw_panel",
    "from_csv",
    "hits",
    "iou",
    "otsu_box",
    "published",
    "published_ablation",
    "require_val_tau",
    "score",
    "sweep_frame",
    "to_csv",
    "write_report",
]
