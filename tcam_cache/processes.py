"""Worker processes: how many this machine can start, and what is said when one of them is killed."""

import logging
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import joblib
from joblib.externals.loky.process_executor import BrokenProcessPool

from tcam_cache.errors import WorkerError

logger = logging.getLogger(__name__)

# Queues and locks are semaphores: what loaders of training and validation and joblib's pool need at a time,
# and what each worker adds. Where shared memory is full, or absent, they cannot be made.
_SEMAPHORES, _SEMAPHORES_A_WORKER = 24, 7


def affordable(workers: int) -> int:
    """Return so many workers, or 0 and a warning where the machine has too little shared memory for them."""
    fork = multiprocessing.get_context("fork")
    wanted = _SEMAPHORES + _SEMAPHORES_A_WORKER * workers if workers else 0
    try:
        made = [fork.Semaphore() for _ in range(wanted)]
        del made
    except (OSError, ImportError) as error:
        logger.warning(
            "too little shared memory (/dev/shm) for %d worker process(es) (%s): this process does all the "
            "work, as with --workers 0",
            workers,
            error,
        )
        return 0
    return workers


def in_processes(calls: Iterable[Callable[[], Any]], workers: int | None) -> Iterator[Any]:
    """Make calls, and yield what they return, in their order.

    Args:
        calls: such as `functools.partial` makes; they travel to the workers. An iterator is read
            as workers get free.
        workers: processes; 0 or 1 works in this one, None in one a core.

    Raises:
        WorkerError: one of them was killed.
    """
    wanted = joblib.cpu_count() if workers is None else workers
    jobs = affordable(wanted) if wanted > 1 else 1
    # Through pipes: joblib would put large arguments in shared memory, of which containers have little.
    pool = joblib.Parallel(n_jobs=max(1, jobs), return_as="generator", max_nbytes=None)
    with worker_errors():
        # Workers outlive a call, and know the folder that relative paths started from when they began.
        run = partial(_called_in, Path.cwd()) if jobs > 1 else _called
        yield from pool(joblib.delayed(run)(call) for call in calls)


def _called(call: Callable[[], Any]) -> Any:
    return call()


def _called_in(folder: Path, call: Callable[[], Any]) -> Any:
    os.chdir(folder)
    return call()


@contextmanager
def worker_errors() -> Iterator[None]:
    """Turn the end of a worker before its time into a `WorkerError`."""
    try:
        yield
    except (BrokenProcessPool, RuntimeError) as error:
        if not isinstance(error, BrokenProcessPool) and "DataLoader worker" not in str(error):
            raise
        reason = " ".join(str(error).split("\n")[0].split())
        raise WorkerError(
            f"a worker process ended before its time ({reason}). The system ends one when memory, or shared "
            "memory (/dev/shm), runs out. Give fewer --workers, or --workers 0 to do all in one process."
        ) from error
