"""Tests of `tcam-cache evaluate`: the config that its stage is given, and its result."""

import json
from pathlib import Path

import pytest

from tcam_cache.config import EvaluateConfig

PLACES = {"manifest": Path("m"), "out": Path("report")}


def test_what_is_not_said_is_left_to_the_config(config_of):
    config = config_of("evaluate", "m", "--cache", "cache", "--out", "report")
    assert config == EvaluateConfig(**PLACES, cache=Path("cache"))


def test_every_option_reaches_its_setting(config_of):
    config = config_of(
        "evaluate", "m", "--run", "run", "--out", "report", "--split", "all", "--val-split", "train",
        "--threshold", "0.25", "--boxes", "wsol", "--map-size", 96, "--batch-size", 4, "--overlays", 5,
        "--root", "data", "--workers", 6,
    )  # fmt: skip
    assert config == EvaluateConfig(
        **PLACES,
        run=Path("run"),
        split="all",
        val_split="train",
        threshold="0.25",
        boxes="wsol",
        map_size=96,
        batch_size=4,
        overlays=5,
        root=Path("data"),
        workers=6,
    )


@pytest.mark.parametrize("what", [[], ["--run", "r", "--cache", "c"]])
def test_neither_or_both_of_run_and_cache_is_wrong_usage(tcam, what):
    result = tcam("evaluate", "m", "--out", "report", *what)
    assert result.exit_code == 2 and "exactly one of --run and --cache" in result.stderr


@pytest.mark.parametrize("threshold", ["best", "1.5", "-0.1", "nan"])
def test_a_threshold_that_is_none_is_wrong_usage(tcam, threshold):
    result = tcam("evaluate", "m", "--run", "r", "--out", "report", "--threshold", threshold)
    assert result.exit_code == 2 and repr(threshold) in result.stderr


def test_the_result_is_that_of_metrics_json(tcam, small_manifest, small_cache, tmp_path):
    given = ["evaluate", small_manifest, "--cache", small_cache, "--out", tmp_path / "report"]
    printed = json.loads(tcam(*given, "--workers", 0, "--overlays", 0, "--json", "--quiet").stdout)
    assert printed.pop("report") == str(tmp_path / "report")
    assert printed == json.loads((tmp_path / "report/metrics.json").read_text())
    metavar = tcam(*given, "--workers", 0, "--overlays", 0, "--threshold", "otsu", "--split", "all").stdout
    assert "layercam on all: 27 frames" in metavar and "CorLoc" in metavar
