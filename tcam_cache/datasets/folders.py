"""The `folders` layout: CLASS/VIDEO/SHOT/frame*.jpg, and CLASS/VIDEO/frame*.jpg; both may mix."""

import logging
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tcam_cache.datasets.annotations import attach, read_annotations
from tcam_cache.datasets.manifest import Manifest
from tcam_cache.datasets.splits import seeded_splits, with_splits
from tcam_cache.errors import ManifestError
from tcam_cache.records import Shot

LAYOUT = "folders"
SUFFIXES = (".jpg", ".jpeg", ".png")

_log = logging.getLogger(__name__)
_DIGITS = re.compile(r"(\d+)")

_Notes = defaultdict[str, list[str]]


class _Listing(NamedTuple):
    folders: list[str]
    images: list[str]


def index_folders(root: Path | str, annotations: Path | str | None = None, seed: int = 0) -> Manifest:
    """Index tagged video laid out as CLASS/VIDEO/SHOT/frame*.jpg or CLASS/VIDEO/frame*.jpg, in place.

    Frames are in natural order (frame2 before frame10). Hidden files are ignored; images where no frame
    belongs, empty folders and classes without video are left out, each kind with one counted warning.

    Args:
        root: the folder that holds the class folders.
        annotations: CSV with boxes, splits or both, see `read_annotations`; without a split in it, videos
            are split by `seeded_splits`.
        seed: of that split.

    Raises:
        ManifestError: the root is missing or holds no frames, or one video is listed twice.
        AnnotationError: the annotations do not fit the frames; every misfit is listed.
    """
    root = Path(root)
    if not root.is_dir():
        raise ManifestError(f"{root} is not a folder. Give the folder that holds one folder a class.")
    notes: _Notes = defaultdict(list)
    listing = _list(root)
    notes["image(s) where no frame belongs ignored"] += listing.images
    shots = [shot for tag in listing.folders for shot in _class_shots(root, tag, notes)]
    _log_notes(notes, shots)
    if not shots:
        raise ManifestError(
            f"{root} holds no frames. Expected CLASS/VIDEO/SHOT/frame0001.jpg or CLASS/VIDEO/frame0001.jpg, "
            f"with images that end in {', '.join(SUFFIXES)}."
        )
    _refuse_repeated_videos(root, shots)
    splits: dict[str, str] = {}
    if annotations is not None:
        shots, splits = attach(shots, read_annotations(annotations), root)
    shots = with_splits(shots, splits or seeded_splits(shots, seed))
    return Manifest(root, LAYOUT, tuple(dict.fromkeys(shot.tag for shot in shots)), shots)


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Return a sort key that compares runs of digits as numbers.

    >>> sorted(["frame10.jpg", "frame2.jpg", "frame1.jpg"], key=natural_key)
    ['frame1.jpg', 'frame2.jpg', 'frame10.jpg']
    """
    return [int(part) if part.isdecimal() else part for part in _DIGITS.split(name)], name


def image_names(folder: Path | str) -> tuple[str, ...]:
    """Return the images in a folder and below, as paths relative to it with "/", in natural order."""
    folder = Path(folder)
    below = (path.relative_to(folder) for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    visible = (path.as_posix() for path in below if not any(part.startswith(".") for part in path.parts))
    return tuple(sorted(visible, key=natural_key))


def _list(folder: Path) -> _Listing:
    folders, images = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    folders.append(entry.name)
                elif entry.name.lower().endswith(SUFFIXES):
                    images.append(entry.name)
    except OSError as error:
        raise ManifestError(f"cannot list the folder {folder}: {error.strerror}.") from error
    return _Listing(sorted(folders, key=natural_key), sorted(images, key=natural_key))


def _class_shots(root: Path, tag: str, notes: _Notes) -> list[Shot]:
    listing = _list(root / tag)
    notes["image(s) where no frame belongs ignored"] += (f"{tag}/{name}" for name in listing.images)
    shots = [shot for video in listing.folders for shot in _video_shots(root, tag, f"{tag}/{video}", notes)]
    if not shots:
        notes["class(es) with no video left out"].append(tag)
    return shots


def _video_shots(root: Path, tag: str, video: str, notes: _Notes) -> Iterator[Shot]:
    listing = _list(root / video)
    if listing.images:
        yield Shot(video, tag, video, "train", video, tuple(listing.images))
    elif not listing.folders:
        notes["empty shot folder(s) left out"].append(video)
    for name in listing.folders:
        folder = f"{video}/{name}"
        below = _list(root / folder)
        notes["folder(s) below a shot ignored"] += (f"{folder}/{deeper}" for deeper in below.folders)
        if below.images:
            yield Shot(folder, tag, video, "train", folder, tuple(below.images))
        else:
            notes["empty shot folder(s) left out"].append(folder)


def _log_notes(notes: _Notes, shots: Sequence[Shot]) -> None:
    for what, found in notes.items():
        if found:
            _log.warning("%d %s, such as %s", len(found), what, found[0])
    single = sum(len(shot) == 1 for shot in shots)
    if single:
        _log.info("%d shot(s) of a single frame: their CAM-TMP is the frame's own CAM", single)


def _refuse_repeated_videos(root: Path, shots: Sequence[Shot]) -> None:
    videos: dict[str, dict[str, None]] = defaultdict(dict)
    for shot in shots:
        videos[os.path.realpath(root / shot.folder)][shot.video] = None
    repeated = sorted({" and ".join(names) for names in videos.values() if len(names) > 1})
    if repeated:
        raise ManifestError(
            f"{len(repeated)} video(s) of {root} are listed more than once: the same folder is reached by a "
            "link. A video has one class; remove the wrong one.",
            [f"video {names}: one folder" for names in repeated],
        )
