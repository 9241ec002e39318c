"""The `folders` layout: CLASS/VIDEO/SHOT/frame*.jpg, CLASS/VIDEO/frame*.jpg, and both below SPLIT."""

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from tcam_cache.datasets.layouts.class_folders import (
    STRAY,
    VIDEOS,
    ClassFolder,
    class_folders,
    note_strays,
    note_videos,
)
from tcam_cache.datasets.layouts.scan import Scan, open_root
from tcam_cache.datasets.listing import (
    Listing,
    Notes,
    images_below,
    list_folder,
    log_notes,
    note_frames,
    refuse_repeated_folders,
)
from tcam_cache.datasets.manifest import UPRIGHT
from tcam_cache.datasets.picture_files import frame_names
from tcam_cache.datasets.sampling import named_split, seeded_splits, with_splits
from tcam_cache.errors import ManifestError
from tcam_cache.names import one_name
from tcam_cache.records import Shot

LAYOUT = "folders"
# Such a folder between a class and its videos is an extra level without meaning.
_LEVELS = {"videos", "video", "clips", "data", "frames", "images", "jpegimages", "rgb"}

logger = logging.getLogger(__name__)


def index_folders(root: Path | str, seed: int = 0, orientation: str = UPRIGHT) -> Scan:
    """Index tagged video laid out as CLASS/VIDEO/SHOT/frame*.jpg or CLASS/VIDEO/frame*.jpg, in place.

    Folders train, val and test on top, two of them at least, are splits, with the classes below each. Frames
    are in natural order (frame2 before frame10). Hidden and system files are ignored; images
    at a wrong level, empty folders and classes without video are left out, each kind with one counted
    warning.

    Args:
        root: the folder that holds the class folders.
        seed: of `seeded_splits`, where no folder is a split.
        orientation: "upright" (as images are displayed) or "stored", for frames and their boxes.

    Raises:
        ManifestError: the root is missing or holds no frames, the folders lie at other levels, or one video
            is listed twice.
    """
    root, notes = open_root(root), Notes(list)
    classes = class_folders(root)
    for above in dict.fromkeys(("", *(item.folder.rpartition("/")[0] for item in classes))):
        note_strays(list_folder(root / above), f"{above}/" if above else "", notes)
    shots_of = {item: _class_shots(root, item, notes) for item in classes}
    shots = [shot for item in classes for shot in shots_of[item]]
    if not shots:
        raise _no_frames(root, notes)
    log_notes(notes, shots)
    refuse_repeated_folders(root, shots)
    _doubt_levels(root, shots)
    splits = {shot.video: item.split for item in classes if item.split for shot in shots_of[item]}
    return Scan(
        root,
        LAYOUT,
        tuple(dict.fromkeys(shot.tag for shot in shots)),
        with_splits(shots, splits or seeded_splits(shots, seed)),
        facts={"orientation": orientation},
        splits=splits,
    )


def _class_shots(root: Path, item: ClassFolder, notes: Notes) -> list[Shot]:
    folder, listing = item.folder, list_folder(root / item.folder)
    note_strays(listing, f"{folder}/", notes)
    if len({split for name in listing.folders if (split := named_split(name))}) > 1:
        raise ManifestError(
            f"{root / folder} holds the folders {', '.join(listing.folders)}: splits below a class. "
            "Lay them out as SPLIT/CLASS/VIDEO, or as CLASS/VIDEO with the splits in a CSV."
        )
    if len(listing.folders) == 1 and listing.folders[0].casefold() in _LEVELS:
        below = list_folder(root / folder / listing.folders[0])
        if below.folders and not below.images:
            folder, listing = f"{folder}/{listing.folders[0]}", below
            notes["folder(s) between a class and its videos passed over"].append(folder)
            note_strays(listing, f"{folder}/", notes)
    videos = [f"{folder}/{name}" for name in listing.folders]
    shots = [shot for video in videos for shot in _video_shots(root, item.tag, video, notes)]
    if not shots:
        notes["class(es) with no video left out"].append(folder)
    return shots


def _video_shots(root: Path, tag: str, video: str, notes: Notes) -> Iterator[Shot]:
    listing = list_folder(root / video)
    note_frames(listing, video, notes)
    note_videos(listing, f"{video}/", notes)
    if listing.images:
        yield _shot(root, tag, video, video, listing)
    elif not listing.folders:
        notes["empty shot folder(s) left out"].append(video)
    for name in listing.folders:
        folder = f"{video}/{name}"
        below = list_folder(root / folder)
        note_frames(below, folder, notes)
        note_videos(below, f"{folder}/", notes)
        notes["folder(s) below a shot ignored"] += (f"{folder}/{deeper}" for deeper in below.folders)
        if below.images:
            yield _shot(root, tag, video, folder, below)
        else:
            notes["empty shot folder(s) left out"].append(folder)


def _shot(root: Path, tag: str, video: str, folder: str, listing: Listing) -> Shot:
    frames = frame_names(root / folder, listing.images)
    return Shot(one_name(folder), tag, one_name(video), "train", folder, frames)


def _doubt_levels(root: Path, shots: Sequence[Shot]) -> None:
    """Warn if the folders taken for classes or videos may be another level."""
    videos: dict[str, dict[str, None]] = defaultdict(dict)
    for shot in shots:
        videos[shot.tag][shot.video.rpartition("/")[2]] = None
    first = next(iter(videos))
    if len(videos) > 1 and all(tag.isdecimal() for tag in videos):
        logger.warning("every class is a number (%s, ...): if those are videos, give the folder above", first)
    # Names of videos have digits or are unique; names of classes are words.
    if any(letter.isdecimal() for name in videos[first] for letter in name):
        return
    names = ", ".join(list(videos[first])[:3])
    if len(videos) == 1:
        logger.warning(
            "one class, %s, with the videos %s: if those are the classes, give %s", first, names, root / first
        )
    elif len(videos[first]) > 1 and all(videos[tag].keys() == videos[first].keys() for tag in videos):
        logger.warning(
            "every class (%s) has the same videos, %s: are those the classes? Expected CLASS/VIDEO below %s",
            ", ".join(list(videos)[:3]),
            names,
            root,
        )


def _no_frames(root: Path, notes: Notes) -> ManifestError:
    expected = (
        "Expected CLASS/VIDEO/SHOT/frame0001.jpg or CLASS/VIDEO/frame0001.jpg, with pictures such as "
        ".jpg, .png or .webp."
    )
    if videos := notes[VIDEOS]:
        return ManifestError(
            f"{root} holds {len(videos)} video file(s), such as {videos[0]}, and no frames. Index "
            "video files with --layout videos, which wants CLASS/*.mp4 below ROOT."
        )
    if strays := notes[STRAY]:
        return ManifestError(
            f"{root} holds {len(strays)} image(s) that are in no video's folder, such as {strays[0]}. "
            f"{expected} Give each video a folder of its own; pictures of no video are for --layout wsol."
        )
    deeper = next(images_below(root), None)
    if deeper:
        return ManifestError(
            f"{root} holds no frames at the level expected; one lies at {deeper.relative_to(root)}. "
            f"{expected} Give the folder that holds the class folders."
        )
    return ManifestError(f"{root} holds no frames. {expected}")
