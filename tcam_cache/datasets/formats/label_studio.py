"""Read the JSON that Label Studio exports, of pictures and of videos."""

import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tcam_cache.datasets.annotations import PERCENT, Row, box_row
from tcam_cache.datasets.formats.tracks import KeyBox, boxes_through_time
from tcam_cache.errors import AnnotationError

# Under this name a task that `predict` wrote has the frame's or video's path; exports keep it.
OWN_PATH = "tcam_cache"
# Label Studio puts this before the name of a file that was uploaded to it.
_UPLOADED = re.compile(r"(.*/)?upload/(\d+/)?[0-9a-f]{8}-(.+)")

logger = logging.getLogger(__name__)


def label_studio_rows(path: Path, content: Any) -> Iterator[Row | str]:
    """Yield the boxes of an export of Label Studio, and a text for each that is no box.

    Of a task with annotations the last that was not cancelled counts; without any its predictions do.
    Between the key frames of a video boxes are interpolated, as Label Studio does. Other kinds of regions are
    left out, with one counted warning.

    Args:
        path: the file, for messages.
        content: its JSON value.

    Raises:
        AnnotationError: it is not a list of tasks.
    """
    if not isinstance(content, list) or not all(isinstance(task, Mapping) for task in content):
        raise AnnotationError(f"{path} is JSON, but no list of tasks. Export it from Label Studio as JSON.")
    others = 0
    for number, task in enumerate(content, start=1):
        location = f"task {task.get('id', number)}"
        try:
            source, regions = _source(task), _regions(task)
            boxes = [region for region in regions if region["type"] in _READERS]
            others += len(regions) - len(boxes)
            for region in boxes:
                yield from _READERS[region["type"]](location, source, region["value"])
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            yield f"{location}: not as Label Studio exports it as JSON ({type(error).__name__}: {error})"
    if others:
        logger.warning("%s: %d region(s) are no boxes and left out", path, others)


def _regions(task: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    done = [one for one in task.get("annotations") or [] if not one.get("was_cancelled")]
    predicted = task.get("predictions") or []
    if task.get("annotations"):
        return list(done[-1]["result"]) if done else []
    return list(predicted[-1]["result"]) if predicted and isinstance(predicted[-1], Mapping) else []


def _source(task: Mapping[str, Any]) -> str:
    """Return the path of the picture or video of a task.

    >>> _source({"data": {"image": "/data/local-files/?d=dog/a%20b.jpg"}})
    'dog/a b.jpg'
    >>> _source({"data": {"video": "/data/upload/3/0123abcd-clip.mp4", "fps": 25}})
    'clip.mp4'
    """
    data = task["data"]
    if isinstance(data.get(OWN_PATH), str):
        return data[OWN_PATH]
    names = [data[key] for key in ("image", "video") if key in data]
    url = names[0] if names else next(value for value in data.values() if isinstance(value, str))
    parts = urlsplit(url)
    below = parse_qs(parts.query).get("d") if "local-files" in parts.path else None
    name = below[0] if below else unquote(parts.path if parts.scheme else url)
    return (uploaded[3] if (uploaded := _UPLOADED.fullmatch(name)) else name).lstrip("/")


def _picture_rows(location: str, source: str, value: Mapping[str, Any]) -> Iterator[Row | str]:
    if fault := _fault(value):
        yield f"{location}: {source}: {fault}"
    else:
        yield box_row(location, source, str(value["rectanglelabels"][0]), _corners(value), PERCENT)


def _video_rows(location: str, source: str, value: Mapping[str, Any]) -> Iterator[Row | str]:
    tag, sequence = str(value["labels"][0]), value["sequence"]
    if fault := next(filter(None, map(_fault, sequence)), ""):
        yield f"{location}: {source}: {fault}"
        return
    keys = [
        KeyBox(int(key["frame"]) - 1, _corners(key), lasts=bool(key.get("enabled", True))) for key in sequence
    ]
    count = value.get("framesCount")
    for number, corners in boxes_through_time(keys, int(count) if count else None):
        yield box_row(location, source, tag, corners, PERCENT, number)


def _corners(value: Mapping[str, Any]) -> list[float]:
    x, y, width, height = (float(value[side]) for side in ("x", "y", "width", "height"))
    return [x, y, x + width, y + height]


def _fault(value: Mapping[str, Any]) -> str:
    return "the box is rotated; draw it upright" if float(value.get("rotation") or 0) % 360 else ""


_READERS = {"rectanglelabels": _picture_rows, "videorectangle": _video_rows}
