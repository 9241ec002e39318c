"""Tests of what a cache survives: kill -9 at any moment, many writers at once, a disk that refuses any write.

TCAM_CACHE_KILLS sets how many kills the first test survives (default 12).
"""

import errno
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tcam_cache.cache import CamCache
from tcam_cache.errors import StorageError

KILLS = int(os.environ.get("TCAM_CACHE_KILLS", "12"))


@pytest.fixture(scope="module")
def zygote():
    """Return a function that builds in forked processes, killed in time, and returns their exit statuses."""
    script = Path(__file__).with_name("zygote.py")
    process = subprocess.Popen(
        [sys.executable, "-W", "error", str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def build(path, shards=((0, 1),), kill_after=None):
        process.stdin.write(
            json.dumps({"path": str(path), "shards": shards, "kill_after": kill_after}) + "\n"
        )
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    yield build
    process.stdin.close()
    process.stdout.close()
    process.wait(timeout=60)


@pytest.fixture(scope="module")
def uninterrupted(zygote, tmp_path_factory):
    """Return the cache of one build in a go, and the seconds it took."""
    path = tmp_path_factory.mktemp("whole") / "cache"
    zygote(path.with_name("warm"))
    began = time.perf_counter()
    assert zygote(path) == [0]
    return CamCache.open(path), time.perf_counter() - began


def finished(path):
    """Return the finished shots with the time their record was written, or nothing where no cache is yet."""
    if not (path / "cache.json").exists():
        return {}
    cache = CamCache.open(path)
    assert cache.verify() == ()
    return {
        shot.id: (path / f"commits/{position:06d}.json").stat().st_mtime_ns
        for position, shot in enumerate(cache.shots())
        if shot.complete
    }


def same_arrays(ours, theirs):
    assert ours.shots() == theirs.shots()
    assert ours.digest() == theirs.digest()
    for shot in theirs.shots():
        assert np.array_equal(ours.cams(shot.id), theirs.cams(shot.id))


def without_partials(files):
    return {name: data for name, data in files.items() if not name.endswith(".partial")}


def test_kill_9_at_any_moment_loses_no_finished_shot_and_resumes_to_the_same_arrays(
    zygote, uninterrupted, tmp_path, tree
):
    whole, seconds = uninterrupted
    moments, kills, rounds = random.Random(0), 0, 0
    while kills < KILLS:
        path, before = tmp_path / f"cache{rounds}", {}
        while (status := zygote(path, kill_after=moments.uniform(0, seconds / 2))) == [-9]:
            kills += 1
            after = finished(path)
            assert {shot: after[shot] for shot in before} == before, "a finished shot was lost or redone"
            before = after
        assert status == [0]
        same_arrays(CamCache.open(path), whole)
        assert without_partials(tree(path)).keys() == tree(whole.path).keys()
        rounds += 1


def test_three_writers_that_create_and_write_at_once_agree_with_one(zygote, uninterrupted, tmp_path, tree):
    for attempt in range(3):
        path = tmp_path / f"cache{attempt}"
        assert zygote(path, shards=[(part, 3) for part in range(3)]) == [0, 0, 0]
        assert tree(path) == tree(uninterrupted[0].path)


def test_writers_that_share_every_shot_agree_too(zygote, uninterrupted, tmp_path, tree):
    assert zygote(tmp_path / "cache", shards=[(0, 1), (0, 1)]) == [0, 0]
    assert tree(tmp_path / "cache") == tree(uninterrupted[0].path)


def test_every_file_of_a_cache_appears_whole_under_its_name(tmp_path, plan_of, build_all, tree, monkeypatch):
    appeared, replace = set(), os.replace
    monkeypatch.setattr(os, "replace", lambda old, new: appeared.add(Path(new)) or replace(old, new))
    build_all(tmp_path / "cache", plan_of(), {"classifier.pt": b"weights"})
    CamCache.open(tmp_path / "cache").pack()
    assert appeared == {tmp_path / "cache" / name for name in tree(tmp_path / "cache")}


class Refusals:
    """Makes the k-th call of an `os` function, and all later ones, fail."""

    def __init__(self, monkeypatch, function, number):
        self.first, self.calls = None, 0
        real = getattr(os, function)

        def refuse(*args, **kwargs):
            self.calls += 1
            if self.first is not None and self.calls > self.first:
                raise OSError(number, os.strerror(number))
            return real(*args, **kwargs)

        monkeypatch.setattr(os, function, refuse)

    def after(self, calls):
        self.first, self.calls = calls, 0


@pytest.mark.parametrize(
    ("function", "number", "reason"),
    [("replace", errno.EACCES, "no write permission"), ("fsync", errno.ENOSPC, "disk is full"),
     ("open", errno.EROFS, "read-only")],
)  # fmt: skip
def test_whichever_write_is_refused_a_storage_error_says_why_and_finished_shots_stay_good(
    tmp_path, plan_of, build_all, tree, monkeypatch, function, number, reason
):
    plan = plan_of((5, 129))
    build_all(tmp_path / "whole", plan, {"classifier.pt": b"weights"})
    refusals = Refusals(monkeypatch, function, number)
    build_all(tmp_path / "counted", plan, {"classifier.pt": b"weights"})
    writes = refusals.calls
    assert writes > 25
    for k in [*range(0, writes - 8, 4), *range(writes - 8, writes)]:
        path = tmp_path / f"cache{k}"
        refusals.after(k)
        with pytest.raises(StorageError, match=reason):
            build_all(path, plan, {"classifier.pt": b"weights"})
        refusals.after(None)
        finished(path)
        build_all(path, plan, {"classifier.pt": b"weights"})
        assert tree(path) == tree(tmp_path / "whole")
