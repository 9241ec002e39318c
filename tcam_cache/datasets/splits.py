"""Splits by video: all shots of a video are on the same side, so that no scene is both learned and scored."""

import zlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tcam_cache.records import Shot

SHARE = 0.2
_WORDS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip


def named_split(folder: str) -> str:
    """Return the split that a folder's name means, or "".

    >>> named_split("Validation"), named_split("cat")
    ('val', '')
    """
    return _WORDS.get(folder.casefold(), "")


def split_sizes(videos: int) -> tuple[int, int, int]:
    """Return how many of a class's videos are train, val and test: about 60 / 20 / 20.

    The first video goes to train, the second to test, the third to val.

    >>> [split_sizes(n) for n in (1, 2, 3, 5, 10)]
    [(1, 0, 0), (1, 0, 1), (1, 1, 1), (3, 1, 1), (6, 2, 2)]
    """
    share = max(1, round(SHARE * videos))
    test = share if videos > 1 else 0
    val = share if videos > 2 else 0
    return videos - val - test, val, test


def seeded_splits(shots: Sequence[Shot], seed: int) -> dict[str, str]:
    """Return a split for every video, drawn per class.

    The draw of a class depends on the seed, its name and its own videos alone: adding a class moves no video.
    """
    videos: dict[str, list[str]] = {}
    for shot in shots:
        videos.setdefault(shot.tag, []).append(shot.video)
    splits = {}
    for tag, found in videos.items():
        names = sorted(set(found))
        generator = np.random.default_rng([seed, zlib.crc32(tag.encode())])
        train, val, _ = split_sizes(len(names))
        words = ["train"] * train + ["val"] * val + ["test"] * (len(names) - train - val)
        splits.update(zip((names[i] for i in generator.permutation(len(names))), words, strict=True))
    return splits


def with_splits(shots: Sequence[Shot], splits: dict[str, str]) -> tuple[Shot, ...]:
    """Return the shots with their videos' splits; a video that is not named is "train"."""
    return tuple(replace(shot, split=splits.get(shot.video, "train")) for shot in shots)
