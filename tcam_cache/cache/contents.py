"""What the reader, the pack, the check and the summary share: one cache's marker, index, records, arrays."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from tcam_cache.cache.arrays import Arrays
from tcam_cache.cache.commits import Commit, CommitLog
from tcam_cache.cache.index import ShotIndex
from tcam_cache.cache.layout import ARRAYS, CachePlan
from tcam_cache.cache.locate import objects_at
from tcam_cache.cache.marker import MEND, NAME, Marker
from tcam_cache.cache.objects import Objects
from tcam_cache.errors import CacheError
from tcam_cache.place import Place
from tcam_cache.provenance import sha256_of
from tcam_cache.records import Shot


@dataclass(frozen=True)
class Contents:
    """One cache, read only."""

    objects: Objects
    marker: Marker
    arrays: Arrays

    @classmethod
    def open(cls, path: Place) -> Self:
        """Open the cache at a place; see `CamCache.open`."""
        objects = objects_at(path)
        marker = Marker.read(objects)
        if marker is None and objects.kind() is None:
            raise CacheError(f"there is no folder {path}. Make a cache with `tcam-cache build`.")
        if marker is None:
            raise CacheError(
                f"{path} is not a CAM cache: it holds no {NAME}. Name the folder that `tcam-cache build` "
                "wrote; if that was interrupted as it began, run it again."
            )
        return cls(objects, marker, Arrays(objects))

    @cached_property
    def index(self) -> ShotIndex:
        """The index of the shots, checked against the marker's digest.

        Raises:
            CacheError: it is damaged.
        """
        index = self.arrays.index(self.marker.classes)
        if index.digest != self.marker.index:
            raise CacheError(
                f"the index of shots in {self.objects.where(ARRAYS)} is not the one that {NAME} names: "
                f"it is damaged. To mend that, {MEND}."
            )
        return index

    @cached_property
    def log(self) -> CommitLog:
        """The commit records."""
        return CommitLog(self.objects, self.marker.fingerprint, self.index.ids)

    @cached_property
    def plan(self) -> CachePlan:
        """The plan that it was made from, but for the names of the frames."""
        index, marker = self.index, self.marker
        columns = zip(index.ids, index.tags, index.videos, index.splits, index.lengths, strict=True)
        shots = (Shot(*names, folder="", frames=("",) * length) for *names, length in columns)
        return CachePlan(marker.classes, tuple(shots), marker.map_size, marker.settings, marker.recorded)

    def digest(self, commits: Mapping[int, Commit]) -> str:
        """Return the SHA-256 of the fingerprint and the digests of these commits, by shot."""
        contents = sorted((commit.shot, commit.sha256) for commit in commits.values())
        return sha256_of([self.marker.fingerprint, contents])

    def finished(self, shot_id: str) -> int:
        """Return the position of a finished shot.

        Raises:
            CacheError: the shot is unknown or not finished.
        """
        position = self.index.position(shot_id)
        if self.log.get(position) is None:
            raise CacheError(
                f"shot {shot_id!r} is not finished in {self.objects.where()}. "
                "Run the same `tcam-cache build` again: it resumes."
            )
        return position

    def sound(self, shot_id: str, values: np.ndarray) -> np.ndarray:
        """Return values read of a finished shot, or raise `CacheError` where a chunk of them is gone."""
        if np.isnan(values).any():
            raise CacheError(
                f"shot {shot_id!r} is finished, yet a chunk of it is missing below {self.objects.where()}. "
                "Run `tcam-cache verify` to list the damage."
            )
        return values
