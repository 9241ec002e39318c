"""The pack: all finished CAMs in one memory-mapped .npy, in the cache's order and without padding.

The Zarr arrays are the original; the pack is copied from them in seconds, and training reads windows from
it as slices.
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

from tcam_cache.cache.commits import Commit, ShotIndex
from tcam_cache.cache.contents import Contents, finished_shots, iter_verified_shots
from tcam_cache.errors import CacheError, StorageError
from tcam_cache.files import atomic_file, storage_errors
from tcam_cache.progress import progress_bar
from tcam_cache.window import window_indices

FOLDER = "pack"


class PackedCams:
    """Reads windows of cached CAMs from one memory-mapped file; a `records.CamSource`, picklable.

    Every process opens the file for itself on first use. A temporary folder that holds the file is removed
    together with the object that `CamCache.pack` returned.
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
        """Lock the file so that `pack` in another process does not remove it; return whether the file exists.

        The lock is released with this object, and when the process ends.
        """
        try:
            descriptor = os.open(self.path, os.O_RDONLY)
        except OSError:
            return False
        weakref.finalize(self, os.close, descriptor)
        # Without locks in the file system, `_remove_unused` cannot lock either and removes nothing.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        return self.path.exists()

    def is_whole(self, map_size: tuple[int, int]) -> bool:
        """Return whether the file exists, is no link, and has a map for every row of the index."""
        try:
            shape = _mapped(self.path).shape
            return not self.path.is_symlink() and shape == (sum(self.index.lengths), *map_size)
        except CacheError:
            return False

    @property
    def maps(self) -> np.ndarray:
        """All maps, (N, h, w) float16 in [0, 1], memory-mapped; the index says where each shot starts.

        Raises:
            CacheError: the file is missing or truncated.
        """
        process, maps = self._maps
        if maps is None or process != os.getpid():
            maps = _mapped(self.path)
            self._maps = (os.getpid(), maps)
        return maps

    def _rows(self, rows: slice) -> np.ndarray:
        return self.maps[rows].astype(np.float32)


def pack(contents: Contents) -> PackedCams:
    """Return the pack of a cache, written if there is none yet; see `CamCache.pack`."""
    commits = finished_shots(contents)
    packed = PackedCams(_path(contents, commits), _index(contents, commits))
    while not (packed.is_whole(contents.marker.map_size) and packed.hold()):
        _write(packed.path, contents, commits)
    for old in packed.path.parent.glob("*.npy"):
        if old != packed.path:
            _remove_unused(old)
    return packed


def pack_elsewhere(contents: Contents) -> PackedCams:
    """Write the pack into a temporary folder of this process, for when it fits nowhere else."""
    commits = finished_shots(contents)
    with storage_errors(tempfile.gettempdir()):
        folder = Path(tempfile.mkdtemp(prefix="tcam_cache-"))
    packed = PackedCams(folder / "cams.npy", _index(contents, commits))
    weakref.finalize(packed, _remove, folder, os.getpid())
    _write(packed.path, contents, commits)
    return packed


def existing_pack(contents: Contents) -> PackedCams | None:
    """Return the existing pack of the finished shots without reading it, or None."""
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
        for _, maps, _ in iter_verified_shots(contents, commits):
            file.write(np.ascontiguousarray(maps, "<f2").data)
            bar.update(len(maps))


def _write_header(file: IO[bytes], shape: tuple[int, ...]) -> None:
    header = {"descr": "<f2", "fortran_order": False, "shape": tuple(map(int, shape))}
    np.lib.format.write_array_header_1_0(file, header)


def _mapped(path: Path) -> np.ndarray:
    try:
        # As a plain array over the same pages: slicing a memmap object costs more than copying a window.
        return np.asarray(np.load(path, mmap_mode="r"))
    # A damaged header can raise any exception.
    except Exception as error:
        raise CacheError(
            f"the pack {path} is gone or cut short ({error}). Open the cache and call pack() again."
        ) from error


def _remove_unused(path: Path) -> None:
    """Remove an older pack, unless a process holds its lock or locks do not work there."""
    with suppress(OSError), path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()


def _remove(folder: Path, owner: int) -> None:
    # A forked worker that deletes its copy of the object must not remove the file for the others.
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
