"""The `videos` layout: CLASS/*.mp4 and the like, or a CSV of files and tags; shots are cut at index time."""

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tcam_cache.datasets.layouts.class_folders import class_folders
from tcam_cache.datasets.layouts.scan import Scan, open_root
from tcam_cache.datasets.listing import Notes, folders_below, list_folder, log_notes, on_disk
from tcam_cache.datasets.manifest import FROM_FIRST, UPRIGHT
from tcam_cache.datasets.sampling import seeded_splits, with_splits
from tcam_cache.datasets.tables import read_table
from tcam_cache.datasets.video import decoded_frames, is_moving, time_name
from tcam_cache.datasets.video_file import SUFFIXES, picture, shown_size, video_errors
from tcam_cache.errors import FrameError, ManifestError
from tcam_cache.names import in_order, one_name
from tcam_cache.processes import in_processes
from tcam_cache.progress import progress_bar
from tcam_cache.records import SPLITS, Shot

THUMBNAIL = 32
# Mean absolute difference of two thumbnails, in grey levels of 255: a cut changes more than this ...
LEAST_CHANGE = 18.0
# ... and so many times more than its neighbourhood moves, ...
TIMES_THE_MOTION = 2.5
# ... which is this many frames on either side.
NEIGHBOURHOOD = 6


def find_cuts(thumbnails: np.ndarray) -> list[int]:
    """Return the indices of frames that begin a new shot, without the first frame of the video.

    A frame begins a shot when its thumbnail differs from the one before by at least `LEAST_CHANGE`, by
    `TIMES_THE_MOTION` times the median of the changes around it (so that fast motion is not cut), and when
    the change lasts: it and the frame after differ from the two before just as much (so that a flash of one
    frame is not a cut). Dissolves and fades are not found.

    Args:
        thumbnails: (T, h, w, 3) uint8, all frames of a video in order.

    >>> black, white = np.zeros((4, 8, 8, 3), np.uint8), np.full((3, 8, 8, 3), 255, np.uint8)
    >>> find_cuts(np.concatenate([black, white]))
    [4]
    """
    if len(thumbnails) < 2:
        return []
    changes = _differences(thumbnails[1:], thumbnails[:-1])
    cuts = []
    for number in np.flatnonzero(changes >= LEAST_CHANGE).tolist():
        around = np.delete(
            changes[max(0, number - NEIGHBOURHOOD) : number + NEIGHBOURHOOD + 1], min(number, NEIGHBOURHOOD)
        )
        motion = float(np.median(around)) if len(around) else 0.0
        lasting = min(_across(thumbnails, number - 1), _across(thumbnails, number))
        if changes[number] >= TIMES_THE_MOTION * motion and lasting >= LEAST_CHANGE:
            cuts.append(number + 1)
    return cuts


def _across(thumbnails: np.ndarray, first: int) -> float:
    """Return the difference of a frame and the second one after it; indices are clamped to the video."""
    before, after = thumbnails[max(0, first)], thumbnails[min(first + 2, len(thumbnails) - 1)]
    return float(_differences(after[None], before[None])[0])


