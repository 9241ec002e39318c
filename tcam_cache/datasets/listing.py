"""List folders: subfolders and images in natural order; oddities are counted and logged once."""

import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tcam_cache.datasets.boxes_table import COLUMNS, OLD_COLUMNS, PICTURE_FOLDERS
from tcam_cache.datasets.picture_files import frame_names, is_picture
from tcam_cache.datasets.video_file import SUFFIXES as VIDEO_SUFFIXES
from tcam_cache.errors import ManifestError
from tcam_cache.names import conflicted_copy, in_order, left_behind, one_name
from tcam_cache.provenance import sha256_of
from tcam_cache.records import Shot

# Files that identify a folder as a cache, run, search or report of this program, or boxes of `predict`.
_OWN_FILES = (("cache.json",), ("config.json", "log.jsonl"), ("search.json",), ("metrics.json", "frames.csv"))
_OWN_BOXES = tuple(",".join(columns[:3]).encode() + b"," for columns in (COLUMNS, OLD_COLUMNS))

logger = logging.getLogger(__name__)

Notes = defaultdict[str, list[str]]
ORDER_OPEN = "folder(s) whose names leave the order of the frames open"


class Listing(NamedTuple):
    """The visible content of a folder, each kind in natural order.

    Attributes:
        folders: names of subfolders, including links to folders.
        images: names with the suffix of an image.
        others: names of all other files.
        copies: names of conflicted copies, which are not in the other lists.
        doubt: why the order of the images is ambiguous, or "".
    """

    folders: list[str]
    images: list[str]
    others: list[str]
    copies: list[str]
    doubt: str


