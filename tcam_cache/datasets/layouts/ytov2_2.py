"""The `ytov2.2` layout: YouTube-Objects v2.2 as it is distributed, shots as ranges of a class's frames."""

import logging
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tcam_cache.datasets.layouts.expected import published_data
from tcam_cache.datasets.layouts.scan import Findings, Scan, open_root
from tcam_cache.datasets.listing import absent, is_folder, list_folder
from tcam_cache.datasets.manifest import STORED
from tcam_cache.records import Shot

LAYOUT = "ytov2.2"
VALIDATION_VIDEOS = 3
# The MATLAB variable that holds the ground truth, by split.
TRUTH = {"train": "bb_gtTraining", "test": "bb_gtTest"}
# A known defect of the distribution: this frame is the last of one range and the first of the next.
SHARED_FRAME = ("horse", 38465)

logger = logging.getLogger(__name__)


class _Range(NamedTuple):
    """A column of ranges_CLASS.mat: a shot, frames `first` to `last`, both included."""

    column: int
    first: int
    last: int
    video: int


def scan_ytov2_2(root: Path | str, orientation: str = STORED) -> Scan:
    """Scan CLASS/*.jpg, Ranges/ranges_CLASS.mat and GroundTruth/CLASS/bb_gt{Training,Test}_CLASS.mat.

    A column of the ranges is a shot: its first frame, its last frame, its video. Ids are the published ones,
    CLASS/video-VVVV/shot-SSSSSS with the number of the column, counted from 0. Test videos are those with
    boxes in bb_gtTest; of the videos with boxes in bb_gtTraining the first three a class, in the order of
    the ranges, are val, as published.

    Known defect, corrected with a line in the log: frame 38465 of class horse is in two ranges; it is kept in
    the first. Any other overlap is a fault, and so is every frame of a range that is not there.

    Args:
        root: the data set.
        orientation: of the images that boxes are drawn on; published boxes are for stored pixels.

    Raises:
        ManifestError: the root is missing.
    """
    root, classes = open_root(root), published_data(LAYOUT).classes
    findings = Findings()
    present = list_folder(root).folders
    findings.faults += _other_classes(root, classes)
    for tag in classes:
        if tag in present:
            _add_class(root, tag, findings)
        else:
            findings.faults.append(f"class {absent(tag, present)}")
    return findings.scan(root, LAYOUT, classes, orientation)


def _other_classes(root: Path, classes: Sequence[str]) -> Iterator[str]:
    ranges = list_folder(root / "Ranges").others if is_folder(root / "Ranges") else []
    truth = list_folder(root / "GroundTruth").folders if is_folder(root / "GroundTruth") else []
    named = [
        name.removeprefix("ranges_").removesuffix(".mat") for name in ranges if name.startswith("ranges_")
    ]
    for name in dict.fromkeys([*named, *truth]):
        if name not in classes:
            yield f"class {name} is none of {', '.join(classes)}"


def _add_class(root: Path, tag: str, findings: Findings) -> None:
    ranges = _read_ranges(root, tag, findings)
    images = list_folder(root / tag).images
    known, taken = set(images), set()
    highest = max((int(name[:8]) for name in images if name[:8].isdecimal()), default=0)
    video_of: dict[int, str] = {}
    for span in _without_overlaps(tag, ranges, findings.faults):
        video = f"{tag}/video-{span.video:04d}"
        shot = f"{video}/shot-{span.column:06d}"
        numbers = range(span.first, min(span.last, highest) + 1)
        names = [f"{number:08d}.jpg" for number in numbers]
        findings.faults += _missing(tag, shot, [name for name in names if name not in known], images)
        if span.last > highest:
            findings.faults.append(
                f"{tag}: shot {shot}, frames {span.first} to {span.last}, runs past the last frame, {highest}"
            )
        kept = tuple(name for name in names if name in known)
        taken.update(kept)
        video_of |= dict.fromkeys(numbers, video)
        if kept:
            findings.shots.append(Shot(shot, tag, video, "train", tag, kept))
    stray = sorted(known - taken)
    findings.notes["frame(s) in no range left out"] += (f"{tag}/{name}" for name in stray)
    annotated = {name: _add_truth(root, tag, name, video_of, known, findings) for name in TRUTH}
    findings.faults += (
        f"video {video} has boxes for training and for test"
        for video in sorted(annotated["train"] & annotated["test"])
    )
    order = dict.fromkeys(f"{tag}/video-{span.video:04d}" for span in ranges)
    chosen = [video for video in order if video in annotated["train"]][:VALIDATION_VIDEOS]
    findings.splits |= dict.fromkeys(chosen, "val") | dict.fromkeys(annotated["test"], "test")
    bare = order.keys() - annotated["train"] - annotated["test"]
    findings.notes["video(s) without any box, taken as train"] += sorted(bare)


