"""Which frames of a data set are used, and which split each video is in."""

import hashlib
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from tcam_cache.datasets.manifest import Manifest
from tcam_cache.datasets.video import time_of
from tcam_cache.errors import ConfigError
from tcam_cache.records import Shot

SHARE = 0.2
_WORDS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip


def named_split(folder: str) -> str:
    """Return the split that a folder's name stands for, or "".

    >>> named_split("Validation"), named_split("cat")
    ('val', '')
    """
    return _WORDS.get(folder.casefold(), "")


def split_sizes(videos: int) -> tuple[int, int, int]:
    """Return how many of a class's videos are train, val and test, about 60 / 20 / 20.

    The first video goes to train, the second to test, the third to val.

    >>> [split_sizes(n) for n in (1, 2, 3, 5, 10)]
    [(1, 0, 0), (1, 0, 1), (1, 1, 1), (3, 1, 1), (6, 2, 2)]
    """
    share = max(1, round(SHARE * videos))
    test = share if videos > 1 else 0
    val = share if videos > 2 else 0
    return videos - val - test, val, test


def seeded_splits(shots: Sequence[Shot], seed: int) -> dict[str, str]:
    """Return a random split for every video, drawn per class.

    The draw of a class depends only on the seed, its name and its videos: adding a class moves no video.
    """
    videos: dict[str, list[str]] = {}
    for shot in shots:
        videos.setdefault(shot.tag, []).append(shot.video)
    splits = {}
    for tag, class_videos in videos.items():
        names = sorted(set(class_videos))
        generator = np.random.default_rng([seed, zlib.crc32(tag.encode())])
        train, val, _ = split_sizes(len(names))
        words = ["train"] * train + ["val"] * val + ["test"] * (len(names) - train - val)
        splits.update(zip((names[i] for i in generator.permutation(len(names))), words, strict=True))
    return splits


def with_splits(shots: Sequence[Shot], splits: Mapping[str, str]) -> tuple[Shot, ...]:
    """Return the shots with the splits of their videos; a video that is not listed is "train"."""
    return tuple(replace(shot, split=splits.get(shot.video, "train")) for shot in shots)


def evenly_spaced(length: int, most: int) -> list[int]:
    """Return at most so many evenly spaced positions, including first and last.

    >>> evenly_spaced(9, 3), evenly_spaced(2, 3)
    ([0, 4, 8], [0, 1])
    """
    return np.linspace(0, length - 1, min(length, most)).round().astype(int).tolist()


def spread(shots: Sequence[Shot], of_shot: int, total: int) -> list[Shot]:
    """Return shots with evenly spaced frames: at most so many of each, of every video as many as of others.

    A shot that keeps no frame is left out.

    Args:
        shots: in any order.
        of_shot: frames of a shot at most, at least 1.
        total: frames in all at most, but one of each video at least.

    >>> shots = [Shot(f"a/{n}", "a", "a", "train", "a", ("1", "2", "3", "4", "5")) for n in range(4)]
    >>> [(shot.id, shot.frames) for shot in spread(shots, 2, 3)]
    [('a/0', ('1',)), ('a/2', ('1',)), ('a/3', ('5',))]
    """
    frames: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for number, shot in enumerate(shots):
        frames[shot.video] += ((number, t) for t in evenly_spaced(len(shot), of_shot))
    kept: dict[int, list[int]] = defaultdict(list)
    for of_video in frames.values():
        for place in evenly_spaced(len(of_video), max(1, total // len(frames))):
            number, t = of_video[place]
            kept[number].append(t)
    return [shots[number].only(kept[number]) for number in sorted(kept)]


def sample(
    manifest: Manifest,
    every: int = 1,
    max_per_shot: int | None = None,
    fraction: float = 1.0,
    seed: int = 0,
    fps: float | None = None,
) -> Manifest:
    """Return a manifest with fewer shots and frames; its `facts` record the sampling.

    All annotated frames of the kept shots are kept, so that scores stay comparable.

    Args:
        manifest: the whole data set.
        every: keep every K-th frame of a shot, starting at its first.
        max_per_shot: then keep at most so many of those, evenly spaced, including first and last.
        fraction: keep this share of the shots of each class in each split, at least one. The draw
            depends only on the seed and the shot's id, so a smaller share is a subset of a larger one.
        seed: of that draw.
        fps: before that, keep at most so many frames per second of video files, including each shot's first.
    """
    if not 0 < fraction <= 1:
        raise ConfigError(f"got fraction = {fraction}; expected a number above 0, at most 1.")
    if max_per_shot is not None and max_per_shot < 1:
        raise ConfigError(f"got max_per_shot = {max_per_shot}; expected at least 1.")
    if fps is not None and manifest.layout != "videos":
        raise ConfigError("frames of images have no times: fps is for video files.")
    asked = {
        "every": (every, 1),
        "max_per_shot": (max_per_shot, None),
        "fraction": (fraction, 1.0),
        "fps": (fps, None),
    }
    recorded = {name: value for name, (value, default) in asked.items() if value != default}
    if not recorded:
        return manifest
    if "fraction" in recorded:
        recorded["seed"] = seed
        manifest = replace(manifest, shots=tuple(_some_shots(manifest, fraction, seed)))
    if fps is not None:
        manifest = replace(manifest, shots=tuple(_slower(shot, fps) for shot in manifest.shots))
    manifest = manifest.sampled(every)
    if max_per_shot is not None:
        manifest = replace(manifest, shots=tuple(_evenly(shot, max_per_shot) for shot in manifest.shots))
    earlier = manifest.facts.get("sampling", {})
    return replace(manifest, facts={**manifest.facts, "sampling": {**earlier, **recorded}})


def _some_shots(manifest: Manifest, fraction: float, seed: int) -> Iterator[Shot]:
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for shot in manifest.shots:
        groups[shot.tag, shot.split].append(shot.id)
    kept: set[str] = set()
    for ids in groups.values():
        drawn = sorted(ids, key=lambda shot_id: hashlib.sha256(f"{seed} {shot_id}".encode()).digest())
        kept.update(drawn[: max(1, round(fraction * len(ids)))])
    return (shot for shot in manifest.shots if shot.id in kept)


def _slower(shot: Shot, fps: float) -> Shot:
    times = [time_of(name) for name in shot.frames]
    # Times are rounded to whole milliseconds, so half a millisecond is added.
    ticks = [int((time - times[0] + 0.5) * fps / 1000) for time in times]
    due = (t == 0 or ticks[t] > ticks[t - 1] for t in range(len(shot)))
    return shot.only([t for t, first in enumerate(due) if first or t in shot.boxes])


def _evenly(shot: Shot, most: int) -> Shot:
    if len(shot) <= most:
        return shot
    return shot.only(sorted({*evenly_spaced(len(shot), most), *shot.boxes}))
