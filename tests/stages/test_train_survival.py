"""Tests of what a training survives: kill -9 and Ctrl-C of the real command at any moment.

TCAM_CACHE_KILLS sets how many kills each test survives (default 3).
"""

import json
import os
import random
import signal
import time

import pytest
import torch

KILLS = int(os.environ.get("TCAM_CACHE_KILLS", "3"))


@pytest.fixture(scope="module")
def train(command, small_manifest, small_cache):
    """Return a function that trains into a folder by the command line: 4 epochs of 3 steps."""
    given = ["--cache", small_cache, "--image-size", 64, "--landmarks", 16, "--decoder-width", 0.125]
    given += [
        "--epochs",
        4,
        "--batch-size",
        2,
        "--lr-step",
        2,
        "--validate-every",
        2,
        "--workers",
        0,
        "--quiet",
    ]
    return lambda out, *more, **how: command("train", small_manifest, *given, "--out", out, *more, **how)


def same(ours, theirs):
    """Compare nested states bit by bit, but for the seconds they took."""
    if isinstance(ours, torch.Tensor):
        return ours.dtype == theirs.dtype and torch.equal(ours, theirs)
    if isinstance(ours, dict):
        names = {name for name in {*ours, *theirs} if not str(name).startswith("seconds")}
        return all(name in ours and name in theirs and same(ours[name], theirs[name]) for name in names)
    if isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return ours == theirs


def assert_same_runs(ours, theirs):
    for name in ("last", "best"):
        assert same(*(torch.load(run / f"{name}.pt") for run in (ours, theirs))), name
    logs = [
        [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()] for run in (ours, theirs)
    ]
    assert same(*logs)
    assert (ours / "threshold.json").read_bytes() == (theirs / "threshold.json").read_bytes()


def position(run):
    """Return the finished epochs and steps that a folder holds; none where no checkpoint is yet."""
    if not (run / "last.pt").exists():
        return 0, 0
    state = torch.load(run / "last.pt")
    return state["epoch"], state["sums"]["step"]


def going_on(run):
    return ["--resume"] if (run / "config.json").exists() else []


@pytest.fixture(scope="module")
def whole(train, tmp_path_factory):
    """An uninterrupted run, and how long one takes."""
    folder = tmp_path_factory.mktemp("whole")
    assert train(folder / "warm") == 0
    began = time.perf_counter()
    assert train(folder / "run") == 0
    return folder / "run", time.perf_counter() - began


def test_kill_9_at_any_moment_and_resume_ends_with_the_same_bits(train, tmp_path, whole):
    theirs, seconds = whole
    moments, kills, between = random.Random(0), 0, set()
    while kills < KILLS or not between:
        assert kills < 10 * KILLS, "no kill fell between two epochs: the test has shown nothing"
        run, before = tmp_path / f"run{kills}", (0, 0)
        kills += 1
        moment = moments.uniform(0.1, 0.9) * seconds
        # Saved every step, then every epoch alone, and so on.
        while (
            status := train(run, "--save-minutes", 5 * (kills % 2 == 0), *going_on(run), kill_after=moment)
        ) == -9:
            after = position(run)
            assert after >= before, "a saved step was lost"
            between |= {after} - {(0, 0), (4, 0)}
            before, kills = after, kills + 1
            moment = moments.uniform(0.1, 0.9) * seconds if kills < KILLS else None
        assert status == 0
        assert_same_runs(run, theirs)


def test_ctrl_c_at_any_moment_saves_and_resume_ends_with_the_same_bits(train, tmp_path, whole):
    theirs, seconds = whole
    moments, interrupts, within = random.Random(0), 0, False
    while interrupts < KILLS or not within:
        assert interrupts < 10 * KILLS, "no Ctrl-C fell within an epoch: the test has shown nothing"
        run = tmp_path / f"run{interrupts}"
        interrupts += 1
        status = train(run, kill_after=moments.uniform(0.1, 0.9) * seconds, number=signal.SIGINT)
        assert status in (0, 130)
        if status == 130:
            within = within or position(run)[1] > 0
            assert train(run, *going_on(run)) == 0
        assert_same_runs(run, theirs)