def _differences(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.abs(first.astype(np.int16) - second).mean(axis=(1, 2, 3))


LAYOUT = "videos"
COLUMNS = ("file", "class")


class _Listed(NamedTuple):
    """A video file below the root, its tag, and its split if the list has one."""

    file: str
    tag: str
    split: str = ""


class _Video(NamedTuple):
    """The result of decoding one file: names and sizes of frames, frames that begin shots, or a fault."""

    frames: tuple[str, ...] = ()
    cuts: tuple[int, ...] = ()
    sizes: tuple[tuple[int, int], ...] = ()
    fault: str = ""


def scan_videos(
    source: Path | str,
    shots: bool = True,
    seed: int = 0,
    workers: int | None = None,
    orientation: str = UPRIGHT,
) -> Scan:
    """Decode every video once and cut it into shots, with `find_cuts`.

    A video's id is its path; its frames are named by their time, so an annotation file refers to
    a frame as `CLASS/clip.mp4/00001240ms`, 1.24 seconds after the first frame that is shown.

    Args:
        source: a folder that holds CLASS/*.mp4 and the like, or a CSV with the columns file, class and, if
            splits are given, split; its files are relative to it.
        shots: whether to look for cuts; otherwise each video is one shot.
        seed: of `seeded_splits`, where no split is given.
        workers: processes that decode; default one per core, 0 or 1 for this process alone.
        orientation: "upright" (as players display frames) or "stored", for frames and their boxes.

    Raises:
        ManifestError: the source is missing, lists no video or cannot be read.
        ExtraError: PyAV is not installed.
    """
    source = Path(source)
    faults: list[str] = []
    root, listed = _listed(source, faults)
    if not listed and not faults:
        raise _no_videos(source)
    videos = dict(zip(listed, _decoded(root, listed, shots, workers, orientation), strict=True))
    broken = {item.file: video.fault for item, video in videos.items() if video.fault}
    faults += (f"{file}: {fault}" for file, fault in broken.items())
    found_shots = [shot for item, video in videos.items() for shot in _shots(item, video)]
    splits = {one_name(item.file): item.split for item in listed if item.split}
    return Scan(
        root,
        LAYOUT,
        tuple(dict.fromkeys(item.tag for item in listed)),
        with_splits(found_shots, splits or seeded_splits(found_shots, seed)),
        tuple(faults),
        {"orientation": orientation, **FROM_FIRST, "shots": "cut" if shots else "whole videos"},
        splits,
        broken,
        partial(_decoded_sizes, videos),
    )


def _decoded_sizes(
    videos: Mapping[_Listed, _Video], root: Path, names: Iterable[str]
) -> dict[str, tuple[int, int]]:
    sizes = {
        f"{item.file}/{frame}": size
        for item, video in videos.items()
        for frame, size in zip(video.frames, video.sizes, strict=True)
    }
    return {name: sizes[name] for name in names}


def _listed(source: Path, faults: list[str]) -> tuple[Path, list[_Listed]]:
    """Return the root and the videos of a folder or a CSV; what is wrong with its lines joins `faults`."""
    if source.is_file():
        return source.parent, _listed_in_csv(source, faults)
    root = open_root(source)
    return root, _listed_in_folders(root)


def _listed_in_folders(root: Path) -> list[_Listed]:
    listed = []
    notes = Notes(list)
    for tag, folder, split in class_folders(root):
        listing = list_folder(root / folder)
        files = [name for name in listing.others if name.lower().endswith(SUFFIXES)]
        moving = [name for name in listing.images if is_moving(root / folder / name)]
        files = in_order([*files, *moving]).names
        still = [f"{folder}/{name}" for name in listing.images if name not in moving]
        notes["picture(s) that do not move ignored"] += still
        listed += [_Listed(f"{folder}/{name}", tag, split) for name in files]
        notes["folder(s) below a class ignored"] += (f"{folder}/{name}" for name in listing.folders)
        notes["conflicted cop(ies) left out"] += (f"{folder}/{name}" for name in listing.copies)
        if not files:
            notes["class(es) with no video left out"].append(folder)
    log_notes(notes, ())
    return listed


def _no_videos(source: Path) -> ManifestError:
    kinds = ", ".join(f"CLASS/*{suffix}" for suffix in SUFFIXES[:3])
    expected = f"Expected {kinds}, ... below ROOT, or a CSV of file and class."
    places = [] if source.is_file() else folders_below(source)
    for location, listing in places:
        below = location.relative_to(source)
        for name in listing.others:
            if name.lower().endswith(SUFFIXES):
                return ManifestError(
                    f"{source} holds no video at the level expected; one is {below / name}. {expected}"
                    + _advice(location, source)
                )
        if listing.images:
            return ManifestError(
                f"{source} holds images, such as {below / listing.images[0]}, and no video. {expected} "
                "Frames that are unpacked already are for --layout folders."
            )
    return ManifestError(f"{source} holds no video. {expected}")


def _advice(folder: Path, source: Path) -> str:
    """Return what to give as ROOT, where the folder of a video is taken for its class."""
    if folder == source:
        above = folder.absolute()
        return (
            f" If {above.name} is a class, give {above.parent} as ROOT; else move each video into a folder "
            "named after its class."
        )
    return f" If {folder.name} is a class, give {folder.parent} as ROOT."


def _listed_in_csv(path: Path, faults: list[str]) -> list[_Listed]:
    listed: dict[str, _Listed] = {}
    for line, row in read_table(path, COLUMNS, "split", ManifestError):
        name, tag, split = (row.get(key, "").strip() for key in (*COLUMNS, "split"))
        file = os.path.relpath(path.parent / name.replace("\\", "/"), path.parent).replace(os.sep, "/")
        if file.startswith("../"):
            faults.append(f"line {line}: {name} lies outside {path.parent}; put the CSV above its files")
            continue
        file, tag = on_disk(path.parent, file), one_name(tag)
        if None in row or not name or not tag or (split and split not in SPLITS):
            faults.append(f"line {line}: expected a file, a class and a split of {', '.join(SPLITS)} or none")
        elif file in listed:
            faults.append(f"line {line}: {file} is listed twice")
        else:
            listed[file] = _Listed(file, tag, split)
    return list(listed.values())


def _decoded(
    root: Path, listed: Sequence[_Listed], shots: bool, workers: int | None, orientation: str
) -> Iterable[_Video]:
    calls = (partial(_decode, root, item.file, shots, orientation == UPRIGHT) for item in listed)
    with progress_bar(len(listed), "decoding videos", "video") as bar:
        for video in in_processes(calls, workers):
            bar.update()
            yield video


def _decode(root: Path, file: str, shots: bool, upright: bool) -> _Video:
    try:
        with video_errors(root, file, file):
            return _decode_all(root / file, shots, upright)
    except FrameError as error:
        return _Video(fault=error.offenders[0].removeprefix(f"{file}: "))


def _decode_all(path: Path, shots: bool, upright: bool) -> _Video:
    times, sizes, thumbnails = [], [], []
    for time, frame in decoded_frames(path):
        times.append(time)
        sizes.append(shown_size(frame, upright))
        if shots:
            thumbnails.append(picture(frame, upright, THUMBNAIL))
    cuts = find_cuts(np.stack(thumbnails)) if shots else []
    return _Video(tuple(map(time_name, times)), tuple(cuts), tuple(sizes))


def _shots(item: _Listed, video: _Video) -> list[Shot]:
    if not video.frames:
        return []
    starts = [0, *video.cuts]
    ends = [*video.cuts, len(video.frames)]
    name = one_name(item.file)
    return [
        Shot(f"{name}/{number:03d}", item.tag, name, "train", item.file, video.frames[start:end])
        for number, (start, end) in enumerate(zip(starts, ends, strict=True), start=1)
    ]
