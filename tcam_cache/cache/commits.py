"""Commit records: a shot is in the cache when, and only when, its record is there and names this cache."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from tcam_cache.cache.objects import Objects, WritableObjects

FOLDER = "commits"


@dataclass(frozen=True)
class Commit:
    """What vouches for one finished shot.

    Attributes:
        fingerprint: of the cache it was written for.
        shot: the shot's id.
        frames: its number of frames.
        flat: how many of its maps were constant.
        sha256: of its maps and frame statistics, as little-endian bytes.
        stamp: of the files its frames were read from, `source_files.stamp_of`; None where nobody told.
        content: of their bytes, `source_files.content_of`.
    """

    fingerprint: str
    shot: str
    frames: int
    flat: int
    sha256: str
    stamp: str | None = None
    content: str | None = None


def content_digest(maps: np.ndarray, stats: np.ndarray) -> str:
    """Return the SHA-256 of a shot's numbers: (T, h, w) float16 maps, then (T, k) float32 statistics."""
    digest = hashlib.sha256(np.ascontiguousarray(maps, "<f2"))
    digest.update(np.ascontiguousarray(stats, "<f4"))
    return digest.hexdigest()


class CommitLog:
    """The commit records of one cache. A record that was read once is not read again."""

    def __init__(self, objects: Objects | WritableObjects, fingerprint: str, ids: Sequence[str]) -> None:
        self._objects = objects
        self._fingerprint = fingerprint
        self._ids = ids
        self._seen: dict[int, Commit] = {}

    def get(self, position: int) -> Commit | None:
        """Return the record of a shot, or None when there is none, or one that belongs to another cache."""
        if position not in self._seen:
            self._keep(position, self._objects.get(self.name(position)))
        return self._seen.get(position)

    def all(self) -> dict[int, Commit]:
        """Return every record of this cache by its shot's position, in order."""
        files = {f"{position:06d}.json": position for position in range(len(self._ids))}
        listed = [files[file] for file in self._objects.present(FOLDER, files)]
        unread = {self.name(position): position for position in listed if position not in self._seen}
        for name, data in self._objects.get_all(unread).items():
            self._keep(unread[name], data)
        return {position: self._seen[position] for position in listed if position in self._seen}

    def put(self, position: int, commit: Commit) -> None:
        """Write a record: from now on the shot exists."""
        values = {name: value for name, value in asdict(commit).items() if value is not None}
        self._objects.put(self.name(position), (json.dumps(values, indent=2) + "\n").encode())
        self._seen[position] = commit

    def remove(self, position: int) -> None:
        """Remove a record: from now on the shot is not finished."""
        self._objects.remove(self.name(position))
        self._seen.pop(position, None)

    def strangers(self) -> list[str]:
        """Return the names in the folder of records that are no record of this cache."""
        ours = {self.name(position) for position in self.all()}
        return [name for file in self._objects.names(FOLDER) if (name := f"{FOLDER}/{file}") not in ours]

    @staticmethod
    def name(position: int) -> str:
        """Return the name of a shot's record."""
        return f"{FOLDER}/{position:06d}.json"

    def _keep(self, position: int, data: bytes | None) -> None:
        commit = self._parse(data)
        if commit and (commit.fingerprint, commit.shot) == (self._fingerprint, self._ids[position]):
            self._seen[position] = commit

    @staticmethod
    def _parse(data: bytes | None) -> Commit | None:
        try:
            return Commit(**json.loads(data)) if data is not None else None
        except (ValueError, TypeError):
            return None
