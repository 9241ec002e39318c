"""Read a CAM cache: shots, CAMs, windows of consecutive CAMs, statistics."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tcam_cache.cache import pack as packs
from tcam_cache.cache.contents import Contents
from tcam_cache.cache.export.h5 import export_h5
from tcam_cache.cache.export.xarray import to_xarray
from tcam_cache.cache.format import CAM, STAT_COLUMNS, STATS
from tcam_cache.cache.frames import StoredFrames
from tcam_cache.cache.pack import PackedCams
from tcam_cache.cache.source_files import SourceChanges, source_changes
from tcam_cache.cache.summary import CacheInfo, CamStatistics, cache_info, cam_statistics
from tcam_cache.cache.verify import verify
from tcam_cache.cache.writer import copy_cache
from tcam_cache.errors import CacheError, StorageError
from tcam_cache.files import Place
from tcam_cache.records import FrameSource, Shot
from tcam_cache.window import window_indices

if TYPE_CHECKING:
    import xarray

logger = logging.getLogger(__name__)

SHOWN_SHOTS = 20


@dataclass(frozen=True)
class CachedShot:
    """A shot of a cache: id, class tag, video, split when the cache was made, frames, finished or not."""

    id: str
    tag: str
    video: str
    split: str
    length: int
    complete: bool

    def __len__(self) -> int:
        return self.length


class CachedShots(tuple[CachedShot, ...]):
    """A tuple of shots whose repr is a table."""

    __slots__ = ()

    def __repr__(self) -> str:
        shown = self[:SHOWN_SHOTS]
        wide = max(map(len, ["shot", *(shot.id for shot in shown)]))
        narrow = max(map(len, ["tag", *(shot.tag for shot in shown)]))
        lines = [f"{'shot':<{wide}}  {'tag':<{narrow}}  split  frames  state"]
        for shot in shown:
            state = "complete" if shot.complete else "not finished"
            named = f"{shot.id:<{wide}}  {shot.tag:<{narrow}}  {shot.split:<5}"
            lines.append(f"{named}  {shot.length:>6}  {state}")
        hidden = len(self) - SHOWN_SHOTS
        return "\n".join([*lines, f"... and {hidden:,} more"] if hidden > 0 else lines)


@dataclass(frozen=True)
class ShotStats:
    """The statistics and logits of every frame of a shot.

    Attributes:
        raw_min: (T,) float32, minimum of each map before it was normalised.
        raw_max: (T,) float32, maximum of each map before it was normalised.
        flat: (T,) bool, true where a map was constant, so that it localises nothing.
        logits: (T, C) float32, one column per class in the cache's order; (T, 0) without a classifier.
    """

    raw_min: np.ndarray
    raw_max: np.ndarray
    flat: np.ndarray
    logits: np.ndarray


class CamCache:
    """A cache of class activation maps, read only; a `records.CamSource`.

    It is picklable; every process opens it for itself, and several threads may read it at once.
    """

    def __init__(self, contents: Contents) -> None:
        self._contents = contents

    @classmethod
    def open(cls, path: Place) -> Self:
        """Open the cache in a folder, at a URL that fsspec knows, or in a file that `to_h5` wrote.

        It need not be complete. s3:// takes its endpoint and credentials from AWS_ENDPOINT_URL, AWS_PROFILE,
        AWS_ACCESS_KEY_ID, ...

        Raises:
            CacheError: there is no cache, it is damaged or of another format version; or the URL's protocol
                is unknown or needs a package that is not installed.
            StorageError: the store does not answer, or refuses.
        """
        return cls(Contents.open(path))

    def __reduce__(self) -> tuple:
        return type(self).open, (self.path,)

    def __repr__(self) -> str:
        height, width = self.map_size
        return f"CamCache({str(self.path)!r}, {len(self.classes)} classes, {height}x{width} maps)"

    @property
    def path(self) -> Place:
        """The cache's folder or HDF5 file, or its URL as text."""
        return self._contents.objects.place

    @property
    def classes(self) -> tuple[str, ...]:
        """The classifier's classes, in the order of its logits."""
        return self._contents.marker.classes

    @property
    def map_size(self) -> tuple[int, int]:
        """(h, w) of the CAMs."""
        return self._contents.marker.map_size

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the format version and the settings."""
        return self._contents.marker.fingerprint

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything that changes a stored number."""
        return self._contents.marker.settings

    @property
    def recorded(self) -> Mapping[str, Any]:
        """Where the cache comes from: versions, host, command line."""
        return self._contents.marker.recorded

    def shots(self) -> tuple[CachedShot, ...]:
        """Return every shot, finished or not, in the cache's order; its repr is a table."""
        done = self._contents.log.all()
        return CachedShots(
            self._shot(position, position in done) for position in range(len(self._contents.index))
        )

    def shot(self, shot_id: str) -> CachedShot:
        """Return one shot, finished or not.

        Raises:
            CacheError: there is no such shot; the message lists ids that look alike.
        """
        position = self._contents.index.position(shot_id)
        return self._shot(position, self._contents.log.get(position) is not None)

    def cams(self, shot_id: str) -> np.ndarray:
        """Return the (T, h, w) float32 CAMs of a shot in [0, 1].

        Raises:
            CacheError: the shot is unknown, not finished or damaged.
        """
        return self._maps(shot_id, range(self.shot(shot_id).length))

    def window(self, shot_id: str, t: int, n: int, mode: str = "before") -> np.ndarray:
        """Return the (m, h, w) float32 CAMs in [0, 1] of frame t and its neighbours, oldest first.

        See `tcam_cache.window_indices` for n and mode. Training reads from `pack()`, which is much faster.

        Raises:
            CacheError: the shot is unknown, not finished or damaged.
            IndexError: t lies outside the shot.
            ValueError: n is negative or the mode unknown.
        """
        return self._maps(shot_id, window_indices(t, n, self.shot(shot_id).length, mode))

    def stats(self, shot_id: str) -> ShotStats:
        """Return the statistics and logits of every frame of a shot.

        Raises:
            CacheError: the shot is unknown, not finished or damaged.
        """
        position = self._contents.finished(shot_id)
        values = self._contents.column(STATS, self._contents.index.rows(position))
        raw_min, raw_max, flat, *_ = self._contents.sound(shot_id, values).T
        return ShotStats(raw_min, raw_max, flat > 0, values[:, len(STAT_COLUMNS) :])

    def missing(self) -> tuple[str, ...]:
        """Return the ids of the shots that are not finished."""
        return tuple(shot.id for shot in self.shots() if not shot.complete)

    def require_complete(self, shot_ids: Iterable[str] | None = None) -> None:
        """Make sure that shots are in the cache and finished: those named, or for None all of them.

        Raises:
            CacheError: shots are unknown or not finished; all are listed.
        """
        requested = None if shot_ids is None else set(shot_ids)
        unknown = sorted((requested or set()) - set(self._contents.index.positions))
        if unknown:
            raise CacheError(
                f"these shots are not in the cache {self.path}, which was built from another manifest. "
                "Build a cache from this one.",
                unknown,
            )
        missing = [name for name in self.missing() if requested is None or name in requested]
        if missing:
            raise CacheError(
                f"{len(missing)} of {len(self._contents.index)} shots of {self.path} are not finished. "
                "Run the same `tcam-cache build` again: it resumes.",
                missing,
            )

    def frames(self, originals: FrameSource, shot_ids: Iterable[str]) -> StoredFrames:
        """Return a source that reads the frames `build --frames` stored, and others from their originals.

        Args:
            originals: reads frames that are not stored: full frames, and other shots.
            shot_ids: shots whose frames must be stored.

        Raises:
            CacheError: frames of some are not stored; all are listed.
        """
        folder = self._contents.frames
        missing = [name for name in shot_ids if folder.side(name) is None]
        if missing:
            raise CacheError(
                f"{self.path} holds no frames of {len(missing)} shot(s). Run `tcam-cache build --frames` "
                "again, or leave --cached-frames out.",
                missing,
            )
        return StoredFrames(folder, originals)

    def info(self) -> CacheInfo:
        """Count what is in the cache."""
        return cache_info(self._contents)

    def statistics(self, seed: int = 0) -> dict[str, CamStatistics]:
        """Return statistics of the finished CAMs by class tag; of many shots, maps of a random sample.

        Raises:
            CacheError: a chunk is damaged.
        """
        return cam_statistics(self._contents, seed)

    def attachment(self, name: str) -> bytes:
        """Return the content of a file attached to the cache, such as "classifier.pt".

        Raises:
            CacheError: there is no such file, or it does not match its digest.
        """
        return self._contents.attachment(name)

    def digest(self) -> str:
        """Return the SHA-256 over the fingerprint and the digest of every finished shot."""
        return self._contents.digest(self._contents.log.all())

    def verify(self) -> tuple[str, ...]:
        """Read all data, compare it with the commit records, and return one line per damage."""
        return verify(self._contents)

    def source_changes(self, source: FrameSource, shots: Sequence[Shot]) -> SourceChanges:
        """Compare every byte of the source files of finished shots with those that they were built from.

        Args:
            source: tells which files a shot's frames are read from.
            shots: of the manifest that the cache was built from.
        """
        index = self._contents.index
        pairs = [(index.position(shot.id), shot) for shot in shots]
        return source_changes(self._contents.log, pairs, source, every_byte=True)

    def pack(self) -> PackedCams:
        """Return the finished CAMs as one memory-mapped file, written now if there is none yet.

        The file lies in the cache's folder; for a URL or an HDF5 file in ~/.cache/tcam_cache (or
        $XDG_CACHE_HOME), where the next call finds it; if these are not writable, in a temporary folder.

        Raises:
            CacheError: no shot is finished, or one is damaged.
            StorageError: none of these folders has room for it.
        """
        try:
            packed = packs.pack(self._contents)
        except StorageError as error:
            logger.warning("packing into a temporary folder: %s", error.message)
            packed = packs.pack_elsewhere(self._contents)
        logger.info("the packed CAMs of %s are in %s", self.path, packed.path)
        return packed

    def to_h5(self, path: Path | str) -> None:
        """Write the finished shots into one HDF5 file, which opens as a cache with the same numbers.

        Raises:
            CacheError: no shot is finished, or one is damaged.
            ConfigError: the path is a URL.
            StorageError: the file system refuses the write.
        """
        export_h5(self._contents, path)

    def to_zarr(self, path: Place) -> None:
        """Write the finished shots into a cache folder like those of `build`; call it again to resume.

        Raises:
            CacheError: no shot is finished, or one is damaged, or the folder holds something else.
            StorageError: the file system refuses the write.
        """
        copy_cache(self._contents, path)

    def to_xarray(self, files: Mapping[str, Sequence[str]] | None = None) -> "xarray.Dataset":
        """Return the finished shots as a dataset with named axes; maps are read from disk when accessed.

        The maps are those of `pack`: one after the other along `frame`, without padding between shots.

        Args:
            files: the file names of the frames by shot id, if known; they become the coordinate `file`.

        Raises:
            CacheError: no shot is finished, one is damaged, or has another number of file names.
            ExtraError: xarray is not installed.
        """
        return to_xarray(self._contents, self.pack(), files)

    def _shot(self, position: int, complete: bool) -> CachedShot:
        index, at = self._contents.index, position
        named = (index.ids[at], index.tags[at], index.videos[at], index.splits[at])
        return CachedShot(*named, index.lengths[at], complete)

    def _maps(self, shot_id: str, frames: range) -> np.ndarray:
        position = self._contents.finished(shot_id)
        start = self._contents.index.starts[position]
        maps = self._contents.column(CAM, slice(start + frames.start, start + frames.stop))
        return self._contents.sound(shot_id, maps).astype(np.float32)
