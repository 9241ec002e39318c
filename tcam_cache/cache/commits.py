"""The index (which rows belong to which shot) and the commit records of finished shots."""

import difflib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from typing import Self

import numpy as np

from tcam_cache.cache.objects import Objects, WritableObjects
from tcam_cache.errors import CacheError
from tcam_cache.provenance import sha256_of


@dataclass(frozen=True)
class ShotIndex:
    """The shots of a cache, in its order, one entry per shot in every field.

    Attributes:
        ids: the shots' ids.
        tags: their class tags.
        videos: the videos they belong to.
        splits: their splits when the cache was made.
        starts: row of their first frame on the frame axis.
        lengths: their numbers of frames.
    """

    ids: tuple[str, ...]
    tags: tuple[str, ...]
    videos: tuple[str, ...]
    splits: tuple[str, ...]
    starts: tuple[int, ...]
    lengths: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def digest(self) -> str:
        """SHA-256 of every entry."""
        return sha256_of(asdict(self))

    @property
    def is_consistent(self) -> bool:
        """Whether there are shots, with ids of their own, tags, frames, and ascending rows."""
        columns = (self.ids, self.tags, self.videos, self.splits, self.starts, self.lengths)
        return (
            len({len(column) for column in columns}) == 1
            and len(self) == len(self.positions) > 0
            and all(self.tags)
            and min(self.lengths) > 0 <= self.starts[0]
            and all(before <= after for before, after in pairwise(self.starts))
        )

    @cached_property
    def positions(self) -> dict[str, int]:
        """Position of each shot id."""
        return {name: position for position, name in enumerate(self.ids)}

    def position(self, shot_id: str) -> int:
        """Return the position of a shot in the index, or raise `CacheError` with similar ids."""
        if shot_id in self.positions:
            return self.positions[shot_id]
        alike = difflib.get_close_matches(shot_id, self.ids, n=5, cutoff=0.5)
        advice = "Close to it are:" if alike else f"Its ids look like {self.ids[0]!r}."
        raise CacheError(f"there is no shot {shot_id!r} among the {len(self)} of this cache. {advice}", alike)

    def rows(self, position: int) -> slice:
        """Return the rows of a shot on the frame axis."""
        return slice(self.starts[position], self.starts[position] + self.lengths[position])

    def chosen(self, positions: Sequence[int]) -> Self:
        """Return the index of some of the shots."""
        columns = asdict(self)
        return type(self)(**{name: tuple(columns[name][at] for at in positions) for name in columns})

    def differences(self, stored: "ShotIndex") -> list[str]:
        """List the positions at which id, tag or length differ from a stored index."""
        return [
            f"shot {position}: {_row(self, position)}, not {_row(stored, position)}"
            for position in range(max(len(self), len(stored)))
            if _row(self, position) != _row(stored, position)
        ]


def _row(index: ShotIndex, position: int) -> str:
    columns: Sequence[Sequence] = (index.ids, index.tags, index.lengths)
    if position >= len(index):
        return "none"
    name, tag, length = (column[position] for column in columns)
    return f"{name} ({tag}, {length} frames)"


FOLDER = "commits"


@dataclass(frozen=True)
class Commit:
    """The commit record of one finished shot, with the digest of its data.

    Attributes:
        fingerprint: of the cache it was written for.
        shot: the shot's id.
        frames: its number of frames.
        flat: how many of its maps were constant.
        sha256: of its maps and frame statistics, as little-endian bytes.
        stamp: of its source files, see `source_files.stamp_of`; None if they are not recorded.
        content: of the bytes of its source files, see `source_files.content_of`.
    """

    fingerprint: str
    shot: str
    frames: int
    flat: int
    sha256: str
    stamp: str | None = None
    content: str | None = None

    def is_of(self, fingerprint: str, shot: str, frames: int) -> bool:
        """Return whether a record that was read belongs to a shot of a cache, and holds what is written."""
        return (
            (self.fingerprint, self.shot) == (fingerprint, shot)
            and isinstance(self.sha256, str)
            and isinstance(self.stamp, str | None)
            and isinstance(self.content, str | None)
            and type(self.frames) is type(self.flat) is int
            and self.frames == frames
            and 0 <= self.flat <= frames
        )


def content_digest(maps: np.ndarray, stats: np.ndarray) -> str:
    """Return the SHA-256 of a shot's numbers: (T, h, w) float16 maps, then (T, k) float32 statistics."""
    digest = hashlib.sha256(np.ascontiguousarray(maps, "<f2").data)
    digest.update(np.ascontiguousarray(stats, "<f4").data)
    return digest.hexdigest()


class CommitLog:
    """The commit records of one cache. Each record is read once and kept in memory."""

    def __init__(self, objects: Objects, fingerprint: str, index: ShotIndex) -> None:
        self._objects = objects
        self._fingerprint = fingerprint
        self._index = index
        self._seen: dict[int, Commit] = {}

    def get(self, position: int) -> Commit | None:
        """Return the record of a shot, or None if there is none, or none that this cache's writers wrote."""
        if position not in self._seen:
            self._keep(position, self._objects.get(self.name(position)))
        return self._seen.get(position)

    def all(self) -> dict[int, Commit]:
        """Return every record of this cache by its shot's position, in order."""
        files = {f"{position:06d}.json": position for position in range(len(self._index))}
        listed = [files[file] for file in self._objects.present(FOLDER, files)]
        unread = {self.name(position): position for position in listed if position not in self._seen}
        for name, data in self._objects.get_all(unread).items():
            self._keep(unread[name], data)
        return {position: self._seen[position] for position in listed if position in self._seen}

    def foreign_names(self) -> list[str]:
        """Return the names of files in the records' folder that are not records of this cache."""
        own_names = {self.name(position) for position in self.all()}
        return [name for file in self._objects.names(FOLDER) if (name := f"{FOLDER}/{file}") not in own_names]

    @staticmethod
    def name(position: int) -> str:
        """Return the name of a shot's record."""
        return f"{FOLDER}/{position:06d}.json"

    def _keep(self, position: int, data: bytes | None) -> None:
        commit, index = self._parse(data), self._index
        if commit and commit.is_of(self._fingerprint, index.ids[position], index.lengths[position]):
            self._seen[position] = commit

    @staticmethod
    def _parse(data: bytes | None) -> Commit | None:
        try:
            return Commit(**json.loads(data)) if data is not None else None
        except (ValueError, TypeError, RecursionError):
            return None


class WritableCommitLog(CommitLog):
    """The commit records of a cache that is written."""

    def __init__(self, objects: WritableObjects, fingerprint: str, index: ShotIndex) -> None:
        super().__init__(objects, fingerprint, index)
        self._writable = objects

    def put(self, position: int, commit: Commit) -> None:
        """Write a record: from now on the shot exists."""
        values = {name: value for name, value in asdict(commit).items() if value is not None}
        self._writable.put(self.name(position), (json.dumps(values, indent=2) + "\n").encode())
        self._seen[position] = commit

    def remove(self, position: int) -> None:
        """Remove a record: from now on the shot is not finished."""
        self._writable.remove(self.name(position))
        self._seen.pop(position, None)
