"""The published facts of the two YouTube-Objects data sets: classes, counts, and splits of videos."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from tcam_cache.datasets.layouts.scan import Scan
from tcam_cache.datasets.manifest import Manifest
from tcam_cache.records import SPLITS, Shot, shots_of_split

_FILES = {"ytov1": "ytov1.json", "ytov2.2": "ytov2_2.json"}


@dataclass(frozen=True)
class ExpectedData:
    """A data set as described by its papers and the published split files.

    Attributes:
        classes: in alphabetical order, which is the order of their published numbers.
        counts: of videos, shots, frames, annotated frames and boxes; in total, and under "splits" per split.
        splits: the split of each video.
    """

    classes: tuple[str, ...]
    counts: Mapping[str, Any]
    splits: Mapping[str, str]


def expected_data(layout: str) -> ExpectedData | None:
    """Return the published facts of the data set with this layout, or None where none are published."""
    return published_data(layout) if layout in _FILES else None


@cache
def published_data(layout: str) -> ExpectedData:
    """Return the published facts of one of the two data sets, by its layout."""
    text = resources.files("tcam_cache_data").joinpath(_FILES[layout]).read_text(encoding="utf-8")
    known = json.loads(text)
    splits = {
        known["video"].format(**{"class": tag, "video": video}): split
        for split, tags in known["splits"].items()
        for tag, videos in tags.items()
        for video in videos
    }
    return ExpectedData(tuple(known["classes"]), known["expected"], splits)


def deviations(data: Manifest | Scan, splits_too: bool = True) -> tuple[str, ...]:
    """List where a data set differs from the published facts of its layout; empty for other layouts.

    Counts with and without the empty shots are accepted: the published number does not say which it is.

    Args:
        data: the whole data set, not sampled.
        splits_too: whether to compare splits, too; not useful if other splits were given.
    """
    known = expected_data(data.layout)
    if known is None:
        return ()
    lines = list(_wrong_counts(data.shots, known.counts, "", data.facts.get("empty_shots", 0)))
    if splits_too:
        for split in SPLITS:
            lines += _wrong_counts(
                shots_of_split(data.shots, split), known.counts["splits"][split], f"{split} "
            )
        splits = {shot.video: shot.split for shot in data.shots}
        lines += (
            f"video {video}: in {splits[video]}, published in {split}"
            for video, split in known.splits.items()
            if splits.get(video, split) != split
        )
        lines += (f"video {video} is missing" for video in known.splits if video not in splits)
        lines += (f"video {video} is not among the published ones" for video in splits.keys() - known.splits)
    return tuple(lines)


def _wrong_counts(
    shots: Sequence[Shot], counts: Mapping[str, Any], what: str, empty: int = 0
) -> Iterator[str]:
    actual_counts = {
        "videos": len({shot.video for shot in shots}),
        "shots": len(shots),
        "frames": sum(map(len, shots)),
        "annotated_frames": sum(len(shot.boxes) for shot in shots),
        "boxes": sum(len(boxes) for shot in shots for boxes in shot.boxes.values()),
    }
    for name, number in actual_counts.items():
        expected = counts.get(name, number)
        if number != expected and not (name == "shots" and number + empty == expected):
            yield f"{what}{name.replace('_', ' ')}: got {number:,}, expected {expected:,}"
