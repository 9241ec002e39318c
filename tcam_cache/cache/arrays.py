"""The Zarr arrays of one cache: opened when first needed, read in whole slices, written in whole chunks."""

import os
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import zarr

from tcam_cache.cache.index import ShotIndex
from tcam_cache.cache.layout import ARRAYS, CAM, STATS
from tcam_cache.cache.objects import Objects
from tcam_cache.errors import CacheError
from tcam_cache.files import storage_errors


class Columns(ABC):
    """The arrays of one cache by name, whatever keeps them: rows of the frame axis, columns of the index."""

    @abstractmethod
    def column(self, name: str, rows: slice = slice(None)) -> np.ndarray:
        """Return some rows of one array.

        Raises:
            CacheError: the array is missing or damaged.
        """

    def read(self, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """Return maps (m, h, w) float16 and statistics (m, k) float32 of some rows; NaN where there are none.

        Raises:
            CacheError: a chunk is damaged.
        """
        return self.column(CAM, rows), self.column(STATS, rows)

    def index(self, classes: tuple[str, ...]) -> ShotIndex:
        """Return the index of the shots, as it is stored."""
        names, videos, splits = (tuple(map(str, self.column(name))) for name in ("shot", "video", "split"))
        starts, lengths, labels = (self.column(name).tolist() for name in ("shot_start", "row_size", "label"))
        tags = tuple(classes[label] for label in labels)
        return ShotIndex(names, tags, videos, splits, tuple(starts), tuple(lengths))


class Arrays(Columns):
    """Reads and writes rows of the frame axis; every process that holds one opens it for itself."""

    def __init__(self, objects: Objects, *, read_only: bool = True) -> None:
        self._objects = objects
        self._read_only = read_only
        self._opened: tuple[int, dict[str, zarr.Array]] = (-1, {})

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": (-1, {})}

    def column(self, name: str, rows: slice = slice(None)) -> np.ndarray:
        """Return some rows of one array.

        Raises:
            CacheError: the array is missing or damaged.
        """
        # A damaged chunk or metadata file can surface as nearly any exception of Zarr and its codecs.
        try:
            return np.asarray(self._array(name)[rows])
        except Exception as error:
            raise CacheError(
                f"{self._objects.root / ARRAYS / name} is missing or damaged ({error}). "
                "Run `tcam-cache verify` to list the damage."
            ) from error

    def write(self, start: int, maps: np.ndarray, stats: np.ndarray) -> None:
        """Write one shot's rows, padded with NaN to whole chunks, so that no writer reads another's chunk.

        Raises:
            StorageError: the file system refuses the write.
        """
        for name, values in ((CAM, maps), (STATS, stats)):
            array = self._array(name)
            rows = -(-len(values) // array.chunks[0]) * array.chunks[0]
            padded = np.full((rows, *values.shape[1:]), np.nan, values.dtype)
            padded[: len(values)] = values
            with storage_errors(self._objects.root / ARRAYS / name):
                array[start : start + rows] = padded

    def _array(self, name: str) -> zarr.Array:
        if self._opened[0] != os.getpid():
            self._opened = (os.getpid(), {})
        arrays = self._opened[1]
        if name not in arrays:
            store = self._objects.zarr_store(f"{ARRAYS}/{name}", read_only=self._read_only)
            arrays[name] = zarr.open_array(store, mode="r" if self._read_only else "r+", zarr_format=3)
        return arrays[name]
