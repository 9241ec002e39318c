"""Read the XML of CVAT 1.1, for pictures and for videos."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

from tcam_cache.datasets.annotations import Row, box_row
from tcam_cache.datasets.formats.tracks import KeyBox, boxes_through_time
from tcam_cache.errors import AnnotationError

_CORNERS = ("xtl", "ytl", "xbr", "ybr")
# CVAT's name of a video's frame in its format for pictures.
_FRAME_OF_A_VIDEO = re.compile(r"frame_(\d{6,})(\.\w+)?")


def cvat_rows(path: Path, root: ElementTree.Element, within: str = "") -> Iterator[Row | str]:
    """Yield the boxes of a CVAT file, and a text for each that is no box; other shapes are left out.

    Between the key frames of a track boxes are interpolated, as CVAT does.

    Args:
        path: the file, for messages.
        root: of its XML, <annotations>.
        within: what precedes a location in messages, such as the name of the file in a folder.

    Raises:
        AnnotationError: it holds the tracks of several videos.
    """
    for image in root.iter("image"):
        yield from _image_rows(image, _source(path, root, few=True), within)
    tracks = list(root.iter("track"))
    if tracks:
        video, size, end = _source(path, root), _size(root), root.findtext(".//stop_frame", "")
        for track in tracks:
            location = f"{within}track {track.get('id', '?')}"
            last = int(end) + 1 if end.isdecimal() else None
            yield from _track_rows(track, location, video, size, last)


def _image_rows(image: ElementTree.Element, video: str, within: str) -> Iterator[Row | str]:
    name, number = image.get("name", "").replace("\\", "/"), None
    if video and (frame := _FRAME_OF_A_VIDEO.fullmatch(name)):
        name, number = video, int(frame[1])
    for box in image.iter("box"):
        location = f"{within}image {image.get('id', '?')}"
        corners = _numbers(box)
        if isinstance(corners, str):
            yield f"{location}: {name}: {corners}"
            continue
        size = image.get("width", ""), image.get("height", "")
        yield box_row(location, name, box.get("label", ""), corners, _pixels(*size), number)


def _track_rows(
    track: ElementTree.Element, location: str, video: str, size: tuple[int, int] | None, end: int | None
) -> Iterator[Row | str]:
    keys = []
    for box in track.iter("box"):
        corners, frame = _numbers(box), box.get("frame", "")
        if isinstance(corners, str) or not frame.isdecimal():
            yield f"{location}: frame {frame}: {corners if isinstance(corners, str) else 'not a number'}"
            continue
        there = box.get("outside", "0") != "1"
        keys.append(KeyBox(int(frame), corners, there, there))
    for number, corners in boxes_through_time(keys, end):
        yield box_row(location, video, track.get("label", ""), corners, size, number)


def _numbers(box: ElementTree.Element) -> Sequence[float] | str:
    """Return a box's corners, or what is wrong with it."""
    texts = [box.get(side, "") for side in _CORNERS]
    try:
        corners, rotation = [float(text) for text in texts], float(box.get("rotation", "0"))
    except ValueError:
        return f"box {','.join(texts)} is not four numbers"
    return "the box is rotated; draw it upright" if rotation % 360 else corners


def _source(path: Path, root: ElementTree.Element, few: bool = False) -> str:
    """Return the name of the file's one video; "" if it names none, or several where few may be there."""
    names = list(dict.fromkeys(source.text or "" for source in root.iterfind("meta//source")))
    if len(names) > 1 and not few:
        raise AnnotationError(
            f"{path} holds the tracks of {len(names)} videos, and does not say of which each is. "
            "Export each task of the project by itself.",
            names,
        )
    return names[0].replace("\\", "/") if len(names) == 1 else ""


def _size(root: ElementTree.Element) -> tuple[int, int] | None:
    size = root.find("meta//original_size")
    return None if size is None else _pixels(size.findtext("width", ""), size.findtext("height", ""))


def _pixels(width: str, height: str) -> tuple[int, int] | None:
    return (int(width), int(height)) if width.isdecimal() and height.isdecimal() else None
