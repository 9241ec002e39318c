"""The split files of the WSOL evaluation protocol: one folder per split with four comma-separated files."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tcam_cache.datasets.box_units import checked_box
from tcam_cache.datasets.layouts.class_names import read_class_names
from tcam_cache.datasets.picture_files import is_picture
from tcam_cache.datasets.tables import read_text
from tcam_cache.errors import ManifestError
from tcam_cache.names import one_name
from tcam_cache.records import SPLITS, Box

IDS, LABELS, SIZES, BOXES = "image_ids.txt", "class_labels.txt", "image_sizes.txt", "localization.txt"
CLASSES = "class_id.yaml"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SplitFiles:
    """The content of one folder of split files.

    Attributes:
        folder: the folder, for messages.
        classes: names in the order of their numbers.
        ids: for each split the class of every listed path; a path is an image, or the folder of a shot.
        sizes: (width, height) of the images that the boxes were drawn in, by path.
        boxes: (path, box, file and line) of every box, in the files' order.
        faults: one text for each line that cannot be used.
    """

    folder: Path
    classes: tuple[str, ...]
    ids: Mapping[str, Mapping[str, str]]
    sizes: Mapping[str, tuple[int, int]]
    boxes: tuple[tuple[str, Box, str], ...]
    faults: tuple[str, ...]


def read_split_files(folder: Path | str) -> SplitFiles:
    """Read those of `train/`, `val/` and `test/` that exist below a folder.

    The lines have no header: `path` in image_ids.txt, `path,class` in class_labels.txt, `path,width,height`
    in image_sizes.txt and `path,x0,y0,x1,y1`, one line a box, in localization.txt; the last two may be
    absent or empty. Where localization.txt names masks (`path,mask,ignored`, OpenImages), there are no boxes,
    which is logged. Class numbers are named by class_id.yaml, else by a folder of the paths; without such
    folders the numbers are the names. The box 0,0,0,0 is the format's mark for a frame without a box.

    Raises:
        ManifestError: there are no split files in the folder, or they are not text.
    """
    folder = Path(folder)
    present = [split for split in SPLITS if (folder / split / IDS).is_file()]
    if not present:
        raise ManifestError(
            f"there are no split files in {folder}. Expected {'/, '.join(SPLITS)}/ or some of them, "
            f"each with {IDS}, {LABELS}, {SIZES} and {BOXES}."
        )
    faults: list[str] = []
    labels = {split: _labels(folder, split, faults) for split in present}
    names = read_class_names(folder / CLASSES, labels, faults)
    ids: dict[str, dict[str, str]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    boxes: list[tuple[str, Box, str]] = []
    for split in present:
        known = {path: names[number] for path, number in labels[split].items() if number in names}
        ids[split] = known
        sizes |= dict(_sizes(folder, split, known, faults))
        boxes += _boxes(folder, split, known, sizes, faults)
    classes = tuple(names[number] for number in sorted(names))
    return SplitFiles(folder, classes, ids, sizes, tuple(boxes), tuple(faults))


def video_of(folder: str) -> str:
    """Return the video of a shot's folder: its parent folder, skipping a folder named "shots".

    >>> [video_of(name) for name in ("bird/0001", "bird/0001/001", "bird/data/0001/shots/001")]
    ['bird/0001', 'bird/0001', 'bird/data/0001']
    """
    parts = folder.split("/")
    if len(parts) < 3:
        return folder
    return "/".join(parts[:-2] if parts[-2] == "shots" else parts[:-1])


def read_video_splits(path: Path | str) -> dict[str, str]:
    """Return the split of every video that a file lists.

    Args:
        path: a folder of split files, or a text file with a line `video,split` for each video.

    Raises:
        ManifestError: the file cannot be read, or lines of it cannot be used; all are listed.
    """
    path = Path(path)
    pairs, faults = [], []
    if path.is_dir():
        files = read_split_files(path)
        faults += files.faults
        for split, ids in files.ids.items():
            pairs += [(video_of(_shot_folder(name)), split, f"{split}/{IDS}") for name in ids]
    else:
        for location, (video, split) in _lines(path, 2, faults):
            pairs.append((video, split, location))
            if split not in SPLITS:
                faults.append(f"{location}: split {split!r} is none of {', '.join(SPLITS)}")
    splits: dict[str, str] = {}
    for video, split, location in dict.fromkeys(pairs):
        if splits.setdefault(video, split) != split:
            faults.append(f"{location}: video {video} is in {splits[video]} already")
    if faults:
        raise ManifestError(f"{path} has {len(faults)} line(s) that cannot be used. Correct them.", faults)
    return splits


def _shot_folder(path: str) -> str:
    return path.rpartition("/")[0] if is_picture(path) else path


def _labels(folder: Path, split: str, faults: list[str]) -> dict[str, int]:
    listed = {}
    for location, (path,) in _lines(folder / split / IDS, 1, faults, folder):
        if listed.setdefault(path, location) != location:
            faults.append(f"{location}: {path} is listed twice, first in {listed[path]}")
    labels = {}
    for location, (path, number) in _lines(folder / split / LABELS, 2, faults, folder):
        if path not in listed:
            faults.append(f"{location}: {path} is not in {IDS}")
        elif not number.isdecimal():
            faults.append(f"{location}: class {number!r} of {path} is not a number")
        else:
            labels[path] = int(number)
    faults += (f"{listed[path]}: {path} has no class in {LABELS}" for path in listed if path not in labels)
    return labels


def _sizes(
    folder: Path, split: str, known: Mapping[str, str], faults: list[str]
) -> Iterator[tuple[str, tuple[int, int]]]:
    for location, (path, *numbers) in _lines(folder / split / SIZES, 3, faults, folder):
        if path not in known:
            faults.append(f"{location}: {path} is not in {IDS}")
        elif not all(number.isdecimal() and int(number) for number in numbers):
            faults.append(f"{location}: size {','.join(numbers)} of {path} is not two whole numbers above 0")
        else:
            yield path, (int(numbers[0]), int(numbers[1]))


def _boxes(
    folder: Path, split: str, known: Mapping[str, str], sizes: Mapping[str, Any], faults: list[str]
) -> Iterator[tuple[str, Box, str]]:
    if _names_masks(folder / split / BOXES):
        logger.warning("%s/%s names masks, which are not read: %s has no boxes", split, BOXES, split)
        return
    for location, (path, *numbers) in _lines(folder / split / BOXES, 5, faults, folder):
        if path not in known:
            faults.append(f"{location}: {path} is not in {IDS}")
        elif all(number.strip("0.") == "" for number in numbers):
            continue
        elif path not in sizes:
            faults.append(f"{location}: {path} has a box, but no size in {SIZES}")
        else:
            try:
                yield path, checked_box(numbers), location
            except ValueError as error:
                faults.append(f"{location}: {path}: {error}")


def _lines(
    path: Path, cells: int, faults: list[str], root: Path | None = None
) -> Iterator[tuple[str, list[str]]]:
    """Yield (where, cells) of every line; a path may hold commas, so cells are counted from the right."""
    name = path.relative_to(root).as_posix() if root else path.name
    if not path.is_file() and path.name in (SIZES, BOXES):
        return
    for number, line in enumerate(_text_lines(path), start=1):
        values = [cell.strip() for cell in one_name(line).rsplit(",", cells - 1)]
        if not line.strip():
            continue
        if len(values) != cells or not values[0]:
            faults.append(f"{name} line {number}: {line!r} has not {cells} cells")
        else:
            yield f"{name} line {number}", values


def _names_masks(path: Path) -> bool:
    first = next((line for line in _text_lines(path) if line.strip()), "") if path.is_file() else ""
    cells = first.split(",")
    return len(cells) == 3 and cells[1].strip().lower().endswith(".png")


def _text_lines(path: Path) -> list[str]:
    # Not splitlines: a file name may contain one of the rarer line separators.
    return read_text(path, ManifestError).split("\n")