def _read_ranges(root: Path, tag: str, findings: Findings) -> list[_Range]:
    name = f"Ranges/ranges_{tag}.mat"
    value = findings.read(Path(name), root, "ranges")
    if value is None:
        return []
    if not isinstance(value, np.ndarray) or value.ndim != 2 or len(value) != 3:
        findings.faults.append(f"{name}: expected three rows: first frame, last frame, video")
        return []
    ranges = []
    for column, (first, last, video) in enumerate(value.T.tolist()):
        whole = all(math.isfinite(number) and number == int(number) for number in (first, last, video))
        span = _Range(column, *map(int, (first, last, video))) if whole else None
        if span is None or first < 1 or video < 1:
            findings.faults.append(
                f"{name}: column {column + 1}: {first:g}, {last:g}, {video:g} are not whole numbers above 0"
            )
        elif last < first:
            findings.faults.append(f"{name}: column {column + 1}: {span.first} to {span.last} runs backwards")
        else:
            ranges.append(span)
    return ranges


def _without_overlaps(tag: str, ranges: Sequence[_Range], faults: list[str]) -> list[_Range]:
    kept = {span.column: span for span in ranges}
    before = _Range(-1, 0, 0, 0)
    for after in sorted(ranges, key=lambda span: (span.first, span.column)):
        if (tag, after.first) == SHARED_FRAME and before.last == after.first < after.last:
            logger.warning(
                "%s: frame %d is in two ranges, a known defect; it stays in the first", tag, after.first
            )
            kept[after.column] = after._replace(first=after.first + 1)
        elif after.first <= before.last:
            faults.append(
                f"Ranges/ranges_{tag}.mat: columns {before.column + 1} and {after.column + 1} overlap: "
                f"frames {before.first} to {before.last} and {after.first} to {after.last}"
            )
        before = max(before, after, key=lambda span: span.last)
    return list(kept.values())


def _missing(tag: str, shot: str, names: Sequence[str], images: Sequence[str]) -> Iterator[str]:
    if len(names) == 1:
        yield f"{tag}/{absent(names[0], images)} (shot {shot})"
    elif names:
        yield f"{tag}: {len(names)} frames of shot {shot} are missing: {', '.join(names)}"


def _add_truth(
    root: Path, tag: str, part: str, video_of: dict[int, str], known: set[str], findings: Findings
) -> set[str]:
    location = f"GroundTruth/{tag}/{TRUTH[part]}_{tag}.mat"
    entries = findings.read(Path(location), root, TRUTH[part])
    videos: set[str] = set()
    for number, entry in enumerate(entries or (), start=1):
        where = f"{location} entry {number}"
        frame, boxes = _entry(entry)
        digits = frame.removeprefix(tag)
        if frame == digits or not digits.isdecimal() or boxes is None:
            findings.faults.append(f"{where}: expected an id such as {tag}00000001 and rows of four corners")
        elif int(digits) not in video_of:
            findings.faults.append(f"{where}: {frame} is in no range")
        else:
            videos.add(video_of[int(digits)])
            path = f"{tag}/{int(digits):08d}.jpg"
            if path.rpartition("/")[2] in known:
                for corners in boxes.tolist():
                    findings.add_box(where, path, tag, corners)
    return videos


def _entry(entry: Any) -> tuple[str, np.ndarray | None]:
    # The fields are identified by their types: their names are not documented.
    values = list(entry.values()) if isinstance(entry, dict) else []
    texts = [value for value in values if isinstance(value, str)]
    boxes = [
        value for value in values if isinstance(value, np.ndarray) and value.ndim == 2 and value.shape[1] == 4
    ]
    return (texts[0], boxes[0]) if len(texts) == 1 == len(boxes) else ("", None)
