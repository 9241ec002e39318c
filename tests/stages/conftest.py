"""Configs of small stages, each with one setting changed at a time."""

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tcam_cache.cache import CamCache
from tcam_cache.cache_config import BuildConfig
from tcam_cache.config import ClassifierConfig, EvaluateConfig
from tcam_cache.datasets import read_manifest, write_manifest
from tcam_cache.presets import train_config


@pytest.fixture(scope="module")
def command():
    """Return a function that runs `tcam-cache ARGS` in its own process, which a signal ends in time."""
    script = Path(__file__).with_name("cli_zygote.py")
    process = subprocess.Popen(
        [sys.executable, "-W", "error", str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def run(*args, kill_after=None, number=signal.SIGKILL):
        order = {"args": [str(arg) for arg in args], "kill_after": kill_after, "number": number}
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    yield run
    process.stdin.close()
    process.stdout.close()
    process.wait(timeout=60)


@pytest.fixture
def classifier_config(small_manifest, tmp_path, quick):
    """Return a maker of configs that fit a squeezenet1_1 from random weights for one epoch."""
    settings = {"arch": "squeezenet1_1", "weights": "none", "epochs": 1, "batch_size": 8, "lr": 0.002}
    defaults = {"manifest": small_manifest, "out": tmp_path / "g.pt", **settings, **quick}
    return lambda **given: ClassifierConfig(**{**defaults, **given})


@pytest.fixture
def build_config(small_manifest, small_classifier, tmp_path, quick):
    """Return a maker of configs that build the small cache into a new folder."""
    places = {"manifest": small_manifest, "classifier": small_classifier, "out": tmp_path / "cache"}
    return lambda **given: BuildConfig(**{**places, **quick, **given})


@pytest.fixture
def decoder_config(small_manifest, small_cache, tmp_path, quick):
    """Return a maker of configs that train a narrow decoder for one epoch into a new folder."""
    settings = {"epochs": 1, "batch_size": 4, "decoder_width": 0.125, "landmarks": 16}
    places = {"manifest": small_manifest, "cache": small_cache, "out": tmp_path / "run"}
    return lambda preset="recommended", **given: train_config(
        preset, **{**places, **settings, **quick, **given}
    )


@pytest.fixture
def evaluate_config(small_manifest, tmp_path):
    """Return a maker of configs that score into a new folder, without pictures."""
    defaults = {"manifest": small_manifest, "out": tmp_path / "report", "workers": 0, "overlays": 0}
    return lambda **given: EvaluateConfig(**{**defaults, **given})


@pytest.fixture
def data_copy(small_data, tmp_path):
    """A copy of the data set that a test may damage; give it as `root`."""
    return shutil.copytree(small_data, tmp_path / "data")


@pytest.fixture
def without_boxes(small_manifest, tmp_path):
    """The manifest without a single box."""
    manifest = read_manifest(small_manifest)
    bare = tuple(replace(shot, boxes={}) for shot in manifest.shots)
    write_manifest(replace(manifest, shots=bare), tmp_path / "m.jsonl")
    return tmp_path / "m.jsonl"


@pytest.fixture
def fails(tcam):
    """Return a function that runs a command, makes sure it ends with one named error, and returns that."""

    def run(*args):
        result = tcam(*args)
        assert (result.exit_code, result.stdout) == (1, ""), result.output
        assert result.stderr.count("Error: ") == 1 and "Traceback" not in result.stderr
        return result.stderr[result.stderr.index("Error: ") :]

    return run


@pytest.fixture
def index(data_copy, tmp_path):
    """Return the arguments that index the copy of the data set, with its annotations."""
    places = ["--annotations", data_copy / "annotations.csv", "--out", tmp_path / "m.jsonl"]
    return ["manifest", data_copy, "--layout", "folders", "--workers", 0, *places]


@pytest.fixture
def build(small_manifest, small_classifier, data_copy, tmp_path):
    """Return the arguments that build the small cache out of the copy of the data set."""
    given = ["--classifier", small_classifier, "--root", data_copy, "--image-size", 64, "--workers", 0]
    return ["build", small_manifest, *given, "--out", tmp_path / "cache"]


@pytest.fixture
def train(small_manifest, tmp_path):
    """Return the arguments that train a narrow decoder; the cache is missing."""
    given = ["--image-size", 64, "--workers", 0, "--landmarks", 16, "--decoder-width", 0.125, "--epochs", 1]
    return ["train", small_manifest, *given, "--out", tmp_path / "run"]


@pytest.fixture(scope="session")
def same_arrays():
    """Return a function that makes sure that two cache folders hold the same finished shots and numbers."""

    def check(ours, theirs):
        ours, theirs = CamCache.open(ours), CamCache.open(theirs)
        assert ours.shots() == theirs.shots()
        for shot in theirs.shots():
            assert np.array_equal(ours.cams(shot.id), theirs.cams(shot.id))
            for one, other in zip(
                vars(ours.stats(shot.id)).values(), vars(theirs.stats(shot.id)).values(), strict=True
            ):
                assert np.array_equal(one, other)

    return check
