"""The `wsol` layout: whatever the split files of the WSOL evaluation protocol list, read and written."""

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from tcam_cache.datasets.annotations import Row
from tcam_cache.datasets.images import image_sizes
from tcam_cache.datasets.listing import SUFFIXES, absent, is_folder, list_folder, natural_key
from tcam_cache.datasets.manifest import Manifest
from tcam_cache.datasets.scan import Scan, open_root
from tcam_cache.datasets.sources import STORED, is_upright
from tcam_cache.datasets.split_files import (
    BOXES,
    CLASSES,
    IDS,
    LABELS,
    SIZES,
    SplitFiles,
    read_split_files,
    video_of,
)
from tcam_cache.errors import FrameError
from tcam_cache.files import write_text
from tcam_cache.records import SPLITS, Shot

LAYOUT = "wsol"

logger = logging.getLogger(__name__)


def scan_wsol(root: Path | str, splits: Path | str, orientation: str = STORED) -> Scan:
    """Look up what split files list: a line names a folder, a whole shot, or an image, that frame alone.

    Frames of one folder are one shot, in natural order. Boxes are scaled from the sizes that the files
    state to the images as they are, so that thumbnails can stand for the originals.

    Args:
        root: the folder that the listed paths are relative to.
        splits: the folder of split files, see `read_split_files`.
        orientation: of the images that boxes are drawn on; as stored is what the protocol does.

    Raises:
        ManifestError: the root or the split files are missing.
    """
    root = open_root(root)
    files = read_split_files(splits)
    faults = list(files.faults)
    shots = sorted(_shots(root, files, faults), key=lambda shot: natural_key(shot.id))
    tags = {path: tag for ids in files.ids.values() for path, tag in ids.items()}
    there = {shot.path(t) for shot in shots for t in range(len(shot))}
    rows = [
        Row(place, path, tags[path], box, "", files.sizes[path])
        for path, box, place in files.boxes
        if path in there
    ]
    facts = {"orientation": orientation}
    return Scan(root, LAYOUT, files.classes, tuple(shots), tuple(faults), facts).with_boxes(rows)


def write_wsol(manifest: Manifest, folder: Path | str) -> None:
    """Write a manifest as split files: train as its shots, val and test as their annotated frames.

    A path is the shot's id, for a frame with its name below it: the published paths of both YouTube-Objects
    data sets. What the format cannot hold is left out and counted: frames of val and test without a box,
    and boxes of train. Sizes and boxes are those of frames as the manifest has them, upright or stored;
    the format does not say which.

    Args:
        manifest: the data set.
        folder: gets `train/`, `val/`, `test/` and class_id.yaml.

    Raises:
        FrameError: an annotated frame cannot be read.
        StorageError: the file system refuses the write.
    """
    folder = Path(folder)
    numbers = {tag: number for number, tag in enumerate(manifest.classes)}
    pairs = ", ".join(f"{tag}: {number}" for tag, number in numbers.items())
    write_text(folder / CLASSES, f"{{{pairs}}}\n")
    for split in SPLITS:
        shots = manifest.split(split)
        if not shots:
            continue
        lines = _train_lines(shots, numbers) if split == "train" else _frame_lines(manifest, shots, numbers)
        for name, rows in lines.items():
            write_text(folder / split / name, "".join(f"{row}\n" for row in rows))


def _shots(root: Path, files: SplitFiles, faults: list[str]) -> Iterator[Shot]:
    for split, ids in files.ids.items():
        # The images that are listed of each folder; a folder that is listed itself is a whole shot.
        listed: dict[str, list[str]] = defaultdict(list)
        for path in ids:
            folder, _, name = path.rpartition("/")
            if not path.lower().endswith(SUFFIXES):
                listed.setdefault(path, [])
            elif folder:
                listed[folder].append(name)
            else:
                faults.append(f"{path} lies in no folder: its shot and video are not known")
        for folder, names in listed.items():
            present = _images_in(root, folder, names, faults)
            wanted = set(present if folder in ids else names)
            kept = [name for name in present if name in wanted]
            tags = {ids[path] for path in (folder, *(f"{folder}/{name}" for name in names)) if path in ids}
            if len(tags) > 1:
                faults.append(f"shot {folder} has frames of {len(tags)} classes: {', '.join(sorted(tags))}")
            elif kept:
                yield Shot(folder, *tags, video_of(folder), split, folder, tuple(kept))


def _images_in(root: Path, folder: str, names: Sequence[str], faults: list[str]) -> list[str]:
    if not is_folder(root / folder):
        faults += [f"{folder}/{name} is missing" for name in names] or [f"shot {folder} is missing"]
        return []
    present = list_folder(root / folder).images
    known = set(present)
    faults += [f"{folder}/{absent(name, present)}" for name in names if name not in known]
    if not present and not names:
        faults.append(f"shot {folder} is empty")
    return present


def _train_lines(shots: Sequence[Shot], numbers: dict[str, int]) -> dict[str, list[str]]:
    boxes = sum(len(found) for shot in shots for found in shot.boxes.values())
    if boxes:
        logger.warning("%d box(es) of train are left out: the split files hold none there", boxes)
    labels = [f"{shot.id},{numbers[shot.tag]}" for shot in shots]
    return {IDS: [shot.id for shot in shots], LABELS: labels, SIZES: [], BOXES: []}


def _frame_lines(manifest: Manifest, shots: Sequence[Shot], numbers: dict[str, int]) -> dict[str, list[str]]:
    frames = [(shot, t, f"{shot.id}/{shot.frames[t]}") for shot in shots for t in sorted(shot.boxes)]
    bare = sum(map(len, shots)) - len(frames)
    if bare:
        logger.warning("%d frame(s) of %s without a box are not listed", bare, shots[0].split)
    sizes = image_sizes(manifest.root, [shot.path(t) for shot, t, _ in frames], is_upright(manifest.facts))
    broken = [size.offenders[0] for size in sizes.values() if isinstance(size, FrameError)]
    if broken:
        raise FrameError(f"{len(broken)} frame(s) cannot be read. Replace them.", broken)
    return {
        IDS: [path for _, _, path in frames],
        LABELS: [f"{path},{numbers[shot.tag]}" for shot, _, path in frames],
        SIZES: [f"{path},{','.join(map(str, sizes[shot.path(t)]))}" for shot, t, path in frames],
        BOXES: [
            f"{path},{','.join(repr(corner).removesuffix('.0') for corner in box)}"
            for shot, t, path in frames
            for box in shot.boxes[t]
        ],
    }
