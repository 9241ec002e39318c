"""Worker processes and threads, here or on a dask cluster, and the error when one is killed."""

import atexit
import gc
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

from tcam_cache.errors import ConfigError, WorkerError
from tcam_cache.extras import optional

logger = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

# Semaphores (of queues and locks) that the data loaders and joblib's pool need together, and how many each
# worker adds. They cannot be created where shared memory is full or absent.
_SEMAPHORES, _SEMAPHORES_A_WORKER = 24, 7
CONNECT_SECONDS = 20
# What dask raises when workers die under one task again and again, or its scheduler is gone.
_DASK_FAILURES = {"KilledWorker", "CommClosedError", "FutureCancelledError", "CancelledError"}


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


def in_processes(
    calls: Iterable[Callable[[], Any]], workers: int | None, scheduler: str | None = None
) -> Iterator[Any]:
    """Run calls in worker processes and yield their results in order.

    Args:
        calls: picklable functions without arguments, such as `functools.partial` objects. An iterator
            is read as workers become free.
        workers: number of processes; 0 or 1 runs in this process, None starts one per core, or takes all
            workers of the cluster.
        scheduler: address of a dask scheduler; None is this machine.

    Raises:
        ConfigError: no scheduler with workers answers at the address.
        ExtraError: dask is not installed.
        WorkerError: a worker was killed.
    """
    count = joblib.cpu_count() if workers is None and scheduler is None else workers
    with worker_pool(count, scheduler, "generator") as pool:
        # The machines of a cluster need not have this folder.
        here = from_here if scheduler is None else partial
        yield from pool(joblib.delayed(here(call))() for call in calls)


def worker_number() -> int:
    """Return the number of this worker process on this machine, from 0; 0 outside of worker processes."""
    name, _, number = multiprocessing.current_process().name.rpartition("-")
    return int(number) - 1 if name == "LokyProcess" else 0


@contextmanager
def worker_pool(jobs: int | None, scheduler: str | None, return_as: str) -> Iterator[Any]:
    """Yield joblib's pool, whose `n_jobs` is the number of processes; killed workers are a `WorkerError`.

    Args:
        jobs: number of processes; None is one here, or all workers of the cluster.
        scheduler: address of a dask scheduler; None is this machine.
        return_as: "generator", or "generator_unordered".

    Raises:
        ConfigError: no scheduler with workers answers at the address.
        ExtraError: dask is not installed.
        WorkerError: a worker was killed.
    """
    # max_nbytes=None sends arguments through pipes: joblib's shared memory is small in containers. Calls with
    # other settings of the pool start its processes anew.
    options: dict[str, Any] = {"return_as": return_as, "max_nbytes": None}
    with worker_errors():
        if scheduler is None:
            count = affordable(jobs) if jobs and jobs > 1 else 1
            yield joblib.Parallel(n_jobs=max(1, count), initializer=_end_at_once, **options)
            return
        with _dask_client(scheduler) as client:
            workers = sum(client.nthreads().values())
            if not workers:
                raise ConfigError(
                    f"the dask scheduler at {scheduler} has no workers. Start some with "
                    f"`dask worker {scheduler}`."
                )
            with joblib.parallel_config(backend="dask"):
                pool = joblib.Parallel(n_jobs=jobs or workers, **options)
            yield pool


def _end_at_once() -> None:
    # A worker that ends would collect all that torch has made, while its parent waits.
    atexit.register(gc.freeze)


def _dask_client(scheduler: str) -> Any:
    distributed = optional("distributed", "dask")
    try:
        return distributed.Client(scheduler, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"no dask scheduler answers at {scheduler} ({error}). Start one with `dask scheduler`."
        ) from error


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
    """Turn the exceptions of a killed worker process, here or on a dask cluster, into a `WorkerError`."""
    try:
        yield
    except Exception as error:
        loader = isinstance(error, RuntimeError) and "DataLoader worker" in str(error)
        # Without an import of dask, which few have.
        if not (isinstance(error, BrokenProcessPool) or loader or type(error).__name__ in _DASK_FAILURES):
            raise
        reason = " ".join(str(error).split("\n")[0].split())
        raise WorkerError(
            f"a worker process ended before its time ({reason}). The system ends one when memory, or shared "
            "memory (/dev/shm), runs out. Give fewer --workers or --jobs, or --workers 0 to do all in one "
            "process; the same command goes on."
        ) from error
