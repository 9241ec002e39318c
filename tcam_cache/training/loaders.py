"""Loading items ahead of their use by worker processes, which send them through pipes."""

import signal
import sys
from collections.abc import Iterable, Iterator
from multiprocessing.reduction import ForkingPickler
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from tcam_cache.processes import worker_errors

# Named, because inside a joblib worker the default is joblib's own method, which DataLoader cannot use.
START_METHOD = "fork" if sys.platform == "linux" else "spawn"


def loader_of(items: Dataset, workers: int, plan: Iterable[Any] | None = None) -> DataLoader:
    """Return what makes the items of a data set one by one.

    Args:
        items: the data set.
        workers: processes that make them ahead of their use; 0 makes them in this one.
        plan: keys of the items, read anew at every pass, by workers that live as long as the loader; or None
            for a single pass over all of them.
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
        # Pinned pages let the copy to the device run beside the step.
        pin_memory=torch.cuda.is_available(),
    )


def loaded(loader: DataLoader) -> Iterator[Any]:
    """Yield what a loader makes.

    Raises:
        WorkerError: a worker was killed.
    """
    with worker_errors():
        yield from loader


def _begin_worker(worker: int) -> None:
    # Ctrl-C reaches every process of a terminal; the parent, which saves first, ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Torch would send tensors through shared memory. Where that is small, as in containers, processes that
    # fill it hang or are killed.
    ForkingPickler.register(torch.Tensor, _as_bytes)


def _as_bytes(tensor: torch.Tensor) -> tuple:
    whole = torch.empty(0, dtype=tensor.dtype).set_(tensor.untyped_storage())
    return _from_bytes, (whole.numpy(), tensor.size(), tensor.stride(), tensor.storage_offset())


def _from_bytes(values: Any, size: tuple[int, ...], stride: tuple[int, ...], offset: int) -> torch.Tensor:
    return torch.from_numpy(values).as_strided(size, stride, offset)


def _as_it_is(item: Any) -> Any:
    return item
