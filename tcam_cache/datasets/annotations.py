"""Annotations in CSV: boxes and splits, checked against the frames; all errors are reported at once."""

import logging
import posixpath
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from tcam_cache.datasets.box_units import checked_box, doubt_units, far_beyond
from tcam_cache.datasets.frames import image_sizes
from tcam_cache.datasets.tables import read_table
from tcam_cache.errors import AnnotationError, FrameError
from tcam_cache.names import one_name
from tcam_cache.records import SPLITS, Box, Shot

COLUMNS = ("frame", "class", "xmin", "ymin", "xmax", "ymax")
_CORNERS = COLUMNS[2:]

Sizes = Mapping[str, tuple[int, int] | FrameError]

logger = logging.getLogger(__name__)


class Row(NamedTuple):
    """A box, a split, or both, for one frame.

    Attributes:
        location: of the row, such as "line 3".
        frame: path relative to the data set's root.
        tag: class of its video.
        box: in pixels of the image that it was drawn on, or None.
        split: of its video, or "".
        drawn_on: (width, height) of that image if it differs from the file's: the box is then scaled.
    """

    location: str
    frame: str
    tag: str
    box: Box | None
    split: str
    drawn_on: tuple[int, int] | None = None


@dataclass(frozen=True)
class Annotations:
    """The rows of an annotation file.

    Attributes:
        path: the file, for messages.
        rows: the valid rows, in the file's order.
        faults: one text for each invalid row; `attach` reports them together with its own.
    """

    path: Path
    rows: tuple[Row, ...]
    faults: tuple[str, ...] = ()


def read_annotations(path: Path | str) -> Annotations:
    """Read a CSV with the columns frame, class, xmin, ymin, xmax, ymax and, if splits are given, split.

    A frame may have several rows, one per box. Boxes are in stored pixels (an EXIF orientation is ignored),
    right and bottom exclusive. Four empty box cells are allowed where a split is given. `frame` is relative
    to the data set's root.

    Raises:
        AnnotationError: the file cannot be read as CSV, or columns are missing.
    """
    path = Path(path)
    table = read_table(path, COLUMNS, "split", AnnotationError)
    parsed = [_row(line, cells) for line, cells in table]
    rows = tuple(row for row in parsed if isinstance(row, Row))
    return Annotations(path, rows, tuple(fault for fault in parsed if isinstance(fault, str)))


def without_frames(annotations: Annotations, paths: Collection[str]) -> Annotations:
    """Return annotations without the rows of some frames or videos, given by their paths."""
    left_out = set(paths)
    rows = (row for row in annotations.rows if left_out.isdisjoint((row.frame, row.frame.rpartition("/")[0])))
    return replace(annotations, rows=tuple(rows))


def attach(
    shots: Sequence[Shot],
    annotations: Annotations,
    root: Path,
    sizes_of: Callable[[Path, Iterable[str]], Sizes] = image_sizes,
) -> tuple[tuple[Shot, ...], dict[str, str]]:
    """Return the shots with their boxes, and the split of every video that has one in the file.

    A box partly outside its image is clipped, with one counted warning.

    Args:
        shots: of the whole data set.
        annotations: boxes and splits of their frames.
        root: the data set's folder.
        sizes_of: returns (width, height) of the named frames below the root, or the error of reading one.

    Raises:
        AnnotationError: rows cannot be read, name a missing frame, give a video another class than its folder
            or a second split, or a box that is inverted or outside its image; all are listed.
    """
    places, absent = _places(shots, annotations.rows)
    rows = [
        row._replace(frame=shot.path(t))
        for row in annotations.rows
        if row.frame in places
        for shot, t in [places[row.frame]]
    ]
    places = {shot.path(t): (shot, t) for shot, t in places.values()}
    sizes = sizes_of(root, dict.fromkeys(row.frame for row in rows if row.box is not None))
    videos = {row.frame: places[row.frame][0] for row in rows}
    splits, split_faults = _video_splits(rows, videos)
    boxes, box_faults = _boxes(rows, sizes)
    faults = [*annotations.faults, *absent, *_class_faults(rows, videos), *split_faults, *box_faults]
    if faults:
        how = f" A frame is named by its path below {root}{_example(shots)}." if absent else ""
        raise AnnotationError(
            f"{annotations.path} does not fit the frames at {root} in {len(faults)} point(s). "
            f"Correct them.{how}",
            faults,
        )
    boxes_by_shot: dict[str, dict[int, tuple[Box, ...]]] = defaultdict(dict)
    for frame, frame_boxes in boxes.items():
        shot, t = places[frame]
        boxes_by_shot[shot.id][t] = tuple(frame_boxes)
    return tuple(replace(shot, boxes=boxes_by_shot.get(shot.id, {})) for shot in shots), splits


