"""The `ytov1` layout: YouTube-Objects v1.0 as distributed, a sidecar .mat beside each annotated frame."""

import logging
import random
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from tcam_cache.datasets.annotations import Row
from tcam_cache.datasets.frames import image_sizes
from tcam_cache.datasets.layouts.expected import published_data
from tcam_cache.datasets.layouts.scan import Findings, Scan, open_root
from tcam_cache.datasets.listing import absent, is_folder, list_folder
from tcam_cache.datasets.manifest import STORED
from tcam_cache.records import Shot

LAYOUT = "ytov1"
VALIDATION_VIDEOS = 5
SIDECAR = "_sticks.mat"
SETS = ("train", "test")
# Known defects of the distribution, and their corrections.
SWAPPED = "horse/data/0004/shots/055/frame0020.jpg"
TOO_WIDE = "boat/data/0006/shots/026/frame0001.jpg"
_SHUFFLES = 1000
_NO_CLASS = ("code", "vo-release")

logger = logging.getLogger(__name__)


def scan_ytov1(root: Path | str, orientation: str = STORED) -> Scan:
    """Scan CLASS/data/VIDEO/shots/SHOT/frame*.jpg, CLASS/sets/{train,test}.txt and the sidecar files.

    A sidecar FRAME_sticks.mat holds the boxes of its frame, a cell array named `coor`. Ids are the published
    ones: the folders themselves. Test videos are those of test.txt; of the annotated videos of train.txt five
    a class, drawn as published, are val (`published_validation`).

    Known defects, corrected with a line in the log: empty shots are left out; corners beyond the image are
    clipped to it; the box of SWAPPED has x0 and x1 exchanged; the box of TOO_WIDE ends one pixel before
    the image does. Any other box in the wrong order is a fault.

    Args:
        root: the data set.
        orientation: of the images that boxes are drawn on; published boxes are for stored pixels.

    Raises:
        ManifestError: the root is missing.
    """
    root, classes = open_root(root), published_data(LAYOUT).classes
    present = list_folder(root).folders
    findings = Findings()
    findings.faults += (f"class {absent(tag, present)}" for tag in classes if tag not in present)
    for name in present:
        if name in classes:
            _add_class(root, name, classes.index(name), findings)
        elif is_folder(root / name / "data") or is_folder(root / name / "sets"):
            findings.faults.append(f"class {name} is none of {', '.join(classes)}")
        elif name not in _NO_CLASS:
            findings.notes["folder(s) that are no class ignored"].append(name)
    findings.rows = _cut_too_wide(root, findings.rows)
    empty = len(findings.notes["empty shot(s) left out"])
    return findings.scan(root, LAYOUT, classes, orientation, {"empty_shots": empty} if empty else {})


def published_validation(videos: Iterable[str], class_number: int) -> list[str]:
    """Return the published choice of five val videos among a class's annotated training videos.

    The published lists follow from the sorted names, shuffled a thousand times by Python's generator with
    the class's number as its seed.

    >>> sorted(published_validation([f"{n:04d}" for n in (1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13)], 0))
    ['0001', '0004', '0005', '0008', '0011']
    """
    names, generator = sorted(videos), random.Random(class_number)
    for _ in range(_SHUFFLES):
        generator.shuffle(names)
    return names[:VALIDATION_VIDEOS]


def _add_class(root: Path, tag: str, number: int, findings: Findings) -> None:
    sets = {name: _read_set(root, f"{tag}/sets/{name}.txt", findings.faults) for name in SETS}
    on_disk = list_folder(root / tag / "data").folders if is_folder(root / tag / "data") else []
    findings.faults += (
        f"video {tag}/data/{video} is in both sets" for video in sets["train"] if video in sets["test"]
    )
    listed = [*sets["train"], *sets["test"]]
    stray = [video for video in on_disk if video not in listed]
    findings.notes["video(s) in neither set left out"] += (f"{tag}/data/{video}" for video in stray)
    annotated = set()
    for video in dict.fromkeys(listed):
        folder = f"{tag}/data/{video}"
        if not is_folder(root / folder / "shots"):
            missing = video if video not in on_disk else f"{video}/shots"
            findings.faults.append(f"video {tag}/data/{absent(missing, on_disk)}, but in {tag}/sets")
            continue
        before = len(findings.rows)
        for shot in list_folder(root / folder / "shots").folders:
            _add_shot(root, tag, folder, f"{folder}/shots/{shot}", findings)
        if len(findings.rows) > before:
            annotated.add(video)
    candidates = annotated.intersection(sets["train"])
    chosen = dict.fromkeys(published_validation(candidates, number), "val")
    chosen |= dict.fromkeys(sets["test"], "test")
    findings.splits |= {f"{tag}/data/{video}": split for video, split in chosen.items()}


def _read_set(root: Path, name: str, faults: list[str]) -> list[str]:
    try:
        lines = (root / name).read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        reason = "is not text" if isinstance(error, UnicodeDecodeError) else "is missing"
        faults.append(f"{name} {reason}")
        return []
    faults += (f"{name}: {line!r} is no number of a video" for line in lines if not line.isdecimal())
    return [line for line in lines if line.isdecimal()]


def _add_shot(root: Path, tag: str, video: str, folder: str, findings: Findings) -> None:
    listing = list_folder(root / folder)
    frames = listing.images
    if frames:
        findings.shots.append(Shot(folder, tag, video, "train", folder, tuple(frames)))
        if _has_gap(frames):
            findings.notes["shot(s) with gaps in the numbers of their frames"].append(folder)
    else:
        findings.notes["empty shot(s) left out"].append(folder)
    known = set(frames)
    for sidecar in listing.others:
        name = sidecar.removesuffix(SIDECAR)
        if name == sidecar:
            continue
        if name in known:
            _add_boxes(root, tag, f"{folder}/{name}", findings)
        else:
            findings.faults.append(f"{folder}/{absent(name, frames)}, but it has boxes")


def _has_gap(frames: Sequence[str]) -> bool:
    first, last = (name.rpartition(".")[0].removeprefix("frame") for name in (frames[0], frames[-1]))
    return first.isdecimal() and last.isdecimal() and int(last) - int(first) + 1 != len(frames)


def _add_boxes(root: Path, tag: str, frame: str, findings: Findings) -> None:
    value = findings.read(Path(f"{frame}{SIDECAR}"), root, "coor")
    if value is None:
        return
    for corners in value if isinstance(value, list) else np.atleast_2d(value):
        numbers = corners.flatten().tolist() if isinstance(corners, np.ndarray) else [str(corners)]
        if frame == SWAPPED and len(numbers) == 4 and numbers[0] > numbers[2]:
            logger.warning("%s: x0 and x1 of its box were exchanged, a known defect; put in order", frame)
            numbers = [numbers[2], numbers[1], numbers[0], numbers[3]]
        findings.add_box("sidecar", frame, tag, numbers)


def _cut_too_wide(root: Path, rows: Sequence[Row]) -> list[Row]:
    size = image_sizes(root, {row.frame for row in rows if row.frame == TOO_WIDE}).get(TOO_WIDE)
    mended = []
    for row in rows:
        if row.frame == TOO_WIDE and isinstance(size, tuple) and row.box and row.box.x1 > size[0]:
            logger.warning(
                "%s: its box is wider than the image, a known defect; cut one pixel short", row.frame
            )
            row = row._replace(box=row.box._replace(x1=float(size[0] - 1)))
        mended.append(row)
    return mended
