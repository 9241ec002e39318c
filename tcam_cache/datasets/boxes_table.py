"""boxes.csv, the table that `predict` writes: one row a frame, with the box that was found in it."""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tcam_cache.cells import csv_line, from_csv_text
from tcam_cache.records import Box

ROWS = "boxes.csv"
COLUMNS = (
    "video", "frame", "name", "time", "width", "height", "tag", "probability", "xmin", "ymin", "xmax", "ymax",
    "score", "confidence", "presence", "track",
)  # fmt: skip
# The columns of earlier versions.
OLD_COLUMNS = ("frame", "predicted_class", "probability", "x0", "y0", "x1", "y1", "score")
# A table is recognised by these columns: people add and remove others.
KEYS = ({"video", "name", "tag", "xmin"}, {"frame", "predicted_class", "x0"})
# The folders beside boxes.csv that `predict` writes pictures to.
PICTURE_FOLDERS = ("overlays", "pictures", "yolo", "report")


class FoundBox(NamedTuple):
    """A frame and the box that was found in it.

    Attributes:
        video: path of the video file, or of the picture's folder, below the input; "" for the input itself.
        number: of the frame in its video, from 0.
        name: of the frame in its video: a picture's file, or the time of a video's frame, "00001240ms".
        time: in seconds from the first frame of a video file; None for a picture.
        width: of the frame in pixels; 0 if the row of an earlier version does not say it.
        height: of the frame in pixels.
        tag: the class.
        probability: of that class, in [0, 1].
        box: in pixels of the frame, or None.
        score: the maximum of the frame's map, in [0, 1].
        confidence: how sure the box is, in [0, 1]; None where it was not computed.
        presence: how sure it is that the object is in the frame, in [0, 1]; None where not computed.
        track: number of the object in its clip; None where not computed.
    """

    video: str
    number: int
    name: str
    time: float | None
    width: int
    height: int
    tag: str
    probability: float
    box: Box | None
    score: float
    confidence: float | None = None
    presence: float | None = None
    track: int | None = None

    @property
    def path(self) -> str:
        """The frame's path below the input."""
        return f"{self.video}/{self.name}" if self.video else self.name

    @property
    def frame(self) -> str:
        """The frame's name within the shot that was predicted: pictures of one input lie in many folders."""
        return self.path if self.time is None else self.name


def header() -> str:
    """Return the first line of boxes.csv."""
    return csv_line(COLUMNS)


def found_line(row: FoundBox) -> str:
    """Return the row of a frame as a line of CSV; corners have two decimals.

    >>> box = Box(1.0, 2.0, 3.456, 4.0)
    >>> found_line(FoundBox("a.mp4", 1, "00000040ms", 0.04, 64, 48, "dog", 0.9, box, 1.0))
    'a.mp4,1,00000040ms,0.04,64,48,dog,0.9,1.0,2.0,3.46,4.0,1.0,,,\\n'
    """
    time = "" if row.time is None else round(row.time, 3)
    place = [row.video, row.number, row.name, time, row.width, row.height]
    corners = [""] * 4 if row.box is None else [round(side, 2) for side in row.box]
    shares = ["" if one is None else round(one, 4) for one in (row.confidence, row.presence)]
    ends = [round(row.score, 4), *shares, "" if row.track is None else row.track]
    return csv_line([*place, row.tag, round(row.probability, 4), *corners, *ends])


def found_boxes(text: str) -> Iterator[FoundBox]:
    """Yield the frames of a boxes.csv of this version or an earlier one; rows that are cut are left out.

    Rows of an earlier version have no video and no size.
    """
    for cells in csv.DictReader(io.StringIO(text, newline=""), restval=""):
        texts = {name: from_csv_text(cell) for name, cell in cells.items() if isinstance(cell, str)}
        try:
            yield _found(texts) if "video" in texts else _found_before(texts)
        except (KeyError, ValueError):
            continue


def _found(texts: dict[str, str]) -> FoundBox:
    return FoundBox(
        texts["video"],
        int(texts["frame"]),
        texts["name"],
        _number(texts["time"]),
        int(texts["width"]),
        int(texts["height"]),
        texts["tag"],
        float(texts["probability"]),
        _box([texts[name] for name in ("xmin", "ymin", "xmax", "ymax")]),
        float(texts["score"]),
        # An earlier version has no such columns.
        _number(texts.get("confidence", "")),
        _number(texts.get("presence", "")),
        int(texts["track"]) if texts.get("track") else None,
    )


def _found_before(texts: dict[str, str]) -> FoundBox:
    box = _box([texts[name] for name in ("x0", "y0", "x1", "y1")])
    tag, probability, score = texts["predicted_class"], float(texts["probability"]), float(texts["score"])
    return FoundBox("", 0, texts["frame"], None, 0, 0, tag, probability, box, score)


def _number(text: str) -> float | None:
    return float(text) if text else None


def _box(corners: Sequence[str]) -> Box | None:
    return Box(*map(float, corners)) if any(corners) else None
