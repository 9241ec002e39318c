"""The formats of detectors, whose boxes belong to single pictures: COCO, YOLO, Pascal VOC."""

import json
import re
from pathlib import PurePosixPath
from typing import Any
from xml.etree import ElementTree

import yaml

from tcam_cache.inference.formats.footage import Footage

Files = dict[str, str]
_NO_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def coco_files(footage: Footage) -> Files:
    """Return coco.json with all frames and boxes, and coco_results.json, which `COCO.loadRes` takes."""
    images = [
        {"id": number, "file_name": footage.picture_names[one.path], "width": one.width, "height": one.height}
        for number, one in enumerate(footage.found, start=1)
    ]
    results = [
        {
            "image_id": number,
            "category_id": footage.tags[one.tag] + 1,
            "bbox": [round(value, 2) for value in _corner_and_size(one.box)],
            "score": one.score,
        }
        for number, one in enumerate(footage.found, start=1)
        if one.box
    ]
    annotations = [
        {"id": number, **result, "area": round(result["bbox"][2] * result["bbox"][3], 2), "iscrowd": 0}
        for number, result in enumerate(results, start=1)
    ]
    categories = [{"id": index + 1, "name": tag} for tag, index in footage.tags.items()]
    content = {"images": images, "annotations": annotations, "categories": categories}
    return {"coco.json": _json(content), "coco_results.json": _json(results)}


def yolo_files(footage: Footage) -> Files:
    """Return yolo/data.yaml and the labels of every frame; without a box they are empty."""
    names = {index: tag for tag, index in footage.tags.items()}
    # Without "path" the pictures are looked for beside this file, wherever the folder lies.
    data = {"train": "images", "val": "images", "names": names}
    files = {"yolo/data.yaml": yaml.safe_dump(data, allow_unicode=True, sort_keys=False)}
    for one in footage.found:
        line = ""
        if one.box:
            x, y, width, height = _corner_and_size(one.box)
            shares = (x + width / 2) / one.width, (y + height / 2) / one.height
            shares = *shares, width / one.width, height / one.height
            line = " ".join([str(footage.tags[one.tag]), *(f"{share:.6f}" for share in shares)]) + "\n"
        files[f"yolo/labels/{footage.stems[one.path]}.txt"] = line
    return files


def yolo_pictures(footage: Footage) -> dict[str, str]:
    """Return by the frame's path where its picture belongs: YOLO finds labels by the name of the picture."""
    return {
        path: f"yolo/images/{footage.stems[path]}{PurePosixPath(name).suffix}"
        for path, name in footage.picture_names.items()
    }


def voc_files(footage: Footage) -> Files:
    """Return one XML a frame below voc/, in whole pixels that count from 1, right and bottom inclusive."""
    files = {}
    for one in footage.found:
        name = PurePosixPath(footage.picture_names[one.path])
        root = ElementTree.Element("annotation")
        _add(root, folder="" if str(name.parent) == "." else str(name.parent), filename=name.name)
        _add(ElementTree.SubElement(root, "size"), width=one.width, height=one.height, depth=3)
        _add(root, segmented=0)
        if one.box:
            x0, y0, x1, y1 = map(round, one.box)
            item = ElementTree.SubElement(root, "object")
            _add(item, name=one.tag, pose="Unspecified", truncated=0, difficult=0)
            corners = {"xmin": x0 + 1, "ymin": y0 + 1, "xmax": max(x1, x0 + 1), "ymax": max(y1, y0 + 1)}
            _add(ElementTree.SubElement(item, "bndbox"), **corners)
        files[f"voc/{footage.stems[one.path]}.xml"] = xml_text(root)
    return files


def xml_text(root: ElementTree.Element) -> str:
    """Return an XML document, indented; characters that XML has no place for are replaced."""
    ElementTree.indent(root)
    text = _NO_XML.sub("\ufffd", ElementTree.tostring(root, encoding="unicode"))
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'


def _add(parent: ElementTree.Element, **texts: Any) -> None:
    for name, text in texts.items():
        ElementTree.SubElement(parent, name).text = str(text)


def _corner_and_size(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = box
    return x0, y0, x1 - x0, y1 - y0


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"
