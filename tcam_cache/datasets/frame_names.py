"""Which frame or video a name in an annotation file means: names are paths below this root or another."""

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from tcam_cache.datasets.picture_files import picture_suffixes
from tcam_cache.names import one_name
from tcam_cache.records import Shot

ShotFrame = tuple[Shot, int]


def plain_path(path: str) -> str:
    """Return the normal form of a path below the root: NFC, and without "./".

    >>> plain_path("./cat/1.jpg")
    'cat/1.jpg'
    """
    return one_name(path).removeprefix("./")


def without_suffix(path: str) -> str:
    """Return a path without the suffix of a picture.

    >>> without_suffix("cat/1.jpg"), without_suffix("cat/clip.mp4/00000040ms")
    ('cat/1', 'cat/clip.mp4/00000040ms')
    """
    suffix = next((end for end in picture_suffixes() if path.lower().endswith(end)), "")
    return path.removesuffix(path[len(path) - len(suffix) :]) if suffix else path


def meant_paths(known: Iterable[str], wanted: Collection[str]) -> dict[str, list[str]]:
    """Return for each wanted path the known ones that it may mean.

    A path means an equal one; else those that end with it, or the one that it ends with, by whole folders;
    else the same without the suffixes of pictures, first its own, then that of the known ones.

    Args:
        known: paths that exist.
        wanted: paths as another program names them. "" means every known path.

    >>> meant_paths(["dog/1/a.png", "dog/2/a.png"], ["1/a.png", "x/dog/2/a.jpg", "a", "b.png"])
    {'1/a.png': ['dog/1/a.png'], 'x/dog/2/a.jpg': ['dog/2/a.png'], 'a': ['dog/1/a.png', 'dog/2/a.png']}
    """
    known = list(known)
    matches: dict[str, list[str]] = {}
    for of_wanted, of_known in ((plain_path, plain_path), (_bare, plain_path), (_bare, _bare)):
        left = [path for path in wanted if path not in matches]
        if left:
            matches |= _ends(known, left, of_wanted, of_known)
    return matches


def frames_named(
    shots: Sequence[Shot], wanted: Collection[tuple[str, int | None]]
) -> dict[tuple[str, int | None], list[ShotFrame]]:
    """Return for each name the frames that it may mean.

    Args:
        shots: of the data set.
        wanted: (path of a frame, None), or (path of a video, number of the frame in it, from 0).
    """
    frames = {shot.path(t): (shot, t) for shot in shots for t in range(len(shot))}
    videos: Mapping[str, list[ShotFrame]] = defaultdict(list)
    for shot in shots:
        videos[shot.folder] += ((shot, t) for t in range(len(shot)))
    of_frames = meant_paths(frames, {path for path, number in wanted if number is None})
    of_videos = meant_paths(videos, {path for path, number in wanted if number is not None})
    matches: dict[tuple[str, int | None], list[ShotFrame]] = {
        (path, None): [frames[one] for one in meant] for path, meant in of_frames.items()
    }
    numbered = ((path, number) for path, number in wanted if number is not None and path in of_videos)
    return matches | {
        (path, number): [videos[one][number] for one in of_videos[path] if number < len(videos[one])]
        for path, number in numbered
    }


def _ends(
    known: Sequence[str],
    wanted: Iterable[str],
    of_wanted: Callable[[str], str],
    of_known: Callable[[str], str],
) -> dict[str, list[str]]:
    asked: Mapping[str, list[str]] = defaultdict(list)
    for path in wanted:
        asked[of_wanted(path)].append(path)
    whole: Mapping[str, list[str]] = defaultdict(list)
    ending: Mapping[str, list[str]] = defaultdict(list)
    for path in known:
        key = of_known(path)
        whole[key].append(path)
        for end in _tails(key):
            if end in asked:
                ending[end].append(path)
    matches = {}
    for key, paths in asked.items():
        longer = next((whole[end] for end in _tails(key) if end in whole), [])
        if meant := (whole[key] if key in whole else ending.get(key, longer)):
            matches |= dict.fromkeys(paths, meant)
    return matches


def _tails(path: str) -> list[str]:
    """Return the ends of a path by whole folders, the longest first; "" is the end of every path.

    >>> _tails("dog/1/a.png")
    ['dog/1/a.png', '1/a.png', 'a.png', '']
    """
    return [path[match.end() :] for match in re.finditer(r"^|/|$", path)]


def _bare(path: str) -> str:
    return without_suffix(plain_path(path))