def plain_path(path: str) -> str:
    """Return the normal form of a path below the root: NFC, and without "./".

    >>> plain_path("./cat/1.jpg")
    'cat/1.jpg'
    """
    return one_name(path).removeprefix("./")


def _places(shots: Sequence[Shot], rows: Sequence[Row]) -> tuple[dict[str, tuple[Shot, int]], list[str]]:
    """Return (shot, position) by frame name as in the rows, and faults for missing frames."""
    wanted = {plain_path(row.frame): row.frame for row in rows}
    paths = ((plain_path(shot.path(t)), shot, t) for shot in shots for t in range(len(shot)))
    indexed = {path: (shot, t) for path, shot, t in paths if path in wanted}
    places = {row.frame: indexed[path] for row in rows if (path := plain_path(row.frame)) in indexed}
    missing = [row for row in rows if row.frame not in places]
    if not missing:
        return places, []
    known = {shot.path(t).casefold(): shot.path(t) for shot in shots for t in range(len(shot))}
    others = ((row, known.get(row.frame.casefold())) for row in missing)
    return places, [
        f"{row.location}: {row.frame} is not there" + (f"; {other} is, in another case" if other else "")
        for row, other in others
    ]


def _example(shots: Sequence[Shot]) -> str:
    return f", such as {shots[0].path(0)}" if shots else ""


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
    try:
        box = checked_box(corners)
    except ValueError as error:
        return f"{location}: {frame}: {error}"
    return Row(location, frame, texts["class"], box, split)


def _class_faults(rows: Sequence[Row], videos: Mapping[str, Shot]) -> Iterator[str]:
    lines: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for row in rows:
        shot = videos[row.frame]
        if one_name(row.tag) != one_name(shot.tag):
            lines[shot.video, shot.tag, row.tag].append(row.location)
    for (video, tag, other), found in lines.items():
        yield f"video {video}: lies under class {tag!r}, but {_few(found)} says {other!r}"


def _video_splits(rows: Sequence[Row], videos: Mapping[str, Shot]) -> tuple[dict[str, str], list[str]]:
    lines: dict[str, dict[str, str]] = defaultdict(dict)
    for row in rows:
        if row.split:
            lines[videos[row.frame].video].setdefault(row.split, row.location)
    faults = [
        f"video {video}: in {len(found)} splits ("
        + ", ".join(f"{split} in {location}" for split, location in found.items())
        + ")"
        for video, found in lines.items()
        if len(found) > 1
    ]
    return {video: next(iter(found)) for video, found in lines.items()}, faults


def _boxes(rows: Sequence[Row], sizes: Sizes) -> tuple[dict[str, list[Box]], list[str]]:
    boxes: dict[str, list[Box]] = defaultdict(list)
    faults = [size.offenders[0] for size in sizes.values() if isinstance(size, FrameError)]
    clipped = 0
    for row in rows:
        size = sizes.get(row.frame)
        if row.box is None or not isinstance(size, tuple):
            continue
        drawn = _scaled(row.box, row.drawn_on or size, size)
        box = _clip(drawn, *size)
        inside = box.x0 < box.x1 and box.y0 < box.y1
        if inside and not far_beyond(drawn, *size):
            boxes[row.frame].append(box)
            clipped += box != drawn
        else:
            corners = ",".join(f"{corner:g}" for corner in drawn)
            where = "reaches far beyond" if inside else "is outside"
            hint = ": is it of another frame size?" if inside else ""
            faults.append(
                f"{row.location}: {row.frame}: box {corners} {where} its {size[0]}x{size[1]} image{hint}"
            )
    if clipped:
        logger.warning("%d box(es) reached beyond their image and were clipped to it", clipped)
    doubt_units(boxes, sizes)
    return boxes, faults


def _scaled(box: Box, drawn_on: tuple[int, int], size: tuple[int, int]) -> Box:
    if drawn_on == size:
        return box
    across, down = size[0] / drawn_on[0], size[1] / drawn_on[1]
    return Box(box.x0 * across, box.y0 * down, box.x1 * across, box.y1 * down)


def _clip(box: Box, width: int, height: int) -> Box:
    return Box(max(box.x0, 0.0), max(box.y0, 0.0), min(box.x1, float(width)), min(box.y1, float(height)))


def _few(places: Sequence[str]) -> str:
    shown = ", ".join(places[:3])
    return shown if len(places) <= 3 else f"{shown} and {len(places) - 3} more"
