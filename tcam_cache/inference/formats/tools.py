"""The formats of labelling tools, in which boxes of a video are tracks: CVAT and Label Studio."""

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from tcam_cache.cells import file_names
from tcam_cache.datasets.boxes_table import FoundBox
from tcam_cache.datasets.formats.label_studio import OWN_PATH
from tcam_cache.inference.formats.detection import Files, xml_text
from tcam_cache.inference.formats.footage import Footage, runs

_DECIMALS = 2
# Percent of a picture: a millionth is below a hundredth of a pixel in any picture.
_PERCENT_DECIMALS = 6


def cvat_files(footage: Footage) -> Files:
    """Return the XML of CVAT 1.1: cvat.xml of pictures or of the one video, cvat/NAME.xml of several."""
    files = {"cvat.xml": _cvat_pictures(footage)} if footage.stills else {}
    videos = footage.videos
    names = file_names(videos, ".xml")
    for video, frames in videos.items():
        alone = len(videos) == 1 and not footage.stills
        files["cvat.xml" if alone else f"cvat/{names[video]}"] = _cvat_video(footage, video, frames)
    return files


def _cvat_pictures(footage: Footage) -> str:
    root = _cvat_root(footage, "annotation", len(footage.stills))
    for number, one in enumerate(footage.stills):
        name = footage.picture_names[one.path]
        size = {"width": str(one.width), "height": str(one.height)}
        image = ElementTree.SubElement(root, "image", {"id": str(number), "name": name, **size})
        if one.box:
            facts = {
                "label": one.tag,
                "source": "auto",
                "occluded": "0",
                **_cvat_corners(one),
                "z_order": "0",
            }
            ElementTree.SubElement(image, "box", facts)
    return xml_text(root)


def _cvat_video(footage: Footage, video: str, frames: Sequence[FoundBox]) -> str:
    count = frames[-1].number + 1
    root = _cvat_root(footage, "interpolation", count, video, frames[0])
    for number, (tag, parts) in enumerate(runs(frames).items()):
        track = ElementTree.SubElement(root, "track", {"id": str(number), "label": tag, "source": "auto"})
        for part in parts:
            for one in part:
                _cvat_key(track, one, one.number, outside=False)
            # Without it the box would stay until the next run, or until the end.
            if part[-1].number + 1 < count:
                _cvat_key(track, part[-1], part[-1].number + 1, outside=True)
    return xml_text(root)


def _cvat_key(track: ElementTree.Element, one: FoundBox, frame: int, outside: bool) -> None:
    # CVAT drops boxes that are no key frames.
    facts = {"frame": str(frame), "keyframe": "1", "outside": str(int(outside)), "occluded": "0"}
    ElementTree.SubElement(track, "box", {**facts, **_cvat_corners(one), "z_order": "0"})


def _cvat_corners(one: FoundBox) -> dict[str, str]:
    corners = zip(("xtl", "ytl", "xbr", "ybr"), one.box or (), strict=True)
    return {name: f"{value:.{_DECIMALS}f}" for name, value in corners}


def _cvat_root(
    footage: Footage, mode: str, count: int, source: str = "", first: FoundBox | None = None
) -> ElementTree.Element:
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    task = ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task")
    facts = {"name": source or footage.folder, "size": count, "mode": mode, "start_frame": 0}
    for name, value in {**facts, "stop_frame": max(count - 1, 0)}.items():
        ElementTree.SubElement(task, name).text = str(value)
    labels = ElementTree.SubElement(task, "labels")
    for tag in footage.tags:
        label = ElementTree.SubElement(labels, "label")
        ElementTree.SubElement(label, "name").text = tag
        ElementTree.SubElement(label, "attributes")
    if first:
        size = ElementTree.SubElement(task, "original_size")
        ElementTree.SubElement(size, "width").text = str(first.width)
        ElementTree.SubElement(size, "height").text = str(first.height)
        ElementTree.SubElement(task, "source").text = source
    return root


