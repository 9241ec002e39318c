"""Tests of `tcam-cache predict`: the config that its stage is given, and its result."""

import json
from pathlib import Path

import pytest

from tcam_cache.config import PredictConfig

PLACES = {"run": Path("run"), "source": Path("images"), "out": Path("out")}


def test_what_is_not_said_is_left_to_the_config(config_of):
    assert config_of("predict", "run", "images", "--out", "out") == PredictConfig(**PLACES)


def test_every_option_reaches_its_setting(config_of):
    config = config_of(
        "predict", "run", "images", "--out", "out", "--threshold", 0.25, "--batch-size", 3, "--no-overlays",
        "--workers", 4, "--device", "cpu", "--format", "csv,cvat", "--video", "--map",
        "--tag", "dog", "--jobs", 2, "--shard", "0/2",
    )  # fmt: skip
    settings = {"threshold": 0.25, "batch_size": 3, "overlays": False, "workers": 4, "device": "cpu"}
    settings |= {"format": "csv,cvat", "video": True, "map": True, "tag": "dog", "jobs": 2, "shard": "0/2"}
    assert config == PredictConfig(**PLACES, **settings)


@pytest.mark.parametrize("threshold", ["2", "1", "-0.1", "nan", "oracle"])
def test_a_threshold_that_is_none_is_wrong_usage_and_no_policy_is_offered(config_of, tcam, threshold):
    config_of("predict", "run", "images", "--out", "out", "--threshold", 0)
    result = tcam("predict", "run", "images", "--out", "out", "--threshold", threshold)
    assert result.exit_code == 2
    assert result.stderr.endswith(
        f"Error: got threshold {threshold}; expected a number in [0, 1), or otsu.\n"
    )


def test_many_inputs_are_one_setting(config_of):
    config = config_of("predict", "run", "a.mp4", "b", "-", "--out", "out", "--threshold", "otsu")
    assert config.source == (Path("a.mp4"), Path("b"), Path("-")) and config.threshold == "otsu"
    assert config_of("predict", "run", "images", "--out", "out").source == (Path("images"),)


def test_boxes_are_written_and_counted(tcam, small_run, small_data, tmp_path):
    result = tcam("predict", small_run, small_data / "dog", "--out", tmp_path, "--workers", 0, "--json")
    assert json.loads(result.stdout)["frames"] == 7
    assert len((tmp_path / "boxes.csv").read_text().splitlines()) == 8


def test_a_folder_without_an_image_is_named(tcam, small_run, tmp_path):
    (tmp_path / "empty").mkdir()
    result = tcam("predict", small_run, tmp_path / "empty", "--out", tmp_path / "out")
    assert result.exit_code == 1 and "there is no image in" in result.stderr and "empty" in result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--format", "csv,coko"], "got format coko; expected some of csv,coco,yolo,cvat,label-studio,voc"),
        (["--format", ""], "got format ; expected some of"),
        (["--map", "--no-overlays"], "--map draws into the video and the overlays: give --video, too"),
    ],
)
def test_a_format_that_is_none_and_a_map_without_a_video_are_wrong_usage(tcam, words, said):
    result = tcam("predict", "run", "images", "--out", "out", *words)
    assert result.exit_code == 2 and said in result.stderr
