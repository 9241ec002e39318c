import errno
import gc
import logging
import multiprocessing
import os
import time
from functools import partial

import pytest

from tcam_cache.errors import WorkerError
from tcam_cache.processes import affordable, in_advance, in_processes, in_threads, worker_errors


@pytest.fixture
def no_shared_memory(monkeypatch):
    """A machine whose shared memory is full, or absent."""

    def refuse(*given):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(type(multiprocessing.get_context("fork")), "Semaphore", refuse)


def test_so_many_workers_are_started_as_were_asked_for():
    assert [affordable(workers) for workers in (0, 1, 3)] == [0, 1, 3]


def test_without_shared_memory_one_process_does_the_work_and_says_so(no_shared_memory, caplog):
    with caplog.at_level(logging.WARNING, "tcam_cache"):
        assert affordable(2) == 0
    assert "too little shared memory (/dev/shm) for 2 worker process(es)" in caplog.text
    assert "--workers 0" in caplog.text
    caplog.clear()
    assert affordable(0) == 0 and not caplog.text
    assert list(in_processes((partial(os.getpid) for _ in range(2)), 2)) == [os.getpid()] * 2


@pytest.mark.parametrize("workers", [0, 1, 2, None])
def test_calls_return_in_their_order_from_any_number_of_processes(workers):
    assert list(in_processes((partial(pow, base, 2) for base in range(9)), workers)) == [
        base**2 for base in range(9)
    ]


def test_the_workers_of_one_call_do_the_work_of_the_next():
    def whose():
        time.sleep(0.1)
        return os.getpid()

    first, second = (set(in_processes([whose] * 4, 2)) for _ in range(2))
    assert first <= second and os.getpid() not in second


@pytest.mark.filterwarnings("ignore:A worker")
def test_a_worker_that_is_killed_is_a_named_error():
    with pytest.raises(WorkerError, match=r"ended before its time \([\s\S]*--workers 0"):
        list(in_processes((partial(os._exit, 1) for _ in range(2)), 2))


def test_an_error_of_another_kind_passes():
    with pytest.raises(RuntimeError, match="something else"), worker_errors():
        raise RuntimeError("something else")


def test_workers_read_relative_paths_from_where_the_caller_is_now(tmp_path, monkeypatch):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        assert set(in_processes((os.getcwd for _ in range(4)), 2)) == {str(tmp_path / name)}


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_results_of_threads_come_in_order_and_not_too_far_ahead(threads):
    read = []
    items = (read.append(n) or n for n in range(20))
    results = in_threads(lambda n: n * n, items, threads, waiting=2)
    assert next(results) == 0 and len(read) <= 3
    assert list(results) == [n * n for n in range(1, 20)]


@pytest.mark.parametrize("threads", [0, 1])
def test_an_error_of_what_is_made_in_advance_is_raised_after_all_before_it(threads):
    def items():
        yield 1
        yield 2
        raise ValueError("broken")

    made = in_advance(items(), threads)
    assert [next(made), next(made)] == [1, 2]
    with pytest.raises(ValueError, match="broken"):
        next(made)


def test_what_is_made_in_advance_ends_when_nobody_takes_it():
    ended = []

    def items():
        try:
            while True:
                yield 1
        finally:
            ended.append(True)

    made = in_advance(items(), 1)
    assert next(made) == 1
    made.close()
    gc.collect()
    assert ended == [True]
