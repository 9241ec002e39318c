"""Read an annotation file of any known format, which is found out by its content and said in the log."""

import logging
import posixpath
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tcam_cache.cells import from_csv_text
from tcam_cache.datasets import boxes_table
from tcam_cache.datasets.annotations import Annotations, Row, box_row
from tcam_cache.datasets.formats.cvat import cvat_rows
from tcam_cache.datasets.formats.detection import YOLO_NAMES, coco_rows, voc_rows, yolo_rows
from tcam_cache.datasets.formats.label_studio import label_studio_rows
from tcam_cache.datasets.tables import column_names, parse_json, parse_xml, read_table, read_text
from tcam_cache.errors import AnnotationError
from tcam_cache.records import SPLITS

COLUMNS = ("frame", "class", "xmin", "ymin", "xmax", "ymax")
_CORNERS = COLUMNS[2:]
_OLD_CORNERS = ("x0", "y0", "x1", "y1")

logger = logging.getLogger(__name__)


def read_annotations(path: Path | str) -> Annotations:
    """Read boxes, and splits where they are given, from a file or folder of a known format.

    - CSV with the columns frame, class, xmin, ymin, xmax, ymax and, if splits are given, split. A frame may
      have several rows, one per box. `frame` is relative to the data set's root. Four empty box cells are
      allowed where a split is given. Right and bottom are exclusive.
    - boxes.csv of `predict`, of this version or an earlier one.
    - JSON of COCO or Label Studio, XML of CVAT (pictures or a video) or Pascal VOC.
    - a folder of YOLO (data.yaml, or classes.txt beside the labels), or either of those files in it, or a
      folder of Pascal VOC files.

    Frames that other programs name are found by the end of their path: see `frames_named`.

    Raises:
        AnnotationError: the file cannot be read, or is of no known format.
    """
    path = Path(path)
    annotations, kind = _read(path)
    count = sum(row.box is not None for row in annotations.rows)
    logger.info("%s: read as %s, %d box(es)", path, kind, count)
    return annotations


def _read(path: Path) -> tuple[Annotations, str]:
    if path.is_dir():
        return _read_folder(path)
    if path.is_file() and (path.suffix in (".yaml", ".yml") or path.name in YOLO_NAMES):
        return Annotations.of(path, yolo_rows(path.parent), elsewhere=True), "YOLO"
    if zipfile.is_zipfile(path):
        raise AnnotationError(f"{path} is a ZIP archive. Unpack it, and give the file or folder in it.")
    text = read_text(path, AnnotationError)
    start = text.lstrip()[:1]
    if start in ("{", "["):
        read, kind = (coco_rows, "COCO") if start == "{" else (label_studio_rows, "Label Studio")
        rows = read(path, parse_json(path, text, AnnotationError))
        return Annotations.of(path, rows, elsewhere=True), kind
    if start == "<":
        rows, kind = _xml_rows(path, text)
        return Annotations.of(path, rows, elsewhere=True), kind
    names = column_names(text.partition("\n")[2] if text[:4].lower() == "sep=" else text)
    index = next((place for place, keys in enumerate(boxes_table.KEYS, start=1) if keys <= names), 0)
    table = _TABLES[index]
    lines = read_table(path, table.columns, "split", AnnotationError)
    rows = (table.row(line, cells) for line, cells in lines)
    return Annotations.of(path, (row for row in rows if row), elsewhere=bool(index)), table.name


def _read_folder(path: Path) -> tuple[Annotations, str]:
    files = sorted(path.rglob("*.xml"))
    if not files:
        return Annotations.of(path, yolo_rows(path), elsewhere=True), "YOLO"
    read = [_xml_rows(file, read_text(file, AnnotationError), f"{file.name}: ") for file in files]
    rows = (row for file_rows, _ in read for row in file_rows)
    return Annotations.of(path, rows, elsewhere=True), " and ".join(sorted({kind for _, kind in read}))


def _xml_rows(path: Path, text: str, within: str = "") -> tuple[list[Row | str], str]:
    root = parse_xml(path, text, AnnotationError)
    read, kind = (cvat_rows, "CVAT") if root.tag == "annotations" else (voc_rows, "Pascal VOC")
    return list(read(path, root, within)), kind


class _Table(NamedTuple):
    """A kind of CSV."""

    name: str
    columns: tuple[str, ...]
    row: Callable[[int, Mapping[str | None, Any]], Row | str | None]


def _row(line: int, cells: Mapping[str | None, Any]) -> Row | str:
    location = f"line {line}"
    if None in cells:
        return f"{location}: more cells than columns"
    texts = {name: cell.strip() for name, cell in cells.items()}
    split, corners = texts.get("split", ""), [texts[name] for name in _CORNERS]
    frame = posixpath.normpath(texts["frame"].replace("\\", "/"))
    if split and split not in SPLITS:
        return f"{location}: {frame}: split {split!r} is none of {', '.join(SPLITS)}"
    if not any(corners):
        if split:
            return Row(location, frame, texts["class"], None, split)
        return f"{location}: {frame}: neither a box nor a split"
    row = box_row(location, frame, texts["class"], corners)
    return row._replace(split=split) if isinstance(row, Row) else row


def _found_row(line: int, cells: Mapping[str | None, Any]) -> Row | str | None:
    """Return the row of a boxes.csv, or None without a box."""
    if None in cells:
        return f"line {line}: more cells than columns"
    texts = {str(name): from_csv_text(cell.strip()) for name, cell in cells.items()}
    before = "video" not in texts
    corners = [texts[name] for name in (_OLD_CORNERS if before else _CORNERS)]
    name, tag = (texts["frame"], texts["predicted_class"]) if before else (texts["name"], texts["tag"])
    if not any(corners):
        return None
    video, width, height = (texts.get(key, "") for key in ("video", "width", "height"))
    size = (int(width), int(height)) if width.isdecimal() and height.isdecimal() else None
    return box_row(f"line {line}", f"{video}/{name}" if video else name, tag, corners, size)


_TABLES = (
    _Table("CSV", COLUMNS, _row),
    _Table("boxes.csv", ("video", "name", "tag", *_CORNERS), _found_row),
    _Table("boxes.csv of an earlier version", ("frame", "predicted_class", *_OLD_CORNERS), _found_row),
)
