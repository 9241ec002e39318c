"""Batches of frames: decoded and squashed in advance by worker processes, and sent through pipes."""

import signal
import sys
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from multiprocessing.reduction import ForkingPickler
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from tcam_cache.errors import FrameError
from tcam_cache.processes import worker_errors
from tcam_cache.records import FrameSource, Shot

# Explicit, because inside a joblib worker the default is joblib's own method, which DataLoader cannot use.
START_METHOD = "fork" if sys.platform == "linux" else "spawn"


def loader_of(items: Dataset, workers: int, plan: Iterable[Any] | None = None) -> DataLoader:
    """Return a DataLoader that yields the items of a data set one by one.

    Args:
        items: the data set.
        workers: processes that load items in advance; 0 loads them in this process.
        plan: keys of the items, iterated anew in every pass, with workers that live as long as the loader;
            or None for a single pass over all items.
    """
    return DataLoader(
        items,
        batch_size=None,
        sampler=plan,
        num_workers=workers,
        persistent_workers=workers > 0 and plan is not None,
        multiprocessing_context=START_METHOD if workers else None,
        worker_init_fn=_begin_worker,
        collate_fn=_as_it_is,
        # Pinned memory makes the copy to the device asynchronous.
        pin_memory=torch.cuda.is_available(),
    )


def loaded(loader: DataLoader) -> Iterator[Any]:
    """Yield the items of a loader.

    Raises:
        WorkerError: a worker was killed.
    """
    with worker_errors():
        yield from loader


def _begin_worker(worker: int) -> None:
    # Ctrl-C is sent to every process of a terminal; the parent saves first and then ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Torch would send tensors through shared memory. Where it is small, as in containers, processes that
    # fill it hang or are killed.
    ForkingPickler.register(torch.Tensor, _as_bytes)


def _as_bytes(tensor: torch.Tensor) -> tuple:
    whole = torch.empty(0, dtype=tensor.dtype).set_(tensor.untyped_storage())
    return _from_bytes, (whole.numpy(), tensor.size(), tensor.stride(), tensor.storage_offset())


def _from_bytes(values: Any, size: tuple[int, ...], stride: tuple[int, ...], offset: int) -> torch.Tensor:
    return torch.from_numpy(values).as_strided(size, stride, offset)


def _as_it_is(item: Any) -> Any:
    return item


ShotFrame = tuple[Shot, int]


class FrameBatch(NamedTuple):
    """A batch of frames.

    Attributes:
        frames: (shot, t) of each frame.
        rgb: (B, 3, S, S) uint8 RGB 0..255, squashed.
        sizes: (B, 2) int64, width and height of the originals.
        faults: one text for each unreadable frame; its row of `rgb` is zero.
        unread: indices of these rows.
    """

    frames: tuple[ShotFrame, ...]
    rgb: torch.Tensor
    sizes: torch.Tensor
    faults: tuple[str, ...]
    unread: tuple[int, ...] = ()


class _FrameBatches(Dataset):
    def __init__(self, batches: Sequence[Sequence[ShotFrame]], source: FrameSource, size: int) -> None:
        self.batches, self.source, self.size = batches, source, size

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor, list[str], list[int]]:
        batch = self.batches[index]
        pixels = np.zeros((len(batch), self.size, self.size, 3), np.uint8)
        sizes = torch.ones(len(batch), 2, dtype=torch.int64)
        faults, unread = [], []
        for row, (shot, t) in enumerate(batch):
            try:
                frame = self.source.read(shot, t, self.size)
            except FrameError as error:
                faults.extend(error.offenders or [error.message])
                unread.append(row)
                continue
            pixels[row] = frame.pixels
            sizes[row] = torch.tensor([frame.width, frame.height])
        return torch.from_numpy(pixels).permute(0, 3, 1, 2), sizes, faults, unread


def load_batches(
    batches: Sequence[Sequence[ShotFrame]],
    source: FrameSource,
    size: int,
    workers: int,
    on_request: Callable[[Sequence[ShotFrame]], object] = lambda batch: None,
) -> Iterator[FrameBatch]:
    """Load batches in order and in advance; unreadable frames are reported in the batch, not raised.

    Args:
        batches: the frames of each batch.
        source: reads frames.
        size: side of the square they are squashed to.
        workers: processes that decode; 0 decodes in this process.
        on_request: called in this process with each batch, before any of its frames is read.
    """

    def requested() -> Iterator[int]:
        """Yield the number of each batch, announced before its frames are read."""
        for number, batch in enumerate(batches):
            on_request(batch)
            yield number

    items = loaded(loader_of(_FrameBatches(batches, source, size), workers, requested()))
    for frames, (rgb, sizes, faults, unread) in zip(batches, items, strict=True):
        yield FrameBatch(tuple(frames), rgb, sizes, tuple(faults), tuple(unread))


def in_order(items: Dataset, workers: int) -> Iterator[Any]:
    """Yield the items of a data set one by one, loaded in advance by worker processes (0: none).

    Raises:
        WorkerError: a worker was killed.
    """
    return loaded(loader_of(items, workers))


def in_batches(frames: Sequence[ShotFrame], batch_size: int) -> list[list[ShotFrame]]:
    """Cut a list of frames into batches.

    >>> in_batches([1, 2, 3], 2)
    [[1, 2], [3]]
    """
    return [list(frames[start : start + batch_size]) for start in range(0, len(frames), batch_size)]


class ShotBatches(Sequence[list[ShotFrame]]):
    """All frames of some shots in batches of one shot each, of sizes as even as possible; made lazily.

    >>> shot = Shot("a/1", "a", "a/1", "train", "a/1", tuple("abcde"))
    >>> [[t for _, t in batch] for batch in ShotBatches([shot], batch_size=3)]
    [[0, 1, 2], [3, 4]]
    """

    def __init__(self, shots: Sequence[Shot], batch_size: int) -> None:
        self._shots = shots
        self._ends = list(accumulate(-(-len(shot) // batch_size) for shot in shots))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int) -> list[ShotFrame]:
        index = range(len(self))[index]
        position = bisect_right(self._ends, index)
        first = self._ends[position - 1] if position else 0
        shot, parts, part = self._shots[position], self._ends[position] - first, index - first
        # The first of uneven batches are the larger ones.
        start, stop = (-(-len(shot) * at // parts) for at in (part, part + 1))
        return [(shot, t) for t in range(start, stop)]


def only_readable(batches: Iterable[FrameBatch]) -> Iterator[FrameBatch]:
    """Yield the batches; after the last one, raise a `FrameError` that lists all unreadable frames."""
    faults: list[str] = []
    for batch in batches:
        faults += batch.faults
        if not faults:
            yield batch
    if faults:
        raise unreadable(faults)


def unreadable(faults: Sequence[str]) -> FrameError:
    """Return the error that lists unreadable frames, one text each."""
    return FrameError(f"{len(faults)} frame(s) cannot be read. Replace or remove them.", faults)
