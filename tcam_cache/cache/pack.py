"""The pack: every finished map in one memory-mapped .npy, in the cache's order and without padding.

Zarr is the record; the pack is derived from it in seconds and is what training reads: a window costs a slice.
"""

import fcntl
import os
import shutil
import tempfile
import weakref
from contextlib import suppress
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import IO, Any

import numpy as np

from tcam_cache.cache.checked import checked_shots, finished_shots
from tcam_cache.cache.commits import Commit
from tcam_cache.cache.contents import Contents
from tcam_cache.cache.index import ShotIndex
from tcam_cache.errors import CacheError, StorageError
from tcam_cache.files import atomic_file, storage_errors
from tcam_cache.progress import progress_bar
from tcam_cache.window import window_indices

FOLDER = "pack"


class PackedCams:
    """Reads windows of cached CAMs from one memory-mapped file; a `records.CamSource`, picklable.

    The file is opened when first needed, in every process that holds this. Should it lie in a temporary
    folder, that lives as long as the object that `CamCache.pack` returned.
    """

    def __init__(self, path: Path, index: ShotIndex) -> None:
        self.path = path
        self.index = index
        self._maps: tuple[int, np.ndarray | None] = (-1, None)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": (-1, None)}

    def cams(self, shot_id: str) -> np.ndarray:
        """Return the (T, h, w) float32 CAMs of a shot in [0, 1].

        Raises:
            CacheError: the shot is not in the pack.
        """
        return self._rows(self.index.rows(self.index.position(shot_id)))

    def window(self, shot_id: str, t: int, n: int, mode: str = "before") -> np.ndarray:
        """Return the (m, h, w) float32 CAMs in [0, 1] of frame t and its neighbours, oldest first.

        Raises:
            CacheError: the shot is not in the pack.
            IndexError: t lies outside the shot.
            ValueError: n is negative or the mode unknown.
        """
        position = self.index.position(shot_id)
        start, length = self.index.starts[position], self.index.lengths[position]
        window = window_indices(t, n, length, mode)
        return self._rows(slice(start + window.start, start + window.stop))

    def hold(self) -> bool:
        """Keep the file from being removed by `pack` of another process, and return whether it is there.

        It is held as long as this object lives here; a lock that a process held ends with it.
        """
        try:
            descriptor = os.open(self.path, os.O_RDONLY)
        except OSError:
            return False
        weakref.finalize(self, os.close, descriptor)
        # Where the file system knows no locks, `_remove_unused` cannot take one either, and removes nothing.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        return self.path.exists()

    def is_whole(self, map_size: tuple[int, int]) -> bool:
        """Tell whether the file is there, no link to another, with every map of the index in it."""
        try:
            shape = _mapped(self.path).shape
            return not self.path.is_symlink() and shape == (sum(self.index.lengths), *map_size)
        except CacheError:
            return False

    @property
    def maps(self) -> np.ndarray:
        """Every map, (N, h, w) float16, memory-mapped: a shot's begin at its start in the index.

        Raises:
            CacheError: the file is gone or cut short.
        """
        process, maps = self._maps
        if maps is None or process != os.getpid():
            maps = _mapped(self.path)
            self._maps = (os.getpid(), maps)
        return maps

    def _rows(self, rows: slice) -> np.ndarray:
        return self.maps[rows].astype(np.float32)


def pack(contents: Contents) -> PackedCams:
    """Write the pack of a cache where it is not there yet; see `CamCache.pack`."""
    commits = finished_shots(contents)
    packed = PackedCams(_path(contents, commits), _index(contents, commits))
    while not (packed.is_whole(contents.marker.map_size) and packed.hold()):
        _write(packed.path, contents, commits)
    for old in packed.path.parent.glob("*.npy"):
        if old != packed.path:
            _remove_unused(old)
    return packed


def pack_elsewhere(contents: Contents) -> PackedCams:
    """Write the pack of a cache into a temporary folder of this process: nowhere else is there room."""
    commits = finished_shots(contents)
    with storage_errors(tempfile.gettempdir()):
        folder = Path(tempfile.mkdtemp(prefix="tcam_cache-"))
    packed = PackedCams(folder / "cams.npy", _index(contents, commits))
    weakref.finalize(packed, _remove, folder, os.getpid())
    _write(packed.path, contents, commits)
    return packed


def existing_pack(contents: Contents) -> PackedCams | None:
    """Return the pack of what is finished, unread and unchecked, or None when there is none."""
    commits = contents.log.all()
    try:
        packed = PackedCams(_path(contents, commits), _index(contents, commits))
    except StorageError:
        return None
    return packed if packed.path.exists() else None


def _path(contents: Contents, commits: dict[int, Commit]) -> Path:
    return contents.objects.derived(FOLDER) / f"{contents.digest(commits)}.npy"


def _index(contents: Contents, commits: dict[int, Commit]) -> ShotIndex:
    index = contents.index.chosen(tuple(commits))
    starts = tuple(accumulate(index.lengths, initial=0))[:-1]
    return replace(index, starts=starts)


def _write(path: Path, contents: Contents, commits: dict[int, Commit]) -> None:
    total = sum(contents.index.lengths[position] for position in commits)
    with atomic_file(path) as file, progress_bar(total, "packing the CAMs", "frame") as bar:
        _write_header(file, (total, *contents.marker.map_size))
        for _, maps, _ in checked_shots(contents, commits):
            file.write(np.ascontiguousarray(maps, "<f2"))
            bar.update(len(maps))


def _write_header(file: IO[bytes], shape: tuple[int, ...]) -> None:
    header = {"descr": "<f2", "fortran_order": False, "shape": tuple(map(int, shape))}
    np.lib.format.write_array_header_1_0(file, header)


def _mapped(path: Path) -> np.ndarray:
    try:
        # A plain array over the same pages: slicing a memmap object costs more than copying a window.
        return np.asarray(np.load(path, mmap_mode="r"))
    # A damaged header surfaces as whatever its bytes happen to spell.
    except Exception as error:
        raise CacheError(
            f"the pack {path} is gone or cut short ({error}). Open the cache and call pack() again."
        ) from error


def _remove_unused(path: Path) -> None:
    """Remove an older pack, unless a process holds it or nobody can tell."""
    with suppress(OSError), path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()


def _remove(folder: Path, owner: int) -> None:
    # A forked worker that drops its copy must not take the file away from the others.
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
