"""Write found boxes in the formats that are asked for, beside boxes.csv."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tcam_cache.datasets import ImageFrames
from tcam_cache.datasets.boxes_table import FoundBox
from tcam_cache.evaluation.report.pictures import save_image
from tcam_cache.files import make_folder, storage_errors
from tcam_cache.inference.boxes_folder import BoxesFolder
from tcam_cache.inference.formats.detection import Files, coco_files, voc_files, yolo_files, yolo_pictures
from tcam_cache.inference.formats.footage import Footage
from tcam_cache.inference.formats.tools import cvat_files, label_studio_files
from tcam_cache.progress import progress_bar
from tcam_cache.records import FrameSource, Shot

PICTURES = "pictures"
WRITERS: Mapping[str, Callable[[Footage], Files]] = {
    "coco": coco_files,
    "yolo": yolo_files,
    "cvat": cvat_files,
    "label-studio": label_studio_files,
    "voc": voc_files,
}
# These know single pictures alone: frames of a video are written as pictures for them.
OF_PICTURES = {"coco", "yolo", "voc"}


def write_formats(
    folder: BoxesFolder,
    formats: Sequence[str],
    classes: Sequence[str],
    source: FrameSource,
    shot: Shot,
    root: Path,
) -> list[str]:
    """Write the frames of boxes.csv in other formats, and return the paths to open.

    Args:
        folder: with boxes.csv.
        formats: names in `WRITERS`; others, such as "csv", need nothing.
        classes: of the run.
        source: reads the frames.
        shot: all frames of the input.
        root: the folder that the frames' paths start from.

    Raises:
        StorageError: the file system refuses a write.
    """
    boxes = folder.found()
    footage = Footage(boxes, classes, root.absolute().name, _own_pictures(boxes, source, root))
    wanted = [name for name in formats if name in WRITERS]
    files: dict[str, str | None] = {}
    for name in wanted:
        files |= WRITERS[name](footage)
    texts = dict(files)
    if OF_PICTURES & set(wanted):
        files |= dict.fromkeys(f"{PICTURES}/{name}" for name in _frames_to_write(footage).values())
    links = yolo_pictures(footage) if "yolo" in wanted else {}
    folder.keep(files | dict.fromkeys(links.values()))
    if OF_PICTURES & set(wanted):
        _write_frames(folder.path / PICTURES, _frames_to_write(footage), source, shot, boxes)
    _link(folder.path, links, footage, root)
    # Of many files, that which opens the others, or their folder.
    shown = (name for name in texts if not name.startswith("yolo/labels/"))
    return list(dict.fromkeys("voc/" if name.startswith("voc/") else name for name in shown))


def _own_pictures(boxes: Sequence[FoundBox], source: FrameSource, root: Path) -> frozenset[str]:
    if not isinstance(source, ImageFrames):
        return frozenset()
    return frozenset(one.path for one in boxes if (root / one.path).is_file())


def _frames_to_write(footage: Footage) -> dict[str, str]:
    """Return the names of the pictures of all frames that are no picture files, by the frame's path."""
    return {path: name for path, name in footage.picture_names.items() if path not in footage.pictures}


def _write_frames(
    folder: Path, names: Mapping[str, str], source: FrameSource, shot: Shot, boxes: Sequence[FoundBox]
) -> None:
    places = {name: t for t, name in enumerate(shot.frames)}
    left = [one for one in boxes if one.path in names]
    with progress_bar(len(left), "pictures", "frame") as bar:
        for one in left:
            pixels = source.read(shot, places[one.frame]).pixels
            save_image(folder / names[one.path], pixels)
            bar.update()


def _link(folder: Path, links: Mapping[str, str], footage: Footage, root: Path) -> None:
    """Link each frame's picture to where YOLO looks for it."""
    for path, link in links.items():
        place = folder / link
        picture = folder / PICTURES / footage.picture_names[path]
        goal = root.absolute() / path if path in footage.pictures else os.path.relpath(picture, place.parent)
        make_folder(place.parent)
        with storage_errors(place):
            place.unlink(missing_ok=True)
            place.symlink_to(goal)
