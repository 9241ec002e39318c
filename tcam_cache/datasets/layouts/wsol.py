"""The `wsol` layout: read and write the split files of the WSOL evaluation protocol."""

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tcam_cache.datasets.annotations import Row
from tcam_cache.datasets.frame_names import plain_path
from tcam_cache.datasets.frames import image_sizes
from tcam_cache.datasets.layouts.class_names import class_text, lies_in_split
from tcam_cache.datasets.layouts.scan import Scan, open_root
from tcam_cache.datasets.layouts.split_files import (
    BOXES,
    CLASSES,
    IDS,
    LABELS,
    SIZES,
    SplitFiles,
    read_split_files,
    video_of,
)
from tcam_cache.datasets.listing import (
    ORDER_OPEN,
    Notes,
    absent,
    is_folder,
    list_folder,
    log_notes,
    note_frames,
    on_disk,
)
from tcam_cache.datasets.manifest import STORED, Manifest, is_upright
from tcam_cache.datasets.picture_files import is_picture
from tcam_cache.errors import FrameError
from tcam_cache.files import write_text
from tcam_cache.names import natural_key, one_name
from tcam_cache.records import SPLITS, Shot

LAYOUT = "wsol"

logger = logging.getLogger(__name__)


def scan_wsol(root: Path | str, splits: Path | str, orientation: str = STORED) -> Scan:
    """Scan the paths that split files list: a folder is a whole shot, an image a single frame.

    Frames of one folder are one shot, in natural order; still pictures, as in CUB, ILSVRC and OpenImages
    (CLASS/IMAGE.jpg, or below train/, val/ and test/), are each a shot and a video of their own. Boxes are
    scaled from the sizes that the files state to the size of the image on disk, so that thumbnails can be
    used.

    Args:
        root: the folder that the listed paths are relative to.
        splits: the folder of split files, see `read_split_files`.
        orientation: of the images that boxes are drawn on; the protocol uses stored pixels.

    Raises:
        ManifestError: the root or the split files are missing.
    """
    root = open_root(root)
    files = read_split_files(splits)
    faults = list(files.faults)
    notes = Notes(list)
    shots = sorted(_shots(root, files, faults, notes), key=lambda shot: natural_key(shot.id))
    log_notes(notes, ())
    tags = {path: tag for ids in files.ids.values() for path, tag in ids.items()}
    there = {plain_path(shot.path(t)) for shot in shots for t in range(len(shot))}
    rows = [
        Row(location, path, tags[path], box, "", files.sizes[path])
        for path, box, location in files.boxes
        if path in there
    ]
    facts = {"orientation": orientation}
    return Scan(root, LAYOUT, files.classes, tuple(shots), tuple(faults), facts).with_boxes(rows)


def write_wsol(manifest: Manifest, folder: Path | str) -> None:
    """Write a manifest as split files: shots of train, annotated frames of val and test.

    A path is the shot's id, for a frame with its file name: the published paths of both YouTube-Objects
    data sets. What the format cannot store is left out and counted: frames of val and test without a box,
    and boxes of train. Sizes and boxes are for the manifest's orientation (upright or stored), which the
    format does not record.

    Args:
        manifest: the data set.
        folder: where `train/`, `val/`, `test/` and class_id.yaml are written.

    Raises:
        FrameError: an annotated frame cannot be read.
        StorageError: the file system refuses the write.
    """
    folder = Path(folder)
    numbers = {tag: number for number, tag in enumerate(manifest.classes)}
    write_text(folder / CLASSES, class_text(numbers))
    for split in SPLITS:
        shots = manifest.split(split)
        if not shots:
            continue
        lines = _train_lines(shots, numbers) if split == "train" else _frame_lines(manifest, shots, numbers)
        for name, rows in lines.items():
            write_text(folder / split / name, "".join(f"{row}\n" for row in rows))


