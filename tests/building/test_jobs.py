"""Tests of `build` and `predict` over several processes: the shares, a dask cluster, and wrong ones."""

import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from tcam_cache.building.jobs import _shares
from tcam_cache.building.turns import is_whole_cache
from tcam_cache.cache import CamCache
from tcam_cache.config import PredictConfig
from tcam_cache.datasets import read_manifest
from tcam_cache.errors import ConfigError, ExtraError, WorkerError
from tcam_cache.processes import worker_errors
from tcam_cache.records import Shot
from tcam_cache.stages.build import build_cache
from tcam_cache.stages.predict import predict


def test_shares_hold_every_shot_once_in_order_and_at_least_so_many_frames():
    lengths = [3, 1, 4, 1, 5, 9, 2]
    shots = [Shot(str(n), "a", "a", "train", "a", ("f",) * length) for n, length in enumerate(lengths)]
    assert list(_shares(shots, 5)) == [["0", "1", "2"], ["3", "4"], ["5"], ["6"]]
    assert list(_shares(shots, 1)) == [[shot.id] for shot in shots]
    assert list(_shares([], 5)) == []


def start(*words):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "dask", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The address of a dask scheduler on this machine, with two worker processes of one thread each."""
    distributed = pytest.importorskip("distributed")
    file = tmp_path_factory.mktemp("dask") / "scheduler.json"
    where = ("--host", "127.0.0.1", "--no-dashboard")
    running = [start("scheduler", *where, "--port", 0, "--scheduler-file", file)]
    try:
        while not file.exists():
            assert running[0].poll() is None, "the scheduler ended"
            time.sleep(0.05)
        worker = ("worker", "--scheduler-file", file, "--nthreads", 1, "--no-nanny", "--no-dashboard")
        running += [start(*worker, "--local-directory", file.parent / f"worker{n}") for n in range(2)]
        address = json.loads(file.read_text())["address"]
        with distributed.Client(address) as client:
            client.wait_for_workers(2, timeout=60)
        yield address
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait(timeout=30)


def workers_of(address):
    from distributed import Client

    with Client(address) as client:
        return client.run(lambda: None)


def test_a_dask_cluster_of_two_workers_builds_the_same_cache(build_config, cluster, small_cache, same_arrays):
    assert len(workers_of(cluster)) == 2
    report = build_cache(build_config(backend="dask", scheduler=cluster))
    assert report.built_frames == 35
    same_arrays(build_config().out, small_cache)
    assert build_cache(build_config(backend="dask", scheduler=cluster)).built_frames == 0


def test_a_dask_cluster_finds_the_boxes_of_one_process(
    cluster, small_run, small_manifest, tmp_path, monkeypatch
):
    monkeypatch.chdir(small_manifest.parent)
    given = {"run": small_run.name, "source": small_manifest.name, "workers": 0, "overlays": False}
    for name, where in {"one": {}, "many": {"backend": "dask", "scheduler": cluster}}.items():
        report = predict(PredictConfig(out=tmp_path / name, **given, **where))
        assert report.frames == 35 and report.frames_per_second > 0
    assert (tmp_path / "many/boxes.csv").read_bytes() == (tmp_path / "one/boxes.csv").read_bytes()


def test_frames_are_stored_where_their_maps_are_made(build_config, cluster, monkeypatch, small_manifest):
    monkeypatch.setattr("tcam_cache.stages.build.store_frames", lambda shots, *given: ("again",) * len(shots))
    build_cache(build_config(backend="dask", scheduler=cluster, frames=True))
    assert is_whole_cache(build_config().out, read_manifest(small_manifest))


def test_workers_of_a_cluster_that_are_killed_are_a_named_error():
    from distributed.scheduler import KilledWorker

    with pytest.raises(WorkerError, match="ended before its time"), worker_errors():
        raise KilledWorker("a task", SimpleNamespace(address="tcp://127.0.0.1:1"), 3)


def test_three_writers_at_once_on_either_backend_agree_with_one(
    build_config, cluster, commands, small_manifest, small_classifier, small_cache, same_arrays, one_scale
):
    given = ["--classifier", small_classifier, "--image-size", 64, "--workers", 0, "--quiet", *one_scale]
    backends = [["--jobs", 2], ["--backend", "dask", "--scheduler", cluster], []]
    shares = [["--shard", f"{part}/3", *backend] for part, backend in enumerate(backends)]
    out = build_config().out
    assert commands(*(["build", small_manifest, *given, "--out", out, *share] for share in shares)) == [0] * 3
    same_arrays(build_config().out, small_cache)
    assert CamCache.open(build_config().out).verify() == ()


def test_a_scheduler_that_does_not_answer_is_named(build_config, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("tcam_cache.processes.CONNECT_SECONDS", 1)
    with pytest.raises(ConfigError, match=r"tcp://127\.0\.0\.1:9 .*dask scheduler"):
        build_cache(build_config(backend="dask", scheduler="tcp://127.0.0.1:9"))


def test_without_dask_the_extra_is_named(build_config, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ExtraError, match=r'pip install "tcam-cache\[dask\]"'):
        build_cache(build_config(backend="dask", scheduler="tcp://127.0.0.1:9"))


@pytest.mark.parametrize("given", [{"backend": "dask"}, {"scheduler": "tcp://127.0.0.1:9"}])
def test_dask_and_its_scheduler_go_together(build_config, given):
    with pytest.raises(ConfigError, match="together, or neither"):
        build_config(**given)
