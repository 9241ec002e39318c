"""Annotations: boxes and splits, checked against the frames; all errors are reported at once."""

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, Self

from tcam_cache.datasets.box_units import checked_box, doubt_units, far_beyond, parsed_box
from tcam_cache.datasets.frame_names import ShotFrame, frames_named, meant_paths, plain_path
from tcam_cache.datasets.frames import image_sizes
from tcam_cache.errors import AnnotationError, FrameError
from tcam_cache.names import one_name
from tcam_cache.records import Box, Shot

# Sizes of the image that shares and percentages of it are drawn on.
SHARE, PERCENT = (1, 1), (100, 100)
_SHARES = (SHARE, PERCENT)

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
        number: None, or of the frame in its video, from 0; `frame` is then the path of the video.
    """

    location: str
    frame: str
    tag: str
    box: Box | None
    split: str
    drawn_on: tuple[int, int] | None = None
    number: int | None = None


@dataclass(frozen=True)
class Annotations:
    """The rows of an annotation file.

    Attributes:
        path: the file, for messages.
        rows: the valid rows, in the file's order.
        faults: one text for each invalid row; `attach` reports them together with its own.
        elsewhere: whether another program named the frames, by paths below a folder of its own.
    """

    path: Path
    rows: tuple[Row, ...]
    faults: tuple[str, ...] = ()
    elsewhere: bool = False

    @classmethod
    def of(cls, path: Path, entries: Iterable[Row | str], elsewhere: bool = False) -> Self:
        """Return the annotations of a file, from its rows and one text for each invalid one."""
        entries = list(entries)
        rows = tuple(row for row in entries if isinstance(row, Row))
        return cls(path, rows, tuple(fault for fault in entries if isinstance(fault, str)), elsewhere)


def without_frames(annotations: Annotations, paths: Collection[str]) -> Annotations:
    """Return annotations without the rows of some frames or videos, given by their paths."""
    names = {row.frame: row.frame.rpartition("/")[0] for row in annotations.rows if row.frame}
    every = {*names, *names.values()} - {""}
    left = set(meant_paths(paths, every) if annotations.elsewhere else every & set(paths))
    rows = (row for row in annotations.rows if not {row.frame, names.get(row.frame)} & left)
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
    rows, places, absent = _located(shots, annotations)
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


def box_row(
    location: str,
    frame: str,
    tag: str,
    corners: Sequence[str | float],
    drawn_on: tuple[int, int] | None = None,
    number: int | None = None,
) -> Row | str:
    """Return the row of a box, or a text that says what is wrong with it.

    Args:
        location: of the row in its file.
        frame: see `Row`, as are `tag`, `drawn_on` and `number`.
        tag: of the box.
        corners: x0, y0, x1, y1 in pixels of an image of the size `drawn_on`.
        drawn_on: (1, 1) where corners are shares, (100, 100) where they are percent.
        number: of the frame.
    """
    try:
        box = parsed_box(corners) if drawn_on in _SHARES else checked_box(corners)
    except ValueError as error:
        return f"{location}: {frame}{'' if number is None else f' frame {number}'}: {error}"
    return Row(location, frame, tag, box, "", drawn_on, number)


def _located(
    shots: Sequence[Shot], annotations: Annotations
) -> tuple[list[Row], dict[str, ShotFrame], list[str]]:
    """Return the rows with the frames' own paths, the places of those frames, and faults for other rows."""
    wanted = {(row.frame, row.number): None for row in annotations.rows}
    named = frames_named(shots, wanted) if annotations.elsewhere else _frames_at(shots, wanted)
    rows, places, faults = [], {}, []
    known = {shot.path(t).casefold(): shot.path(t) for shot in shots for t in range(len(shot))}
    for row in annotations.rows:
        meant = named.get((row.frame, row.number), [])
        # Every class may have a video 0001: the tag says which is meant.
        meant = [place for place in meant if one_name(place[0].tag) == one_name(row.tag)] or meant
        if len(meant) == 1:
            ((shot, t),) = meant
            places[shot.path(t)] = shot, t
            rows.append(row._replace(frame=shot.path(t)))
            continue
        name = row.frame if row.number is None else f"frame {row.number} of {row.frame or 'a video'}"
        other = known.get(row.frame.casefold())
        if meant:
            paths = _few([shot.path(t) for shot, t in meant])
            faults.append(f"{row.location}: {name} may be {paths}; name it by its path")
        else:
            hint = f"; {other} is, in another case" if other else ""
            faults.append(f"{row.location}: {name} is not there{hint}")
    return rows, places, faults


def _frames_at(
    shots: Sequence[Shot], wanted: Iterable[tuple[str, int | None]]
) -> dict[tuple[str, int | None], list[ShotFrame]]:
    frames = {plain_path(shot.path(t)): (shot, t) for shot in shots for t in range(len(shot))}
    return {key: [frames[path]] for key in wanted if (path := plain_path(key[0])) in frames}


def _example(shots: Sequence[Shot]) -> str:
    return f", such as {shots[0].path(0)}" if shots else ""


def _class_faults(rows: Sequence[Row], videos: Mapping[str, Shot]) -> Iterator[str]:
    lines: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for row in rows:
        shot = videos[row.frame]
        if one_name(row.tag) != one_name(shot.tag):
            lines[shot.video, shot.tag, row.tag].append(row.location)
    for (video, tag, other), locations in lines.items():
        yield f"video {video}: lies under class {tag!r}, but {_few(locations)} says {other!r}"


def _video_splits(rows: Sequence[Row], videos: Mapping[str, Shot]) -> tuple[dict[str, str], list[str]]:
    lines: dict[str, dict[str, str]] = defaultdict(dict)
    for row in rows:
        if row.split:
            lines[videos[row.frame].video].setdefault(row.split, row.location)
    faults = [
        f"video {video}: in {len(splits)} splits ("
        + ", ".join(f"{split} in {location}" for split, location in splits.items())
        + ")"
        for video, splits in lines.items()
        if len(splits) > 1
    ]
    return {video: next(iter(splits)) for video, splits in lines.items()}, faults


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
