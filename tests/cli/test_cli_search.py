"""Tests of `tcam-cache search`: the config that its stage is given, and its result."""

from pathlib import Path

import pytest

from tcam_cache.config import SearchConfig
from tcam_cache.config.train import PRESETS

LEAST = ["search", "m", "--cache", "cache", "--out", "found"]
PLACES = {"manifest": Path("m"), "cache": Path("cache"), "out": Path("found")}


def test_what_is_not_said_is_left_to_the_config(config_of):
    assert config_of(*LEAST) == SearchConfig(**PLACES)


def test_the_options_of_training_are_what_the_grid_lies_around(config_of):
    given = ["--grid", "lr=0.1,0.01", "--jobs", 2, "--preset", "paper", "--epochs", 5, "--no-crf"]
    expected = {"grid": "lr=0.1,0.01", "jobs": 2, "epochs": 5, "crf": False}
    assert config_of(*LEAST, *given) == SearchConfig(
        **PLACES, preset="paper", **{**PRESETS["paper"], **expected}
    )


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        ("colour=red", "`train` has no option 'colour'"),
        ("fg-top=0.5,2", "fg_top: got 2.0, expected at most 1"),
    ],
)
def test_a_grid_that_has_no_meaning_is_wrong_usage(config_of, tcam, grid, said):
    config_of(*LEAST)
    result = tcam(*LEAST, "--grid", grid)
    assert (result.exit_code, result.stdout) == (2, "") and said in result.stderr