def label_studio_files(footage: Footage) -> Files:
    """Return label-studio.json, one task a picture or video, and label-studio.xml, the labelling set-up.

    Addresses are those of local files below the parent of the input's folder.
    """
    tasks = [_picture_task(footage, one) for one in footage.stills]
    tasks += [_video_task(footage, video, frames) for video, frames in footage.videos.items()]
    text = json.dumps(tasks, ensure_ascii=False, indent=1) + "\n"
    return {"label-studio.json": text, "label-studio.xml": _set_up(footage)}


def _picture_task(footage: Footage, one: FoundBox) -> dict[str, Any]:
    result = []
    if one.box:
        value = {**_percent(one), "rectanglelabels": [one.tag]}
        result = [_region("box", "rectanglelabels", "image", 0, value, one, one.score)]
    name = footage.picture_names[one.path]
    return {
        "data": {"image": _address(footage, name), OWN_PATH: name},
        "predictions": [_prediction(result, [one.score])],
    }


def _video_task(footage: Footage, video: str, frames: Sequence[FoundBox]) -> dict[str, Any]:
    count, rate = frames[-1].number + 1, frame_rate(frames)
    duration = round(count / rate, 3)
    result = []
    for number, (tag, parts) in enumerate(runs(frames).items()):
        sequence = [
            {
                "frame": one.number + 1,
                "time": one.time,
                **_percent(one),
                # Whether the box stays until the next key frame.
                "enabled": one is not part[-1],
            }
            for part in parts
            for one in part
        ]
        value = {"framesCount": count, "duration": duration, "sequence": sequence, "labels": [tag]}
        score = _mean([one.score for part in parts for one in part])
        result.append(_region("box", "videorectangle", "video", number, value, frames[0], score))
    data = {"video": _address(footage, video), "fps": rate, OWN_PATH: video}
    return {"data": data, "predictions": [_prediction(result, [one.score for one in frames if one.box])]}


def _region(
    name: str, kind: str, to: str, number: int, value: dict[str, Any], one: FoundBox, score: float
) -> dict[str, Any]:
    size = {"original_width": one.width, "original_height": one.height}
    names = {"from_name": name, "to_name": to, "image_rotation": 0}
    return {"id": f"box{number}", "type": kind, **names, **size, "value": value, "score": score}


def _prediction(result: list[dict[str, Any]], scores: Sequence[float]) -> dict[str, Any]:
    # One for the whole task: of several Label Studio shows one.
    return {"model_version": "tcam_cache", "score": _mean(scores), "result": result}


def frame_rate(frames: Sequence[FoundBox]) -> float:
    """Return the mean rate of a video's frames in frames a second; of a single frame 25."""
    first, last = frames[0], frames[-1]
    seconds = (last.time or 0) - (first.time or 0)
    return round((last.number - first.number) / seconds, 3) if seconds > 0 else 25.0


def _percent(one: FoundBox) -> dict[str, float]:
    x0, y0, x1, y1 = one.box or (0, 0, 0, 0)
    shares = x0 / one.width, y0 / one.height, (x1 - x0) / one.width, (y1 - y0) / one.height
    values = (round(100 * share, _PERCENT_DECIMALS) for share in shares)
    return {**dict(zip(("x", "y", "width", "height"), values, strict=True)), "rotation": 0}


def _address(footage: Footage, path: str) -> str:
    return f"/data/local-files/?d={quote(f'{footage.folder}/{path}' if footage.folder else path)}"


def _set_up(footage: Footage) -> str:
    root = ElementTree.Element("View")
    if footage.videos:
        video = {"name": "video", "value": "$video", "framerate": "$fps"}
        ElementTree.SubElement(root, "Video", video)
        ElementTree.SubElement(root, "VideoRectangle", {"name": "box", "toName": "video"})
        labels = ElementTree.SubElement(root, "Labels", {"name": "tag", "toName": "video"})
    else:
        ElementTree.SubElement(root, "Image", {"name": "image", "value": "$image"})
        labels = ElementTree.SubElement(root, "RectangleLabels", {"name": "box", "toName": "image"})
    for tag in footage.tags:
        ElementTree.SubElement(labels, "Label", {"value": tag})
    return xml_text(root)


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 4) if values else 0.0
