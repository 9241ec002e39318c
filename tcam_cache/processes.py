"""Worker processes: how many this machine can start, and the error raised when one of them is killed."""

import logging
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import joblib
from joblib.externals.loky.process_executor import BrokenProcessPool

from tcam_cache.errors import WorkerError

logger = logging.getLogger(__name__)

R = TypeVar("R")

# Semaphores (of queues and locks) that the data loaders and joblib's pool need together, and how many each
# worker adds. They cannot be created where shared memory is full or absent.
_SEMAPHORES, _SEMAPHORES_A_WORKER = 24, 7


def affordable(workers: int) -> int:
    """Return `workers`, or warn and return 0 where the machine has too little shared memory for them."""
    fork = multiprocessing.get_context("fork")
    count = _SEMAPHORES + _SEMAPHORES_A_WORKER * workers if workers else 0
    try:
        semaphores = [fork.Semaphore() for _ in range(count)]
        del semaphores
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
    """Run calls in worker processes and yield their results in order.

    Args:
        calls: picklable functions without arguments, such as `functools.partial` objects. An iterator
            is read as workers become free.
        workers: number of processes; 0 or 1 runs in this process, None starts one per core.

    Raises:
        WorkerError: a worker was killed.
    """
    count = joblib.cpu_count() if workers is None else workers
    jobs = affordable(count) if count > 1 else 1
    # max_nbytes=None sends arguments through pipes: joblib's shared memory is small in containers. Calls with
    # other settings of the pool start its processes anew.
    pool = joblib.Parallel(n_jobs=max(1, jobs), return_as="generator", max_nbytes=None)
    with worker_errors():
        yield from pool(joblib.delayed(from_here(call))() for call in calls)


def from_here(function: Callable[..., R]) -> Callable[..., R]:
    """Return a picklable function that runs another one in the present working directory.

    Workers outlive a call, and would resolve relative paths from the directory in which they were started.
    """
    return partial(_called_in, Path.cwd(), function)


def _called_in(folder: Path, function: Callable[..., R], *args: Any) -> R:
    # A process without workers is there already; its other threads must not be moved.
    if Path.cwd() != folder:
        os.chdir(folder)
    return function(*args)


@contextmanager
def worker_errors() -> Iterator[None]:
    """Turn the exceptions of a killed worker process into a `WorkerError`."""
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
