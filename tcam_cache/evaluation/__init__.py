"""Boxes of maps, CorLoc of boxes, and reports; nothing here imports torch."""

from tcam_cache.evaluation.boxes import GRID, boxes_at, hits, iou, otsu_box
from tcam_cache.evaluation.compare import Comparison, compare_systems
from tcam_cache.evaluation.metrics import Evaluation, Metrics, score
from tcam_cache.evaluation.published import PublishedRow, published, published_ablation
from tcam_cache.evaluation.report.beside import tables_beside
from tcam_cache.evaluation.report.comparison import (
    comparison_csv,
    comparison_tables,
    comparison_text,
    draw_comparison,
)
from tcam_cache.evaluation.report.folder import read_report, write_report
from tcam_cache.evaluation.report.pictures import Panel, draw_panel
from tcam_cache.evaluation.report.tables import Table, to_latex, to_markdown, to_text
from tcam_cache.evaluation.rows import FrameRow, from_csv, to_csv
from tcam_cache.evaluation.systems import (
    Spread,
    StoredReport,
    System,
    grouped,
    require_same_frames,
    systems_of,
)
from tcam_cache.evaluation.thresholds import (
    FrameSweep,
    Threshold,
    choose_tau,
    corloc_curve,
    require_frames,
    require_val_tau,
    sweep_frame,
)

__all__ = [
    "GRID",
    "Comparison",
    "Evaluation",
    "FrameRow",
    "FrameSweep",
    "Metrics",
    "Panel",
    "PublishedRow",
    "Spread",
    "StoredReport",
    "System",
    "Table",
    "Threshold",
    "boxes_at",
    "choose_tau",
    "compare_systems",
    "comparison_csv",
    "comparison_tables",
    "comparison_text",
    "corloc_curve",
    "draw_comparison",
    "draw_panel",
    "from_csv",
    "grouped",
    "hits",
    "iou",
    "otsu_box",
    "published",
    "published_ablation",
    "read_report",
    "require_frames",
    "require_same_frames",
    "require_val_tau",
    "score",
    "sweep_frame",
    "systems_of",
    "tables_beside",
    "to_csv",
    "to_latex",
    "to_markdown",
    "to_text",
    "write_report",
]
