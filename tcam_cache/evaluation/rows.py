"""The format of frames.csv: one row per scored frame, with all that metrics.json is computed from."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tcam_cache.cells import csv_line, from_csv_text
from tcam_cache.datasets.tables import SYNONYMS
from tcam_cache.records import Box

FIELDS = (
    "frame", "class", "predicted_class", "xmin", "ymin", "xmax", "ymax", "iou", "hit", "flat",
    "video", "shot", "t", "true_boxes",
)  # fmt: skip


@dataclass(frozen=True)
class FrameRow:
    """The result of one frame under the chosen policy, and its IoU under the others.

    Attributes:
        path: of the frame, relative to the data set's root.
        tag: the video's class tag.
        predicted_tag: the classifier's top-1 class, or None.
        box: in pixels of the original frame, or None where nothing exceeds the threshold.
        iou: its highest IoU with a true box.
        hit: whether the box counts as correct at IoU 0.5 (CorLoc).
        flat: the map was constant.
        video: the video's id.
        shot: the shot's id.
        t: the frame's position in its shot.
        true_boxes: in pixels of the original frame.
        ious: IoU by policy; under "best_0.3", "best_0.5", "best_0.7" that of any region at the tau of
            MaxBoxAccV2, under "largest_0.5" that of the largest one at the tau of MaxBoxAcc.
    """

    path: str
    tag: str
    predicted_tag: str | None
    box: Box | None
    iou: float
    hit: bool
    flat: bool
    video: str
    shot: str
    t: int
    true_boxes: tuple[Box, ...]
    ious: Mapping[str, float]


def to_csv(rows: Sequence[FrameRow]) -> str:
    """Return the rows as CSV text, numbers in full so that reading them back loses nothing.

    A name that a spreadsheet would take for a formula has an apostrophe before it; `from_csv` takes it off.
    """
    names = list(rows[0].ious)
    head = [*FIELDS, *(f"iou_{name}" for name in names)]
    return csv_line(head) + "".join(
        csv_line([*_cells(row), *(repr(row.ious[name]) for name in names)]) for row in rows
    )


def from_csv(text: str) -> tuple[FrameRow, ...]:
    """Return the rows that `to_csv` wrote."""
    return tuple(_parsed(cells) for cells in csv.DictReader(io.StringIO(text)))


def _cells(row: FrameRow) -> list[str | int]:
    box = ["", "", "", ""] if row.box is None else [_number(value) for value in row.box]
    truth = ";".join(" ".join(map(_number, true_box)) for true_box in row.true_boxes)
    outcome = [repr(row.iou), int(row.hit), int(row.flat)]
    return [
        row.path, row.tag, row.predicted_tag or "", *box, *outcome, row.video, row.shot, row.t, truth,
    ]  # fmt: skip


def _number(value: float) -> str:
    return repr(float(value)).removesuffix(".0")


def _parsed(cells: Mapping[str, str]) -> FrameRow:
    # Earlier versions called the corners x0, y0, x1, y1.
    cells = {SYNONYMS.get(name, name): text for name, text in cells.items()}
    sides = [cells[side] for side in ("xmin", "ymin", "xmax", "ymax")]
    truth = [Box(*map(float, text.split())) for text in cells["true_boxes"].split(";")]
    return FrameRow(
        path=from_csv_text(cells["frame"]),
        tag=from_csv_text(cells["class"]),
        predicted_tag=from_csv_text(cells["predicted_class"]) or None,
        box=Box(*map(float, sides)) if all(sides) else None,
        iou=float(cells["iou"]),
        hit=cells["hit"] == "1",
        flat=cells["flat"] == "1",
        video=from_csv_text(cells["video"]),
        shot=from_csv_text(cells["shot"]),
        t=int(cells["t"]),
        true_boxes=tuple(truth),
        ious={name[4:]: float(value) for name, value in cells.items() if name.startswith("iou_")},
    )
