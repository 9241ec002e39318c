"""Worker processes and threads: how many this machine can start, and the error when one is killed."""

import logging
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import joblib
from joblib.externals.loky.process_executor import BrokenProcessPool

from tcam_cache.errors import WorkerError

logger = logging.getLogger(__name__)

T = TypeVar("T")
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


def in_threads(function: Callable[[T], R], items: Iterable[T], threads: int, waiting: int) -> Iterator[R]:
    """Yield a function of each item, in order, computed in advance by threads; an exception is raised here.

    Args:
        function: releases Python's lock while it works, or gains nothing.
        items: read in this thread, as results are taken.
        threads: 0 for this thread alone.
        waiting: how many results may be computed in advance; limits memory.

    >>> list(in_threads(abs, [-1, 2, -3], threads=2, waiting=4))
    [1, 2, 3]
    """
    if not threads:
        yield from map(function, items)
        return
    results: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for item in items:
            results.append(pool.submit(function, item))
            if len(results) > waiting:
                yield results.popleft().result()
        while results:
            yield results.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def in_advance(items: Iterable[T], threads: int, waiting: int = 1) -> Iterator[T]:
    """Yield items that one thread makes in advance, at most `waiting` and the one in the making.

    Args:
        items: such as a generator that decodes; an exception of it is raised here.
        threads: 0 for this thread alone.
        waiting: see above; limits memory.

    >>> list(in_advance(iter("abc"), threads=1))
    ['a', 'b', 'c']
    """
    source, end = iter(items), object()
    one_by_one = in_threads(lambda _: next(source, end), iter(int, 1), min(1, threads), waiting)
    for item in one_by_one:
        if item is end:
            break
        yield item  # pyright: ignore[reportReturnType]


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
