"""Export a cache to one HDF5 file, which opens as a cache with the same numbers."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from io import FileIO
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tcam_cache.cache.commits import Commit, ShotIndex
from tcam_cache.cache.contents import Contents, finished_shots, iter_verified_shots
from tcam_cache.cache.format import CAM, FORMAT, NAME, STATS, chunk_frames
from tcam_cache.cache.storage.hdf5 import DIGESTS, FILES, FLATS
from tcam_cache.files import atomic_path
from tcam_cache.progress import progress_bar


class Sink:
    """A file-like object that h5py writes to.

    After the first error nothing more is written; `settle` raises that error once HDF5 has closed the file.
    """

    def __init__(self, raw: FileIO) -> None:
        self._raw = raw
        self._error: BaseException | None = None
        self.seek, self.tell, self.read, self.readinto = raw.seek, raw.tell, raw.read, raw.readinto

    def write(self, data: Any) -> int:
        """Write all of the data at the current position."""
        rest = memoryview(data).cast("B")
        self._attempt(lambda: self._write_all(rest))
        return len(rest)

    def truncate(self, size: int) -> None:
        """Cut or lengthen the file."""
        self._attempt(lambda: self._raw.truncate(size))

    def flush(self) -> None:
        """Do nothing: writes are not buffered."""

    def settle(self) -> None:
        """Raise the first error, if there was one."""
        if self._error is not None:
            raise self._error

    def _write_all(self, rest: memoryview) -> None:
        while rest:
            rest = rest[self._raw.write(rest) :]

    def _attempt(self, action: Callable[[], Any]) -> None:
        try:
            if self._error is None:
                action()
        except BaseException as error:
            self._error = error


if TYPE_CHECKING:
    import h5py

TITLE = "Class activation maps (CAMs) of video frames, written by tcam_cache"
HOW = (
    "cam holds one map a frame, scaled to [0, 1] by the frame's own minimum and maximum (raw_min and raw_max "
    "in frame_stats); flat maps are zeros. Shot i owns row_size[i] rows from shot_start[i], counted from 0; "
    "its tag is class[label[i]]. A shot whose sha256 is empty was not finished and owns no rows. "
    "Order of axes as C has it; MATLAB and R show them reversed."
)
# A compromise: windows of two frames need small chunks, compression needs large ones.
CHUNK_ROWS = 32
TEXT_LIMIT = 16_000


def export_h5(contents: Contents, path: Path | str) -> None:
    """Write the finished shots of a cache into one file; see `CamCache.to_h5`."""
    commits = finished_shots(contents)
    with atomic_path(path) as partial, partial.open("r+b", buffering=0) as raw:
        sink = Sink(raw)
        try:
            _write(sink, contents, commits)
        finally:
            sink.settle()


def _write(sink: Sink, contents: Contents, commits: Mapping[int, Commit]) -> None:
    import h5py

    index = _without_gaps(contents.index, commits)
    marker = replace(contents.marker, index=index.digest)
    with h5py.File(sink, "w") as file:
        file.attrs.update(_facts(contents, commits))
        for name in ("settings", "recorded"):
            file.create_group(name).attrs.update(_attributes(getattr(marker, name)))
        _write_columns(file, contents, index, commits)
        files = {name: contents.attachment(name) for name in marker.attachments}
        for name, data in {NAME: marker.to_bytes(), **files}.items():
            file[f"{FILES}/{name}"] = np.frombuffer(data, np.uint8)
        for rows, maps, stats in _frames(file, contents, index, commits):
            # h5py's annotation: the item could be a group, which has no rows.
            file[CAM][rows], file[STATS][rows] = maps, stats  # pyright: ignore[reportIndexIssue]
            sink.settle()


def _without_gaps(index: ShotIndex, commits: Mapping[int, Commit]) -> ShotIndex:
    """Return the index with rows for finished shots only, without gaps; unfinished ones keep their length."""
    rows = [length if position in commits else 0 for position, length in enumerate(index.lengths)]
    return replace(index, starts=tuple(accumulate(rows, initial=0))[:-1])


def _facts(contents: Contents, commits: Mapping[int, Commit]) -> dict[str, Any]:
    marker = contents.marker
    return {
        "format": FORMAT,
        "title": TITLE,
        "description": HOW,
        "fingerprint": marker.fingerprint,
        "digest": contents.digest(commits),
        "shots": len(contents.index),
        "finished_shots": len(commits),
    }


def _attributes(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as HDF5 attributes: numbers and text as they are, others as JSON; long text is cut."""
    plain = {
        name: value if isinstance(value, str | int | float) else json.dumps(value)
        for name, value in values.items()
    }
    return {name: value[:TEXT_LIMIT] if isinstance(value, str) else value for name, value in plain.items()}


def _write_columns(
    file: "h5py.File", contents: Contents, index: ShotIndex, commits: Mapping[int, Commit]
) -> None:
    every = range(len(index))
    texts = {
        "shot": index.ids,
        "video": index.videos,
        "split": index.splits,
        DIGESTS: [commits[at].sha256 if at in commits else "" for at in every],
    }
    numbers = {
        "shot_start": index.starts,
        "row_size": index.lengths,
        FLATS: [commits[at].flat if at in commits else 0 for at in every],
    }
    for name, values in numbers.items():
        file[name] = np.array(values, np.int64)
    file["label"] = contents.arrays.column("label")
    for name in ("class", "stat"):
        texts[name] = contents.arrays.column(name).tolist()
    for name, values in texts.items():
        _write_texts(file, name, values)
    for name in ("y", "x"):
        file[name] = contents.arrays.column(name)


def _write_texts(file: "h5py.File", name: str, values: Any) -> None:
    import h5py

    file.create_dataset(name, data=np.array(values, object), dtype=h5py.string_dtype())


def _frames(
    file: "h5py.File", contents: Contents, index: ShotIndex, commits: Mapping[int, Commit]
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Create the arrays of the frame axis, then yield each shot's rows, maps and statistics."""
    total, size = sum(index.lengths[at] for at in commits), contents.marker.map_size
    rows = min(CHUNK_ROWS, chunk_frames(size), total)
    shapes = {
        CAM: (("frame", "y", "x"), size, "<f2"),
        STATS: (("frame", "stat"), (len(file["stat"]),), "<f4"),  # pyright: ignore[reportArgumentType]
    }
    for name, (dims, shape, dtype) in shapes.items():
        array = file.create_dataset(
            name, (total, *shape), dtype, chunks=(rows, *shape), compression="gzip", shuffle=True,
            fletcher32=True,
        )  # fmt: skip
        for axis, dim in enumerate(dims):
            array.dims[axis].label = dim
    with progress_bar(total, "exporting the CAMs", "frame") as bar:
        for position, maps, stats in iter_verified_shots(contents, commits):
            yield index.rows(position), maps, stats
            bar.update(len(maps))
