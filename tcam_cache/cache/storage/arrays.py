"""The Zarr arrays of one cache: opened on first use, read in slices, written in whole chunks."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import zarr

from tcam_cache.cache.commits import ShotIndex
from tcam_cache.cache.format import ARRAYS, CAM, STATS
from tcam_cache.cache.objects import WritableObjects
from tcam_cache.errors import CacheError, StorageError


class Columns(ABC):
    """The interface of a cache's arrays: rows of the frame axis, columns of the index of shots."""

    @abstractmethod
    def column(self, name: str, rows: slice = slice(None)) -> np.ndarray:
        """Return some rows of one array.

        Raises:
            CacheError: the array is missing or damaged.
        """

    def metadata(self, name: str) -> dict[str, Any] | None:
        """Return the Zarr metadata of one array, or None for a storage without Zarr.

        Raises:
            CacheError: the array is missing or damaged.
        """
        return None

    def attributes(self) -> dict[str, Any] | None:
        """Return the attributes of the arrays' Zarr group, or None for a storage without Zarr.

        Raises:
            CacheError: the group is missing or damaged.
        """
        return None

    def index(self, classes: tuple[str, ...]) -> ShotIndex:
        """Return the stored index of shots.

        Raises:
            CacheError: one of its columns is missing, damaged, or no list of texts or whole numbers.
        """
        names, videos, splits = (self._list(name, "OTU") for name in ("shot", "video", "split"))
        starts, lengths, labels = (self._list(name, "iu") for name in ("shot_start", "row_size", "label"))
        # A label outside the classes is damage; the digest of the index reports it.
        known = dict(enumerate(classes))
        tags = tuple(known.get(label, "") for label in labels)
        return ShotIndex(names, tags, videos, splits, starts, lengths)

    def _list(self, name: str, kinds: str) -> tuple[Any, ...]:
        values = self.column(name)
        if values.ndim != 1 or values.dtype.kind not in kinds:
            raise CacheError(
                f"the index of shots is damaged: {name} is of shape {values.shape}, {values.dtype}; "
                "expected a list. Run `tcam-cache verify`."
            )
        return tuple(values.tolist() if "i" in kinds else map(str, values))


class Arrays(Columns):
    """Reads and writes rows of the frame axis; every process opens the arrays for itself."""

    def __init__(self, objects: WritableObjects, *, read_only: bool = True) -> None:
        self._objects = objects
        self._read_only = read_only
        self._opened: tuple[int, dict[str, zarr.Array]] = (-1, {})

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": (-1, {})}

    def column(self, name: str, rows: slice = slice(None)) -> np.ndarray:
        """Return some rows of one array.

        Raises:
            CacheError: the array is missing or damaged.
            StorageError: the store does not answer, or refuses.
        """
        with self._damages(name):
            return np.asarray(self._array(name)[rows])

    def metadata(self, name: str) -> dict[str, Any]:
        """Return the metadata of one array."""
        with self._damages(name):
            return self._array(name).metadata.to_dict()

    def attributes(self) -> dict[str, Any]:
        """Return the attributes of the group that holds the arrays."""
        with self._damages("zarr.json"):
            store = self._objects.zarr_store(ARRAYS, read_only=True)
            return zarr.open_group(store, mode="r", zarr_format=3).attrs.asdict()

    def write(self, start: int, maps: np.ndarray, stats: np.ndarray) -> None:
        """Write one shot's rows, padded with NaN to whole chunks, so that shots never share a chunk.

        Raises:
            StorageError: the write fails.
        """
        for name, values in ((CAM, maps), (STATS, stats)):
            array = self._array(name)
            rows = -(-len(values) // array.chunks[0]) * array.chunks[0]
            padded = np.full((rows, *values.shape[1:]), np.nan, values.dtype)
            padded[: len(values)] = values
            array[start : start + rows] = padded

    @contextmanager
    def _damages(self, name: str) -> Iterator[None]:
        # Zarr and its codecs raise nearly any exception for a damaged chunk or metadata file.
        try:
            yield
        except StorageError:
            raise
        except Exception as error:
            where = self._objects.where(f"{ARRAYS}/{name}")
            raise CacheError(
                f"{where} is missing or damaged ({error}). Run `tcam-cache verify` to list the damage."
            ) from error

    def _array(self, name: str) -> zarr.Array:
        if self._opened[0] != os.getpid():
            self._opened = (os.getpid(), {})
        arrays = self._opened[1]
        if name not in arrays:
            store = self._objects.zarr_store(f"{ARRAYS}/{name}", read_only=self._read_only)
            arrays[name] = zarr.open_array(store, mode="r" if self._read_only else "r+", zarr_format=3)
        return arrays[name]