def list_folder(folder: Path | str) -> Listing:
    """List a folder without hidden entries, operating systems' files and results of this program.

    Raises:
        ManifestError: it cannot be listed, contains a circular link, or two names that differ only in their
            Unicode form.
    """
    folders, images, others, copies = [], [], [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if left_behind(entry.name):
                    continue
                if conflicted_copy(entry.name):
                    copies.append(entry.name)
                elif _is_folder(entry):
                    if not made_here(entry.path):
                        folders.append(entry.name)
                elif is_picture(entry.name):
                    images.append(entry.name)
                else:
                    others.append(entry.name)
    except OSError as error:
        raise ManifestError(f"cannot list the folder {folder}: {error.strerror}.") from error
    _refuse_twins(folder, [*folders, *images, *others])
    frames = in_order(images)
    return Listing(in_order(folders).names, frames.names, in_order(others).names, copies, frames.doubt)


def made_here(folder: Path | str) -> bool:
    """Return whether a folder is a cache, a run, a report or boxes that this program wrote."""
    folder = Path(folder)
    if folder.name in PICTURE_FOLDERS and made_here(folder.parent):
        return True
    if any(all((folder / name).is_file() for name in names) for names in _OWN_FILES):
        return True
    try:
        with (folder / "boxes.csv").open("rb") as file:
            return file.read(max(map(len, _OWN_BOXES))).startswith(_OWN_BOXES)
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """Return whether a folder exists; one without permission counts as missing."""
    try:
        return path.is_dir()
    except OSError:
        return False


def image_names(folder: Path | str, but: Path | None = None) -> tuple[str, ...]:
    """Return the frames in a folder and below, as paths relative to it with "/", in natural order.

    What `list_folder` leaves out is left out at every depth; links to folders are not followed. An animated
    image has several frames, see `frame_names`.

    Args:
        folder: to list.
        but: a folder to leave out.
    """
    paths = [path.relative_to(folder).as_posix() for path in images_below(Path(folder), but)]
    return frame_names(Path(folder), in_order(paths).names)


def images_below(folder: Path, but: Path | None = None) -> Iterator[Path]:
    """Yield the images in a folder and below; copies and other files are left out, with a warning."""
    others: list[str] = []
    for place, listing in folders_below(folder, but):
        others += listing.others
        if listing.copies:
            count = len(listing.copies)
            logger.warning(
                "%d conflicted cop(ies) in %s left out, such as %s", count, place, listing.copies[0]
            )
        yield from (place / name for name in listing.images)
    if others:
        logger.warning(
            "%d file(s) in %s are no pictures and left out, such as %s", len(others), folder, others[0]
        )


def folders_below(folder: Path, but: Path | None = None) -> Iterator[tuple[Path, Listing]]:
    """Yield (folder, listing) of a folder and all below it, without links and the folder `but`."""
    listing = list_folder(folder)
    yield folder, listing
    for name in listing.folders:
        if not (folder / name).is_symlink() and (but is None or (folder / name).absolute() != but.absolute()):
            yield from folders_below(folder / name, but)


def state_of(source: Path) -> str:
    """Return a digest of the names, sizes and times of pictures and videos below a folder, or of one file."""
    files = [("", source)] if source.is_file() else _footage_below(source)
    stats = ((name, path.stat()) for name, path in files)
    return sha256_of([[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats])


def _footage_below(root: Path) -> Iterator[tuple[str, Path]]:
    for place, listing in folders_below(root):
        videos = (name for name in listing.others if name.lower().endswith(VIDEO_SUFFIXES))
        for name in (*listing.images, *videos):
            yield (place / name).relative_to(root).as_posix(), place / name


def absent(name: str, present: Iterable[str]) -> str:
    """Return a message about a missing name, which mentions a present name that differs only in case.

    >>> absent("frame0001.jpg", ["Frame0001.JPG"])
    'frame0001.jpg is missing; Frame0001.JPG is there, in another case'
    """
    spelling = next((candidate for candidate in present if candidate.casefold() == name.casefold()), None)
    return f"{name} is missing" + (f"; {spelling} is there, in another case" if spelling else "")


def on_disk(root: Path, path: str) -> str:
    """Return a path below the root as spelt on disk, which may use another Unicode form."""
    if path.isascii() or (root / path).exists():
        return path
    disk_path = ""
    for name in path.split("/"):
        there = list_folder(root / disk_path) if is_folder(root / disk_path) else Listing([], [], [], [], "")
        names = (*there.folders, *there.images, *there.others)
        same = next((other for other in names if one_name(other) == one_name(name)), name)
        disk_path = f"{disk_path}/{same}" if disk_path else same
    return disk_path


def note_frames(listing: Listing, folder: str, notes: Notes) -> None:
    """Note oddities of a folder of frames: conflicted copies, and names with an ambiguous order."""
    notes["conflicted cop(ies) left out"] += (f"{folder}/{name}" for name in listing.copies)
    if listing.doubt:
        notes[ORDER_OPEN].append(f"{folder}: {listing.doubt}")


def log_notes(notes: Notes, shots: Sequence[Shot]) -> None:
    """Log each kind of oddity once, with count and example; also shots of one frame."""
    for what, names in notes.items():
        if names:
            logger.warning("%d %s, such as %s", len(names), what, names[0])
    single = sum(len(shot) == 1 for shot in shots)
    if single:
        logger.info("%d shot(s) of a single frame: their CAM-TMP is the frame's own CAM", single)


def refuse_repeated_folders(root: Path, shots: Sequence[Shot]) -> None:
    """Refuse a folder that appears under two names: a link puts its frames into two shots or videos.

    Raises:
        ManifestError: there are such folders; all are listed.
    """
    shots_by_folder: dict[str, list[Shot]] = defaultdict(list)
    for shot in shots:
        shots_by_folder[os.path.realpath(root / shot.folder)].append(shot)
    repeated: dict[str, None] = {}
    for same in shots_by_folder.values():
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


def refuse_links_out(root: Path, shots: Sequence[Shot], frames: bool = False) -> None:
    """Refuse shots if their folder or their video's folder is a link to outside the root.

    Args:
        root: of the data set.
        shots: the shots to check.
        frames: whether to check the frames' files, too.

    Raises:
        ManifestError: there are such links; all are listed.
    """
    parts = (shot.folder.split("/") for shot in shots)
    paths = dict.fromkeys("/".join(names[:end]) for names in parts for end in range(1, len(names) + 1))
    links = [path for path in paths if (root / path).is_symlink()]
    if frames:
        links += [
            f"{shot.folder}/{name}" for shot in shots for name in _links_in(root / shot.folder, shot.frames)
        ]
    inside = os.path.realpath(root)
    out = [path for path in links if not Path(os.path.realpath(root / path)).is_relative_to(inside)]
    if out:
        raise ManifestError(
            f"{len(out)} link(s) below {root} lead out of it. Where that is meant, index the data set with "
            "--follow-links.",
            out,
        )


def _links_in(folder: Path, names: Sequence[str]) -> list[str]:
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        links = {entry.name for entry in entries if entry.is_symlink()}
    return [name for name in names if name in links] if links else []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        raise ManifestError(f"{entry.path} cannot be followed: {error.strerror}. Remove the link.") from error


def _refuse_twins(folder: Path | str, names: Sequence[str]) -> None:
    forms = defaultdict(list)
    for name in names:
        if not name.isascii():
            forms[one_name(name)].append(name)
    twins = [spellings for spellings in forms.values() if len(spellings) > 1]
    if twins:
        raise ManifestError(
            f"{folder} holds {len(twins)} name(s) twice, in the composed and in the decomposed Unicode form "
            "(NFC and NFD). They look the same; put what they hold under one of them.",
            [spellings[0] for spellings in twins],
        )
