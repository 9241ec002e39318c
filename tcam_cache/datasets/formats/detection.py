"""Read the formats of detectors, whose boxes belong to single pictures: COCO, YOLO, Pascal VOC."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree

import yaml

from tcam_cache.datasets.annotations import SHARE, Row, box_row
from tcam_cache.datasets.tables import read_text
from tcam_cache.errors import AnnotationError
from tcam_cache.records import SPLITS

# Folders between the top of a YOLO or VOC data set and its pictures.
_LEVELS = {"images", "labels", "annotations", "obj_train_data", "obj_valid_data", "valid", *SPLITS}
YOLO_NAMES = ("classes.txt", "obj.names")


def coco_rows(path: Path, content: Any) -> Iterator[Row | str]:
    """Yield the boxes of a COCO file, and a text for each that is no box.

    Args:
        path: the file, for messages.
        content: its JSON value.

    Raises:
        AnnotationError: it is not an instances file of COCO.
    """
    try:
        images = {image["id"]: image for image in content["images"]}
        names = {category["id"]: str(category["name"]) for category in content["categories"]}
        annotations = list(content["annotations"])
    except (KeyError, TypeError) as error:
        raise AnnotationError(
            f"{path} is no COCO file: expected images, categories and annotations, each with its id. "
            "Export it as COCO."
        ) from error
    for annotation in annotations:
        location = f"annotation {annotation.get('id') if isinstance(annotation, Mapping) else annotation}"
        try:
            image = images[annotation["image_id"]]
            x, y, width, height = map(float, annotation["bbox"])
            size = image.get("width"), image.get("height")
            frame, tag = str(image["file_name"]), names[annotation["category_id"]]
        except (KeyError, TypeError, ValueError, AttributeError):
            yield f"{location}: expected image_id and category_id of the file, and bbox of four numbers"
            continue
        drawn_on = (int(size[0]), int(size[1])) if all(size) else None
        yield box_row(location, frame, tag, [x, y, x + width, y + height], drawn_on)


def yolo_rows(folder: Path) -> Iterator[Row | str]:
    """Yield the boxes of a YOLO folder, and a text for each line that is no box.

    The names of its classes are in data.yaml or another .yaml file, or line by line in classes.txt or
    obj.names. Each other .txt file has the boxes of one picture; only its path says which.

    Raises:
        AnnotationError: there are no names of classes.
    """
    names = _class_names(folder)
    for file in sorted(folder.rglob("*.txt")):
        if file.name in (*YOLO_NAMES, "train.txt", "val.txt", "test.txt"):
            continue
        name = file.relative_to(folder).as_posix()
        frame = _below_levels(name.removesuffix(".txt"))
        for number, line in enumerate(read_text(file, AnnotationError).splitlines(), start=1):
            if words := line.split():
                yield _yolo_row(f"{name} line {number}", frame, words, names)


def _yolo_row(location: str, frame: str, words: Sequence[str], names: Mapping[int, str]) -> Row | str:
    try:
        # Predictions have a sixth number, the confidence.
        index, (x, y, width, height) = int(words[0]), map(float, words[1:5])
        if len(words) > 6:
            return f"{location}: {len(words)} numbers, an outline; expected class, centre, width and height"
    except ValueError:
        return f"{location}: expected class, centre, width and height; got {' '.join(words)[:60]!r}"
    if index not in names:
        return f"{location}: class {index} has no name; there are {len(names)}"
    corners = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
    return box_row(location, frame, names[index], corners, SHARE)


def _class_names(folder: Path) -> dict[int, str]:
    for file in sorted(folder.rglob("*.yaml")) + sorted(folder.rglob("*.yml")):
        try:
            content = yaml.safe_load(read_text(file, AnnotationError))
        except yaml.YAMLError as error:
            raise AnnotationError(f"{file} is not YAML: {error}. Correct it.") from error
        names = content.get("names") if isinstance(content, dict) else None
        if isinstance(names, list | dict):
            pairs = names.items() if isinstance(names, dict) else enumerate(names)
            return {int(index): str(name) for index, name in pairs if str(index).isdecimal()}
    for file in (file for name in YOLO_NAMES for file in sorted(folder.rglob(name))):
        lines = read_text(file, AnnotationError).splitlines()
        return {index: name.strip() for index, name in enumerate(lines)}
    raise AnnotationError(
        f"{folder} is no folder of boxes: expected YOLO (data.yaml with names, or classes.txt) or Pascal VOC "
        "(.xml). Give that folder, or a file."
    )


def voc_rows(path: Path, root: ElementTree.Element, within: str = "") -> Iterator[Row | str]:
    """Yield the boxes of a Pascal VOC file, whose pixels count from 1, right and bottom inclusive.

    Args:
        path: the file.
        root: of its XML.
        within: what precedes a location in messages, such as the name of the file in a folder.

    Raises:
        AnnotationError: it is not a file of Pascal VOC.
    """
    if root.tag != "annotation":
        raise AnnotationError(
            f"{path} is XML with <{root.tag}>; expected <annotations> of CVAT or <annotation> of Pascal VOC. "
            "Export it as one of them."
        )
    frame = _voc_frame(path, root)
    width, height = (root.findtext(f"size/{side}", "").strip() for side in ("width", "height"))
    drawn_on = (int(width), int(height)) if width.isdecimal() and height.isdecimal() else None
    for number, item in enumerate(root.iter("object"), start=1):
        location = f"{within}object {number}"
        texts = [item.findtext(f"bndbox/{side}", "").strip() for side in ("xmin", "ymin", "xmax", "ymax")]
        try:
            corners = [float(text) - (place < 2) for place, text in enumerate(texts)]
        except ValueError:
            yield f"{location}: {frame}: bndbox {','.join(texts)} is not four numbers"
            continue
        yield box_row(location, frame, item.findtext("name", "").strip(), corners, drawn_on)


def _voc_frame(path: Path, root: ElementTree.Element) -> str:
    """Return the picture's path: its file name below its folder, unless that is a mere level."""
    name = (root.findtext("filename") or path.stem).replace("\\", "/").strip()
    folder = (root.findtext("folder") or "").replace("\\", "/").strip()
    return _below_levels(f"{folder}/{name}" if folder and "/" not in name else name)


def _below_levels(name: str) -> str:
    """Return a path without the folders of a format around it.

    >>> _below_levels("labels/train/0001/frame0001"), _below_levels("a/labels/b")
    ('0001/frame0001', 'b')
    """
    folders = PurePosixPath(name).parts[:-1]
    last = max((place for place, part in enumerate(folders) if part.lower() in _LEVELS), default=-1)
    return "/".join(PurePosixPath(name).parts[last + 1 :])
