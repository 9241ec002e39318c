"""Tests of `tcam-cache build`: the config that its stage is given, its result, and Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tcam_cache.cache import CamCache
from tcam_cache.config import BuildConfig

PLACES = {"manifest": Path("m"), "classifier": Path("g.pt"), "out": Path("cache")}


@pytest.fixture
def small_build(small_manifest, small_classifier, tmp_path, one_scale):
    """Return the arguments that build the small cache."""
    given = ["--classifier", small_classifier, "--image-size", 64, "--workers", 0, *one_scale]
    return ["build", small_manifest, *given, "--out", tmp_path / "cache"]


def test_what_is_not_said_is_left_to_the_config(config_of):
    assert config_of("build", "m", "--classifier", "g.pt", "--out", "cache") == BuildConfig(**PLACES)


def test_every_option_reaches_its_setting(config_of):
    config = config_of(
        "build", "m", "--classifier", "g.pt", "--out", "cache", "--method", "gradcam++",
        "--layers", "layer2,layer3", "--target", "prediction", "--every", 3,
        "--batch-size", 4, "--image-size", 96, "--shard", "1/2", "--jobs", 5, "--dry-run", "--root", "data",
        "--threads", 9, "--backend", "dask", "--scheduler", "tcp://host:1", "--compile", "--amp", "bf16",
        "--workers", 6, "--device", "cuda:1", "--seed", 7,
    )  # fmt: skip
    assert config == BuildConfig(
        **PLACES,
        method="gradcam++",
        layers="layer2,layer3",
        target="prediction",
        every=3,
        batch_size=4,
        image_size=96,
        shard="1/2",
        jobs=5,
        threads=9,
        backend="dask",
        scheduler="tcp://host:1",
        compile=True,
        amp="bf16",
        dry_run=True,
        root=Path("data"),
        workers=6,
        device="cuda:1",
        seed=7,
    )


def test_a_run_may_be_given_in_place_of_a_classifier(config_of):
    config = config_of("build", "m", "--run", "run", "--out", "cache", "--map-size", 28, "--every", 2)
    assert config == BuildConfig(manifest="m", run="run", out="cache", map_size=28, every=2)


def test_a_map_function_may_be_named(config_of):
    names = ["--maps", "gradcam:AblationCAM", "--layers", "layer3"]
    config = config_of("build", "m", "--classifier", "g.pt", "--out", "cache", *names)
    assert config == BuildConfig(**PLACES, maps="gradcam:AblationCAM", layers="layer3")


@pytest.mark.parametrize("given", [[], ["--run", "run", "--classifier", "g.pt"]])
def test_neither_a_classifier_nor_a_run_and_both_are_wrong_usage(tcam, given):
    result = tcam("build", "m", "--out", "cache", *given)
    assert result.exit_code == 2 and "exactly one of --classifier and --run" in result.stderr


def test_a_second_round_is_built_trained_on_scored_and_looked_at(tcam, small_manifest, small_run, tmp_path):
    cache, run, report = tmp_path / "cache2", tmp_path / "run2", tmp_path / "report"
    quick = ["--workers", 0]
    built = tcam("build", small_manifest, "--run", small_run, "--out", cache, "--json", *quick)
    assert json.loads(built.stdout)["built_frames"] == 35
    small = ["--image-size", 64, "--landmarks", 16, "--decoder-width", 0.125, "--epochs", 1]
    assert tcam("train", small_manifest, "--cache", cache, "--out", run, *small, *quick).exit_code == 0
    scored = tcam("evaluate", small_manifest, "--cache", cache, "--out", report, "--json", *quick)
    assert json.loads(scored.stdout)["method"] == "decoder"
    assert tcam("verify", cache).exit_code == 0
    looked = tcam("inspect", cache, "--png", tmp_path / "classes.png")
    assert looked.exit_code == 0 and "decoder" in looked.stdout


def test_a_dry_run_says_frames_bytes_and_hours(tcam, small_build, tmp_path):
    result = tcam(*small_build, "--dry-run")
    assert "11 shots, 35 frames" in result.stdout and "hours" in result.stdout
    assert not (tmp_path / "cache").exists()


def test_a_build_says_its_rate_and_again_that_nothing_was_left(tcam, small_build):
    assert json.loads(tcam(*small_build, "--json").stdout)["built_frames"] == 35
    again = json.loads(tcam(*small_build, "--json", "--quiet").stdout)
    assert (again["built_frames"], again["frames"]) == (0, 35)


def test_another_setting_is_refused_by_name(tcam, small_build):
    tcam(*small_build)
    result = tcam(*small_build, "--image-size", 96)
    assert result.exit_code == 1 and "input.size: 96, not 64" in result.stderr


@pytest.mark.parametrize(("shard", "code"), [("3/2", 2), ("x", 2), ("0/1", 0)])
def test_a_share_that_is_none_is_named(tcam, small_build, shard, code):
    result = tcam(*small_build, "--shard", shard)
    assert result.exit_code == code
    assert code == 0 or f"got shard '{shard}'" in result.stderr


def _hear_ctrl_c():
    # A suite that runs in the background inherits a shell's "ignore Ctrl-C", and hands it on.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("how", [["--workers", 1], ["--workers", 2, "--jobs", 2]])
def test_ctrl_c_keeps_the_work_so_far_and_ends_with_130(small_build, tmp_path, how):
    # Larger frames one by one: slow enough to be interrupted between two shots.
    command = [*small_build, "--image-size", 320, "--batch-size", 1, *how]
    process = subprocess.Popen(
        [Path(sys.executable).with_name("tcam-cache"), *map(str, command)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=_hear_ctrl_c,
    )  # fmt: skip
    while not any((tmp_path / "cache").glob("commits/*.json")) and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (130, ""), errors
    assert "Interrupted. Everything finished so far is kept" in errors and "Traceback" not in errors
    cache = CamCache.open(tmp_path / "cache")
    assert 0 < len(cache.missing()) < 11 and cache.verify() == ()
