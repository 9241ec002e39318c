"""Tests of `tcam-cache search`: the config that its stage is given, and its result."""

from pathlib import Path

from tcam_cache.config import SearchConfig
from tcam_cache.presets import PRESETS

LEAST = ["search", "m", "--cache", "cache", "--out", "found"]
PLACES = {"manifest": Path("m"), "cache": Path("cache"), "out": Path("found")}


def test_what_is_not_said_is_left_to_the_config(config_of):
    assert config_of(*LEAST) == SearchConfig(**PLACES)


def test_the_options_of_training_are_what_the_grid_lies_around(config_of):
    given = ["--grid", "lr=0.1,0.01", "--jobs", 2, "--preset", "paper", "--epochs", 5, "--no-crf"]
    expected = {"grid": "lr=0.1,0.01", "jobs": 2, "epochs": 5, "crf": False}
    assert config_of(*LEAST, *given) == SearchConfig(**PLACES, preset="paper", **PRESETS["paper"], **expected)


def test_a_grid_that_cannot_be_read_is_one_named_error(tcam):
    result = tcam(*LEAST, "--grid", "colour=red")
    assert result.exit_code == 1 and "`train` has no option 'colour'" in result.stderr
