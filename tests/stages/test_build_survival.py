"""Tests of what a build survives: kill -9 of the real command at any moment, a disk that refuses writes.

TCAM_CACHE_KILLS sets how many kills the first test survives (default 8).
"""

import errno
import os
import random
import time

import pytest

from tcam_cache.cache import CamCache
from tcam_cache.errors import StorageError
from tcam_cache.stages.build import build_cache

KILLS = int(os.environ.get("TCAM_CACHE_KILLS", "8"))


@pytest.fixture
def build(command, small_manifest, small_classifier, one_scale):
    """Return a function that builds the small cache into a folder by the command line."""
    given = ["--classifier", small_classifier, "--image-size", 64, "--workers", 0, "--quiet", *one_scale]
    return lambda out, **how: command("build", small_manifest, *given, "--out", out, **how)


def finished(path):
    """Return the finished shots and when; nothing where no cache is yet. Every one of them is sound."""
    if not (path / "cache.json").exists():
        return {}
    cache = CamCache.open(path)
    assert cache.verify() == ()
    return {
        shot.id: (path / f"commits/{position:06d}.json").stat().st_mtime_ns
        for position, shot in enumerate(cache.shots())
        if shot.complete
    }


def test_kill_9_at_any_moment_keeps_finished_shots_and_resumes_to_the_same_arrays(
    build, tmp_path, small_cache, same_arrays
):
    assert build(tmp_path / "warm") == 0
    began = time.perf_counter()
    assert build(tmp_path / "timed") == 0
    seconds = time.perf_counter() - began
    moments, kills, partial, rounds = random.Random(0), 0, 0, 0
    while kills < KILLS:
        out, before = tmp_path / f"cache{rounds}", {}
        while (status := build(out, kill_after=moments.uniform(0.2, 1) * seconds)) == -9:
            kills += 1
            after = finished(out)
            assert {shot: after[shot] for shot in before} == before, "a finished shot was lost or redone"
            partial += 0 < len(after) < 11
            before = after
        assert status == 0
        same_arrays(out, small_cache)
        rounds += 1
    assert partial, "no kill fell between two shots: the test has shown nothing"


@pytest.mark.parametrize(
    ("function", "number", "reason"),
    [("open", errno.EACCES, "no write permission"), ("fsync", errno.ENOSPC, "disk is full")],
)
def test_a_refused_write_is_a_storage_error_and_committed_shots_stay(
    build_config, small_cache, same_arrays, monkeypatch, function, number, reason
):
    real, calls, first = getattr(os, function), [], None

    def refuse(*args, **kwargs):
        calls.append(args)
        if first is not None and len(calls) > first:
            raise OSError(number, os.strerror(number))
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(os, function, refuse)
        build_cache(build_config(out=build_config().out.with_name("counted")))
        first = int(0.7 * len(calls))
        calls.clear()
        with pytest.raises(StorageError, match=reason) as caught:
            build_cache(build_config())
    assert str(build_config().out) in str(caught.value)
    committed = finished(build_config().out)
    assert 0 < len(committed) < 11
    build_cache(build_config())
    assert {
        shot: when for shot, when in finished(build_config().out).items() if shot in committed
    } == committed
    same_arrays(build_config().out, small_cache)
