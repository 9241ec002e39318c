"""The `folders` layout: CLASS/VIDEO/SHOT/frame*.jpg, and CLASS/VIDEO/frame*.jpg; both may mix."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tcam_cache.datasets.annotations import attach, read_annotations
from tcam_cache.datasets.images import image_sizes
from tcam_cache.datasets.listing import (
    SUFFIXES,
    Notes,
    is_folder,
    list_folder,
    log_notes,
    refuse_repeated_folders,
)
from tcam_cache.datasets.manifest import Manifest
from tcam_cache.datasets.sources import UPRIGHT, is_upright
from tcam_cache.datasets.splits import seeded_splits, with_splits
from tcam_cache.errors import ManifestError
from tcam_cache.records import Shot

LAYOUT = "folders"


def index_folders(
    root: Path | str, annotations: Path | str | None = None, seed: int = 0, orientation: str = UPRIGHT
) -> Manifest:
    """Index tagged video laid out as CLASS/VIDEO/SHOT/frame*.jpg or CLASS/VIDEO/frame*.jpg, in place.

    Frames are in natural order (frame2 before frame10). Hidden files are ignored; images where no frame
    belongs, empty folders and classes without video are left out, each kind with one counted warning.

    Args:
        root: the folder that holds the class folders.
        annotations: CSV with boxes, splits or both, see `read_annotations`; without a split in it, videos
            are split by `seeded_splits`.
        seed: of that split.
        orientation: "upright", as images are shown, or "stored"; of frames and of the boxes on them.

    Raises:
        ManifestError: the root is missing or holds no frames, or one video is listed twice.
        AnnotationError: the annotations do not fit the frames; every misfit is listed.
    """
    root = Path(root)
    if not is_folder(root):
        raise ManifestError(f"{root} is not a folder. Give the folder that holds one folder a class.")
    notes = Notes(list)
    listing = list_folder(root)
    notes["image(s) where no frame belongs ignored"] += listing.images
    shots = [shot for tag in listing.folders for shot in _class_shots(root, tag, notes)]
    log_notes(notes, shots)
    if not shots:
        raise ManifestError(
            f"{root} holds no frames. Expected CLASS/VIDEO/SHOT/frame0001.jpg or CLASS/VIDEO/frame0001.jpg, "
            f"with images that end in {', '.join(SUFFIXES)}."
        )
    refuse_repeated_folders(root, shots)
    facts = {"orientation": orientation}
    sizes_of = partial(image_sizes, upright=is_upright(facts))
    splits: dict[str, str] = {}
    if annotations is not None:
        shots, splits = attach(shots, read_annotations(annotations), root, sizes_of)
    shots = with_splits(shots, splits or seeded_splits(shots, seed))
    return Manifest(root, LAYOUT, tuple(dict.fromkeys(shot.tag for shot in shots)), shots, facts)


def _class_shots(root: Path, tag: str, notes: Notes) -> list[Shot]:
    listing = list_folder(root / tag)
    notes["image(s) where no frame belongs ignored"] += (f"{tag}/{name}" for name in listing.images)
    shots = [shot for video in listing.folders for shot in _video_shots(root, tag, f"{tag}/{video}", notes)]
    if not shots:
        notes["class(es) with no video left out"].append(tag)
    return shots


def _video_shots(root: Path, tag: str, video: str, notes: Notes) -> Iterator[Shot]:
    listing = list_folder(root / video)
    if listing.images:
        yield Shot(video, tag, video, "train", video, tuple(listing.images))
    elif not listing.folders:
        notes["empty shot folder(s) left out"].append(video)
    for name in listing.folders:
        folder = f"{video}/{name}"
        below = list_folder(root / folder)
        notes["folder(s) below a shot ignored"] += (f"{folder}/{deeper}" for deeper in below.folders)
        if below.images:
            yield Shot(folder, tag, video, "train", folder, tuple(below.images))
        else:
            notes["empty shot folder(s) left out"].append(folder)
