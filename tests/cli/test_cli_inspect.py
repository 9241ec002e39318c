"""Tests of `tcam-cache inspect`: the config that its stage is given, and its result."""

import json
from pathlib import Path

import pytest

from tcam_cache.config import InspectConfig


def test_what_is_not_said_is_left_to_the_config(config_of):
    assert config_of("inspect", "cache") == InspectConfig(cache=Path("cache"))


def test_every_option_reaches_its_setting(config_of):
    given = ["--png", "p.png", "--gif", "p.gif", "--mp4", "p.mp4", "--fps", 25, "--root", "data"]
    config = config_of("inspect", "cache", "bird/1", *given)
    assert config == InspectConfig(
        cache=Path("cache"),
        shot="bird/1",
        png=Path("p.png"),
        gif=Path("p.gif"),
        mp4=Path("p.mp4"),
        fps=25.0,
        root=Path("data"),
    )


@pytest.mark.parametrize("option", ["--gif", "--mp4"])
def test_a_moving_picture_without_a_shot_is_wrong_usage(tcam, small_cache, tmp_path, option):
    result = tcam("inspect", small_cache, option, tmp_path / "out")
    assert result.exit_code == 2 and "Name it" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("option", "name"), [("--png", "a.webp"), ("--gif", "a.png"), ("--mp4", "a")])
def test_a_picture_named_as_of_another_format_is_wrong_usage(config_of, tcam, option, name):
    config_of("inspect", "cache", "bird/1", "--png", "a.JPG")
    result = tcam("inspect", "cache", "bird/1", option, name)
    assert result.exit_code == 2 and f"got {option} {name}; expected a name that ends in" in result.stderr


def test_a_cache_and_a_shot_of_it_are_shown(tcam, small_cache, tmp_path):
    assert "11 of 11 finished (complete)" in tcam("inspect", small_cache).stdout
    assert json.loads(tcam("inspect", small_cache, "--json").stdout)["complete"] is True
    result = tcam("inspect", small_cache, "dog/0001", "--png", tmp_path / "p.png", "--json")
    assert json.loads(result.stdout)["frames"] == 4 and (tmp_path / "p.png").stat().st_size > 1000


def test_a_shot_that_is_not_there_is_named(tcam, small_cache):
    result = tcam("inspect", small_cache, "dog/0009")
    assert (result.exit_code, result.stdout) == (1, "") and "dog/0009" in result.stderr
