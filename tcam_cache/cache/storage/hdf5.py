"""A cache in one HDF5 file: its layout, and the classes that read it like a cache folder.

cam                (frame, y, x) float16: the maps of every finished shot, one shot after the other
frame_stats        (frame, stat) float32: raw_min, raw_max, flat, one logit per class
shot video split shot_start row_size label      (shot): the index; rows of `cam` count from 0
sha256 flat_frames (shot): from the commit record; "" for an unfinished shot, which has no rows
class stat y x     coordinates; y and x are pixel centres in [0, 1]
files/NAME         cache.json and the attached files, byte for byte
settings recorded  groups whose attributes say how and where the numbers were made

A killed writer can destroy a whole HDF5 file: an export writes it in one go, and it is never changed.
"""

import json
import os
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tcam_cache.cache.commits import FOLDER as COMMITS
from tcam_cache.cache.commits import Commit, CommitLog
from tcam_cache.cache.format import FORMAT, Marker
from tcam_cache.cache.objects import Objects
from tcam_cache.cache.storage.arrays import Columns
from tcam_cache.errors import CacheError

if TYPE_CHECKING:
    import h5py

FILES = "files"
DIGESTS, FLATS = "sha256", "flat_frames"


class H5File:
    """An exported HDF5 file; every process opens it for itself on first use."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened: tuple[int, Any] = (-1, None)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": (-1, None)}

    def get(self, name: str) -> Any:
        """Return the h5py.Dataset or h5py.Group that has a name in the file, or None.

        Raises:
            CacheError: the file is not HDF5, is truncated, or is from another program.
        """
        if self._opened[0] != os.getpid():
            self._opened = (os.getpid(), _open(self.path))
        file = self._opened[1]
        if _leads_out(file, name):
            raise CacheError(
                f"{name} in {self.path} leads to another file; an exported cache holds all that it needs. "
                "Do not use this file, or have it exported again."
            )
        return file.get(name)


@dataclass(frozen=True)
class H5Objects(Objects):
    """Reads the objects of a cache folder, under the same names, from the file."""

    file: H5File

    @property
    def place(self) -> Path:
        """The file's path."""
        return self.file.path

    def where(self, name: str = "") -> str:
        """Return the name of an object of the file for messages."""
        return f"{name} in {self.place}" if name else str(self.place)

    def kind(self) -> str | None:
        """Return "file"."""
        return "file"

    def get(self, name: str) -> bytes | None:
        """Return one object, or None when there is none."""
        if name.startswith(f"{COMMITS}/"):
            return self._records.get(name)
        data = self.file.get(f"{FILES}/{name}")
        # h5py raises nearly any exception for a damaged file.
        try:
            return None if data is None else data[()].tobytes()
        except Exception as error:
            raise CacheError(f"{self.where(name)} is damaged ({error}). Export the cache again.") from error

    def names(self, folder: str = "") -> tuple[str, ...]:
        """Return the sorted names in a folder."""
        if folder == COMMITS:
            return tuple(name.removeprefix(f"{COMMITS}/") for name in self._records)
        return () if folder else (COMMITS, *self.file.get(FILES))

    def repair_hint(self, name: str) -> str:
        """Return what to do about damage: the file itself cannot be repaired."""
        return "export the cache again"

    def size(self) -> tuple[int, int]:
        """Return the bytes of the file, and 1, the number of files."""
        return self.place.stat().st_size, 1

    @cached_property
    def _records(self) -> dict[str, bytes]:
        arrays, marker = H5Arrays(self.file), Marker.read(self)
        if marker is None:
            return {}
        columns = [arrays.column(name).tolist() for name in ("shot", "row_size", FLATS, DIGESTS)]
        if len(set(map(len, columns))) > 1:
            raise CacheError(f"columns of shots in {self.place} differ in length. Export the cache again.")
        return {
            CommitLog.name(position): json.dumps(
                asdict(Commit(marker.fingerprint, *row)), default=str
            ).encode()
            for position, row in enumerate(zip(*columns, strict=True))
            if row[-1]
        }


class H5Arrays(Columns):
    """Reads the arrays of a cache from the file."""

    def __init__(self, file: H5File) -> None:
        self._file = file

    def column(self, name: str, rows: slice = slice(None)) -> np.ndarray:
        """Return some rows of one array.

        Raises:
            CacheError: the array is missing or damaged.
        """
        # h5py raises nearly any exception for a damaged file.
        try:
            dataset = self._file.get(name)
            return dataset.asstr()[rows] if dataset.dtype.kind == "O" else dataset[rows]
        except CacheError:
            raise
        except Exception as error:
            raise CacheError(
                f"{name} in {self._file.path} is missing or damaged ({error}). Export the cache again."
            ) from error


def _leads_out(file: "h5py.File", name: str) -> bool:
    """Return whether a link on the path to a name, or the array's storage, points outside the file."""
    import h5py

    parts = name.split("/")
    for end in range(1, len(parts) + 1):
        link = file.get("/".join(parts[:end]), getlink=True)
        if link is None:
            return False
        if not isinstance(link, h5py.HardLink):
            return True
    item = file.get(name)
    return isinstance(item, h5py.Dataset) and bool(item.external or item.is_virtual)


def _open(path: Path) -> "h5py.File":
    import h5py

    try:
        try:
            file = h5py.File(path, "r")
        except OSError:
            # Another program holds a lock, or the file system has no locks; reading needs none.
            file = h5py.File(path, "r", locking=False)
        form = file.attrs.get("format")
    except OSError as error:
        if isinstance(error, PermissionError):
            raise CacheError(f"there is no permission to read {path}. Get that, then try again.") from error
        if _is_held(path) or "lock file" in str(error):
            raise CacheError(
                f"{path} is open for writing in another program, or its disk knows no locks ({error}). "
                "Close it there, or set HDF5_USE_FILE_LOCKING=FALSE, then try again."
            ) from error
        raise CacheError(
            f"{path} is not a CAM cache: it is neither a cache's folder nor a whole HDF5 file ({error}). "
            "If it was exported, export or copy it again."
        ) from error
    if not isinstance(form, str) or form != FORMAT:
        raise CacheError(
            f"{path} is an HDF5 file, but not one that `tcam-cache export --format h5` wrote. Name that one."
        )
    return file


def _is_held(path: Path) -> bool:
    """Return whether an HDF5 file that cannot be opened is marked as open for writing."""
    try:
        with path.open("rb") as file:
            start = file.read(12)
    except OSError:
        return False
    # Superblocks 2 and 3 keep the consistency flags at byte 11: bit 0 is set while a writer is at work.
    return start[:8] == b"\x89HDF\r\n\x1a\n" and start[8:9] in (b"\x02", b"\x03") and bool(start[-1:][0] & 1)
