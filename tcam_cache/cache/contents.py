"""An opened cache: its shots and their rows, read with or without checking digests."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from tcam_cache.cache.commits import Commit, CommitLog, ShotIndex, content_digest
from tcam_cache.cache.format import ARRAYS, CAM, DTYPES, NAME, STATS, CachePlan, Marker
from tcam_cache.cache.frames import FrameFolder
from tcam_cache.cache.objects import Objects
from tcam_cache.cache.storage import objects_at
from tcam_cache.cache.storage.arrays import Arrays, Columns
from tcam_cache.cache.storage.hdf5 import H5Arrays, H5Objects
from tcam_cache.errors import CacheError
from tcam_cache.files import Place
from tcam_cache.provenance import sha256_of
from tcam_cache.records import Shot


@dataclass(frozen=True)
class Contents:
    """One cache, read only: a folder, a URL, or an exported HDF5 file."""

    objects: Objects
    marker: Marker
    arrays: Columns

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
        arrays = H5Arrays(objects.file) if isinstance(objects, H5Objects) else Arrays(objects)
        return cls(objects, marker, arrays)

    @cached_property
    def index(self) -> ShotIndex:
        """The index of the shots, checked for consistency and against the marker's digest.

        Raises:
            CacheError: it is damaged.
        """
        index = self.arrays.index(self.marker.classes)
        if index.digest != self.marker.index or not index.is_consistent:
            raise CacheError(
                f"the index of shots in {self.objects.where(ARRAYS)} is not the one that {NAME} names: "
                f"it is damaged. To mend that, {self.repair_hint}."
            )
        return index

    @property
    def repair_hint(self) -> str:
        """What to do about damage that is not limited to a single shot."""
        return self.objects.repair_hint(NAME)

    @cached_property
    def log(self) -> CommitLog:
        """The commit records."""
        return CommitLog(self.objects, self.marker.fingerprint, self.index)

    @cached_property
    def frames(self) -> FrameFolder:
        """The frames stored beside the CAMs."""
        return FrameFolder(self.objects, self.marker.fingerprint, self.index)

    @cached_property
    def plan(self) -> CachePlan:
        """The plan that the cache was made from, without the names of the frames."""
        index, marker = self.index, self.marker
        columns = zip(index.ids, index.tags, index.videos, index.splits, index.lengths, strict=True)
        shots = (Shot(*names, folder="", frames=("",) * length) for *names, length in columns)
        return CachePlan(marker.classes, tuple(shots), marker.map_size, marker.settings, marker.recorded)

    def column(self, name: str, rows: slice) -> np.ndarray:
        """Return rows of the maps (m, h, w) float16 or of the statistics (m, k) float32.

        Raises:
            CacheError: a chunk is damaged, or the array's shape or type contradicts cache.json or the index.
        """
        values, dtype = self.arrays.column(name, rows), DTYPES[name]
        shape = (rows.stop - rows.start, *self.marker.row_shapes[name])
        if values.shape != shape or values.dtype != dtype:
            raise CacheError(
                f"rows {rows.start} to {rows.stop} of {self.objects.where(f'{ARRAYS}/{name}')} are of shape "
                f"{values.shape}, {values.dtype}; {NAME} and the index of shots expect {shape}, {dtype}. "
                "The cache is damaged: run `tcam-cache verify`."
            )
        return values

    def read(self, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """Return maps and statistics of rows, see `column`; NaN where a chunk is missing."""
        return self.column(CAM, rows), self.column(STATS, rows)

    def stats(self, positions: Iterable[int]) -> np.ndarray:
        """Return the (N, k) float32 statistics of all frames of finished shots, shot after shot.

        Raises:
            CacheError: a chunk is missing or damaged.
        """
        rows = {at: self.index.rows(at) for at in positions}
        every = self.column(STATS, slice(0, max((span.stop for span in rows.values()), default=0)))
        kept = [self.sound(self.index.ids[at], every[span]) for at, span in rows.items()]
        return np.concatenate([every[:0], *kept])

    def attachment(self, name: str) -> bytes:
        """Return an attached file; see `CamCache.attachment`."""
        attached = self.marker.attachments
        if name not in attached:
            raise CacheError(
                f"{self.objects.where()} has no file {name!r} attached. Those it has are:", attached
            )
        data = self.objects.get(name)
        if data is None or hashlib.sha256(data).hexdigest() != attached[name]:
            raise CacheError(
                f"{self.objects.where(name)} is gone, or not the file that {NAME} names. "
                f"To mend that, {self.repair_hint}."
            )
        return data

    def digest(self, commits: Mapping[int, Commit]) -> str:
        """Return the SHA-256 over the fingerprint and the shot digests of these commits."""
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
        """Return the values read for a finished shot, or raise `CacheError` where a chunk is missing."""
        if np.isnan(values).any():
            raise CacheError(
                f"shot {shot_id!r} is finished, yet a chunk of it is missing below {self.objects.where()}. "
                "Run `tcam-cache verify` to list the damage."
            )
        return values


BATCH_BYTES = 32 * 1024 * 1024


def finished_shots(contents: Contents) -> dict[int, Commit]:
    """Return the record of every finished shot by its position, in order.

    Raises:
        CacheError: no shot is finished.
    """
    commits = contents.log.all()
    if not commits:
        raise CacheError(
            f"no shot of {contents.objects.where()} is finished yet. Run `tcam-cache build` first."
        )
    return commits


def iter_verified_shots(
    contents: Contents, commits: Mapping[int, Commit]
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield each shot's position, maps (T, h, w) float16 and statistics (T, k) float32.

    Raises:
        CacheError: the data of a shot does not match the digest in its commit record.
    """
    index, limit = contents.index, BATCH_BYTES // (2 * np.prod(contents.marker.map_size, dtype=int)) + 1
    for batch in _batches(index, list(commits), limit):
        first, last = index.rows(batch[0]).start, index.rows(batch[-1]).stop
        maps, stats = contents.read(slice(first, last))
        for position in batch:
            rows = slice(index.starts[position] - first, index.rows(position).stop - first)
            if content_digest(maps[rows], stats[rows]) != commits[position].sha256:
                raise CacheError(
                    f"shot {index.ids[position]!r} of {contents.objects.where()} is not what was committed. "
                    "Run `tcam-cache verify` to list the damage."
                )
            yield position, maps[rows], stats[rows]


def _batches(index: ShotIndex, positions: list[int], limit: int) -> Iterator[list[int]]:
    batch: list[int] = []
    for position in positions:
        if batch and index.rows(position).stop - index.starts[batch[0]] > limit:
            yield batch
            batch = []
        batch.append(position)
    if batch:
        yield batch
