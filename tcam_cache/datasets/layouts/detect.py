"""Find out how tagged footage is laid out on disk."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tcam_cache.datasets.layouts.class_folders import class_folders
from tcam_cache.datasets.layouts.expected import published_data
from tcam_cache.datasets.layouts.scan import open_root
from tcam_cache.datasets.listing import folders_below, is_folder, list_folder
from tcam_cache.datasets.video import is_moving
from tcam_cache.datasets.video_file import SUFFIXES
from tcam_cache.errors import ManifestError

logger = logging.getLogger(__name__)

EXPECTED = "Expected CLASS/*.mp4, CLASS/VIDEO/frame0001.jpg or CLASS/VIDEO/SHOT/frame0001.jpg below it."


class _Found(NamedTuple):
    """An example of each kind below a class's folder, relative to the root, or ""."""

    video: str = ""
    frame: str = ""
    stray: str = ""


def detect_layout(source: Path | str) -> str:
    """Return the layout of tagged footage, "videos" or "folders", or that of YouTube-Objects as distributed.

    Args:
        source: a folder whose subfolders are the tags, or a CSV of video files.

    Raises:
        ManifestError: it is neither, it holds videos and frames, or nothing where a layout has something.
    """
    source = Path(source)
    if source.is_file():
        if source.suffix.lower() != ".csv":
            raise ManifestError(
                f"{source} is neither a folder nor a CSV. Give the folder that holds a folder for each tag, "
                "or a CSV of file and class."
            )
        return "videos"
    root = open_root(source)
    if published := _published(root):
        logger.info("%s is read as --layout %s, YouTube-Objects as distributed", root, published)
        return published
    examples = [_found(root, item.folder) for item in class_folders(root)]
    videos, frames = (
        [getattr(one, kind) for one in examples if getattr(one, kind)] for kind in ("video", "frame")
    )
    if videos and frames:
        raise ManifestError(
            f"{root} holds video files, such as {videos[0]}, and frames, such as {frames[0]}. Take them one "
            "after the other, with --layout videos and --layout folders, or move one kind away."
        )
    if videos or frames:
        layout = "videos" if videos else "folders"
        logger.info("%s is read as --layout %s, for %s", root, layout, (videos or frames)[0])
        return layout
    raise _nothing(root, [one.stray for one in examples if one.stray])


def _published(root: Path) -> str | None:
    """Return the layout of YouTube-Objects that a folder has the marks of."""
    if is_folder(root / "Ranges") and is_folder(root / "GroundTruth"):
        return "ytov2.2"
    tags = published_data("ytov1").classes
    as_in_v1 = any(is_folder(root / tag / "data") and is_folder(root / tag / "sets") for tag in tags)
    return "ytov1" if as_in_v1 else None


def _found(root: Path, folder: str) -> _Found:
    listing = list_folder(root / folder)
    moving = (name for name in listing.images if is_moving(root / folder / name))
    files = [name for name in listing.others if name.lower().endswith(SUFFIXES)]
    video = next(iter(files), None) or next(moving, "")
    frame = next(_frames(root, folder), "")
    stray = listing.images[0] if listing.images and not video else ""
    return _Found(*(f"{folder}/{name}" if name else "" for name in (video, frame, stray)))


def _frames(root: Path, folder: str) -> Iterator[str]:
    """Yield frames in folders below a class's folder, one for each folder that has any."""
    for name in list_folder(root / folder).folders:
        for place, listing in folders_below(root / folder / name):
            if listing.images:
                yield (place / listing.images[0]).relative_to(root / folder).as_posix()


def _nothing(root: Path, strays: list[str]) -> ManifestError:
    listing = list_folder(root)
    loose = [name for name in (*listing.others, *listing.images) if name.lower().endswith(SUFFIXES)]
    if loose or listing.images:
        return ManifestError(
            f"{root} holds {(loose or listing.images)[0]}, which has no tag. Move each video into a folder "
            f"that is named after its tag. {EXPECTED}"
        )
    if strays:
        return ManifestError(
            f"{root} holds pictures that are in no video's folder, such as {strays[0]}. {EXPECTED}"
        )
    deeper = next(
        (
            (place / name).relative_to(root)
            for place, below in folders_below(root)
            for name in (*below.others, *below.images)
            if name.lower().endswith(SUFFIXES) or name in below.images
        ),
        None,
    )
    more = f"; one lies at {deeper}: give the folder that holds the folders of the tags" if deeper else ""
    return ManifestError(f"{root} holds no video and no frame at the level expected{more}. {EXPECTED}")
