"""What was found in the frames of one input, as the writers of all formats take it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import PurePosixPath

from tcam_cache.cells import file_names
from tcam_cache.datasets.boxes_table import FoundBox


@dataclass(frozen=True)
class Footage:
    """Found boxes, and the names that other programs need.

    Attributes:
        found: one for each frame, in order.
        classes: of the run, in its order.
        folder: name of the folder that the frames' paths start from.
        pictures: paths of those frames that are picture files by themselves. The others, frames of videos and
            of animated pictures, are written as JPEG where a format needs pictures.
    """

    found: Sequence[FoundBox]
    classes: Sequence[str]
    folder: str
    pictures: frozenset[str]

    @cached_property
    def tags(self) -> dict[str, int]:
        """The index of each class, from 0: those of the run first, then other tags in the frames."""
        names = dict.fromkeys([*self.classes, *(one.tag for one in self.found)])
        return {name: index for index, name in enumerate(names)}

    @cached_property
    def picture_names(self) -> dict[str, str]:
        """The path of the picture of each frame, by the frame's path."""
        paths = [one.path for one in self.found]
        written = file_names((path for path in paths if path not in self.pictures), ".jpg")
        return {path: written.get(path, path) for path in paths}

    @cached_property
    def stems(self) -> dict[str, str]:
        """The picture's path without its suffix by the frame's path; with it where two would be equal."""
        bare: Mapping[str, list[str]] = defaultdict(list)
        for path, name in self.picture_names.items():
            bare[str(PurePosixPath(name).with_suffix("")).casefold()].append(path)
        alone = {paths[0] for paths in bare.values() if len(paths) == 1}
        return {
            path: str(PurePosixPath(name).with_suffix("")) if path in alone else name
            for path, name in self.picture_names.items()
        }

    @cached_property
    def videos(self) -> dict[str, list[FoundBox]]:
        """The frames of each video file; empty for pictures."""
        moving = (one for one in self.found if one.time is not None)
        return {video: list(frames) for video, frames in groupby(moving, lambda one: one.video)}

    @cached_property
    def stills(self) -> list[FoundBox]:
        """The pictures."""
        return [one for one in self.found if one.time is None]


def runs(frames: Sequence[FoundBox]) -> dict[str, list[list[FoundBox]]]:
    """Return by tag the runs of frames in a row of one video that have a box of that tag."""
    runs_by_tag: dict[str, list[list[FoundBox]]] = defaultdict(list)
    last: FoundBox | None = None
    for one in frames:
        if one.box is not None:
            goes_on = last is not None and (last.tag, last.number + 1) == (one.tag, one.number)
            if not goes_on:
                runs_by_tag[one.tag].append([])
            runs_by_tag[one.tag][-1].append(one)
        last = one if one.box is not None else None
    return dict(runs_by_tag)
