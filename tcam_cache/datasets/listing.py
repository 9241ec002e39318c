"""What lies in a folder: subfolders and images in natural order; whatever is odd is counted and said once."""

import logging
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from tcam_cache.errors import ManifestError
from tcam_cache.records import Shot

SUFFIXES = (".jpg", ".jpeg", ".png")

logger = logging.getLogger(__name__)
_DIGITS = re.compile(r"(\d+)")

Notes = defaultdict[str, list[str]]


class Listing(NamedTuple):
    """The visible entries of a folder, each kind in natural order.

    Attributes:
        folders: names of subfolders, links to folders among them.
        images: names that end as an image does.
        others: names of all other files.
    """

    folders: list[str]
    images: list[str]
    others: list[str]


def list_folder(folder: Path | str) -> Listing:
    """List a folder; hidden entries are left out.

    Raises:
        ManifestError: it cannot be listed, or holds a link that leads back to itself.
    """
    listing = Listing([], [], [])
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if _is_folder(entry):
                    listing.folders.append(entry.name)
                elif entry.name.lower().endswith(SUFFIXES):
                    listing.images.append(entry.name)
                else:
                    listing.others.append(entry.name)
    except OSError as error:
        raise ManifestError(f"cannot list the folder {folder}: {error.strerror}.") from error
    return Listing(*(sorted(names, key=natural_key) for names in listing))


def is_folder(path: Path) -> bool:
    """Return whether a folder is there; one that may not be looked into counts as missing."""
    try:
        return path.is_dir()
    except OSError:
        return False


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


def absent(name: str, present: Iterable[str]) -> str:
    """Return what to say of a name that is not among those present, another spelling of it among them.

    >>> absent("frame0001.jpg", ["Frame0001.JPG"])
    'frame0001.jpg is missing; Frame0001.JPG is there, in another case'
    """
    other = next((found for found in present if found.casefold() == name.casefold()), None)
    return f"{name} is missing" + (f"; {other} is there, in another case" if other else "")


def log_notes(notes: Notes, shots: Sequence[Shot]) -> None:
    """Log each kind of oddity once, counted, with an example; shots of one frame too."""
    for what, found in notes.items():
        if found:
            logger.warning("%d %s, such as %s", len(found), what, found[0])
    single = sum(len(shot) == 1 for shot in shots)
    if single:
        logger.info("%d shot(s) of a single frame: their CAM-TMP is the frame's own CAM", single)


def refuse_repeated_folders(root: Path, shots: Sequence[Shot]) -> None:
    """Refuse one folder under two names: a link would put the same frames into two shots or videos.

    Raises:
        ManifestError: lists every pair.
    """
    found: dict[str, list[Shot]] = defaultdict(list)
    for shot in shots:
        found[os.path.realpath(root / shot.folder)].append(shot)
    repeated: dict[str, None] = {}
    for same in found.values():
        videos = dict.fromkeys(shot.video for shot in same)
        if len(videos) > 1:
            repeated[f"video {' and '.join(videos)}: one folder"] = None
        elif len(same) > 1:
            repeated[f"shot {' and '.join(shot.id for shot in same)}: one folder"] = None
    if repeated:
        raise ManifestError(
            f"{len(repeated)} video(s) or shot(s) of {root} are listed more than once: the same folder is "
            "reached by a link. A video has one class; remove the wrong one.",
            sorted(repeated),
        )


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        raise ManifestError(f"{entry.path} cannot be followed: {error.strerror}. Remove the link.") from error