def _shots(root: Path, files: SplitFiles, faults: list[str], notes: Notes) -> Iterator[Shot]:
    alone = _are_pictures(files.ids)
    if alone:
        count = sum(map(len, files.ids.values()))
        logger.info("%d pictures: each stands for itself, a video and a shot of its own", count)
    for split, ids in files.ids.items():
        # Listed images by folder; a folder that is listed itself is a whole shot.
        folders: dict[str, list[str]] = defaultdict(list)
        for path in ids:
            folder, _, name = path.rpartition("/")
            if not is_picture(path):
                folders.setdefault(path, [])
            elif folder or alone:
                folders[folder].append(name)
            else:
                faults.append(f"{path} lies in no folder: its shot and video are not known")
        for folder, names in folders.items():
            location = on_disk(root, folder)
            present = _images_in(root, location, names, faults, notes)
            listed_names = set(names)
            kept = [name for name in present if folder in ids or one_name(name) in listed_names]
            if alone:
                notes.pop(ORDER_OPEN, None)
                yield from (_picture(location, name, ids, folder, split) for name in kept)
            elif kept:
                paths = (folder, *(f"{folder}/{name}" for name in names))
                tags = sorted({ids[path] for path in paths if path in ids})
                if len(tags) > 1:
                    faults.append(f"shot {folder} has frames of {len(tags)} classes: {', '.join(tags)}")
                else:
                    yield Shot(folder, tags[0], video_of(folder), split, location, tuple(kept))


def _are_pictures(ids: Mapping[str, Mapping[str, str]]) -> bool:
    """Return whether all paths are still images: CLASS/IMAGE, or below folders of splits."""
    listed = [(path, tag, split) for split, paths in ids.items() for path, tag in paths.items()]
    if not all(is_picture(path) for path, _, _ in listed):
        return False
    if all(lies_in_split(path) for path, _, _ in listed):
        return True
    places = {(path.rpartition("/")[0], tag, split) for path, tag, split in listed}
    folders, tags = {folder for folder, _, _ in places}, {tag for _, tag, _ in places}
    # VIDEO/FRAME: several folders per class, and each folder of one class and split.
    videos = len(places) == len(folders) > len(tags)
    return any(folder.count("/") < 1 for folder in folders) and not videos


def _picture(location: str, name: str, ids: Mapping[str, str], folder: str, split: str) -> Shot:
    path = f"{folder}/{one_name(name)}" if folder else one_name(name)
    return Shot(path, ids[path], path, split, location or ".", (name,))


def _images_in(root: Path, folder: str, names: Sequence[str], faults: list[str], notes: Notes) -> list[str]:
    above = f"{folder}/" if folder else ""
    if not is_folder(root / folder):
        faults += [f"{above}{name} is missing" for name in names] or [f"shot {folder} is missing"]
        return []
    listing = list_folder(root / folder)
    present = listing.images
    note_frames(listing, folder, notes)
    known = set(map(one_name, present))
    faults += [f"{above}{absent(name, present)}" for name in names if name not in known]
    if not present and not names:
        faults.append(f"shot {folder} is empty")
    return present


def _train_lines(shots: Sequence[Shot], numbers: dict[str, int]) -> dict[str, list[str]]:
    boxes = sum(len(frame_boxes) for shot in shots for frame_boxes in shot.boxes.values())
    if boxes:
        logger.warning("%d box(es) of train are left out: the split files hold none there", boxes)
    labels = [f"{shot.id},{numbers[shot.tag]}" for shot in shots]
    return {IDS: [shot.id for shot in shots], LABELS: labels, SIZES: [], BOXES: []}


def _listed_as(shot: Shot, t: int) -> str:
    # The id of a still image is its path.
    alone = shot.id == plain_path(shot.path(t))
    return shot.id if alone else f"{shot.id}/{shot.frames[t]}"


def _frame_lines(manifest: Manifest, shots: Sequence[Shot], numbers: dict[str, int]) -> dict[str, list[str]]:
    frames = [(shot, t, _listed_as(shot, t)) for shot in shots for t in sorted(shot.boxes)]
    bare = sum(map(len, shots)) - len(frames)
    if bare:
        logger.warning("%d frame(s) of %s without a box are not listed", bare, shots[0].split)
    sizes = image_sizes(manifest.root, [shot.path(t) for shot, t, _ in frames], is_upright(manifest.facts))
    broken = [size.offenders[0] for size in sizes.values() if isinstance(size, FrameError)]
    if broken:
        raise FrameError(f"{len(broken)} frame(s) cannot be read. Replace them.", broken)
    known = {path: size for path, size in sizes.items() if not isinstance(size, FrameError)}
    return {
        IDS: [path for _, _, path in frames],
        LABELS: [f"{path},{numbers[shot.tag]}" for shot, _, path in frames],
        SIZES: [f"{path},{','.join(map(str, known[shot.path(t)]))}" for shot, t, path in frames],
        BOXES: [
            f"{path},{','.join(repr(corner).removesuffix('.0') for corner in box)}"
            for shot, t, path in frames
            for box in shot.boxes[t]
        ],
    }
