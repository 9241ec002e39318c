"""Find the folders of the classes: below the root, or below train, val and test."""

import logging
from pathlib import Path
from typing import NamedTuple

from tcam_cache.datasets.listing import Listing, Notes, list_folder
from tcam_cache.datasets.sampling import named_split
from tcam_cache.datasets.video_file import SUFFIXES as VIDEO_SUFFIXES
from tcam_cache.errors import ManifestError
from tcam_cache.names import one_name

STRAY = "image(s) where no frame belongs ignored"
VIDEOS = "video file(s) ignored: they are for --layout videos"

logger = logging.getLogger(__name__)


class ClassFolder(NamedTuple):
    """A class's folder below the root, and the split that it lies under, or ""."""

    tag: str
    folder: str
    split: str = ""


def class_folders(root: Path) -> list[ClassFolder]:
    """Return the folders of the classes, in natural order of the tags.

    Folders train, val and test on top, two of them at least, are splits, with the classes below each.

    Raises:
        ManifestError: folders of splits and other folders are on the same level.
    """
    tops = list_folder(root).folders
    splits = {name: named_split(name) for name in tops}
    if len({split for split in splits.values() if split}) < 2:
        return [ClassFolder(one_name(name), name) for name in tops]
    others = [name for name, split in splits.items() if not split]
    if others:
        named = ", ".join(name for name, split in splits.items() if split)
        raise ManifestError(
            f"{root} holds folders of splits ({named}) beside others, which can be neither splits nor "
            "classes. Move them away.",
            others,
        )
    logger.info("the folders %s of %s are read as splits", ", ".join(tops), root)
    folders = [
        ClassFolder(one_name(tag), f"{name}/{tag}", split)
        for name, split in splits.items()
        for tag in list_folder(root / name).folders
    ]
    order = list(dict.fromkeys(item.tag for item in folders))
    return sorted(folders, key=lambda item: order.index(item.tag))


def note_strays(listing: Listing, above: str, notes: Notes) -> None:
    """Note images and video files in a folder (named `above`) that is not the folder of a video."""
    notes[STRAY] += (f"{above}{name}" for name in listing.images)
    note_videos(listing, above, notes)


def note_videos(listing: Listing, above: str, notes: Notes) -> None:
    """Note video files in a folder of frames."""
    notes[VIDEOS] += (f"{above}{name}" for name in listing.others if name.lower().endswith(VIDEO_SUFFIXES))
