"""Tests of `tcam-cache train`: the config that its stage is given under each preset, and its result."""

import json
from pathlib import Path

import pytest

from tcam_cache.config import PRESETS, TrainConfig

LEAST = ["train", "m", "--cache", "cache", "--out", "run"]
PLACES = {"manifest": Path("m"), "cache": Path("cache"), "out": Path("run")}


def test_what_is_not_said_is_left_to_the_config(config_of):
    assert config_of(*LEAST) == TrainConfig(**PLACES)


@pytest.mark.parametrize("preset", ["recommended", "paper", "authors"])
def test_a_preset_brings_its_values(config_of, preset):
    assert config_of(*LEAST, "--preset", preset) == TrainConfig(**PLACES, preset=preset, **PRESETS[preset])


def test_a_flag_wins_over_the_preset_even_with_the_value_of_recommended(config_of):
    config = config_of(*LEAST, "--preset", "authors", "--fg-top", 0.3, "--pixels", 100)
    assert (config.fg_top, config.pixels, config.bg_low, config.dilate) == (0.3, 100, 0.1, True)


def test_a_config_file_wins_over_the_preset_and_a_flag_over_both(config_of, tmp_path):
    (tmp_path / "c.toml").write_text('preset = "paper"\npixels = 9\nfg-top = 0.5\n')
    config = config_of(*LEAST, "--config", tmp_path / "c.toml", "--pixels", 11)
    assert (config.preset, config.pixels, config.fg_top) == ("paper", 11, 0.5)
    assert config.cross_entropy == "frame-sum"


def test_every_promised_option_reaches_its_setting(config_of):
    config = config_of(
        *LEAST, "--neighbours", 2, "--epochs", 3, "--batch-size", 4, "--lr", 0.5, "--frames-per-shot", 6,
        "--image-size", 96, "--fg-top", 0.7, "--bg-low", 0.8, "--pixels", 9, "--resume",
        "--train-split", "all", "--val-split", "test", "--select", "last",
        "--validate-every", 10, "--window", "both", "--dilate",
        "--seed", 12, "--root", "data",
    )  # fmt: skip
    assert config == TrainConfig(
        **PLACES,
        neighbours=2,
        epochs=3,
        batch_size=4,
        lr=0.5,
        frames_per_shot=6,
        image_size=96,
        fg_top=0.7,
        bg_low=0.8,
        pixels=9,
        resume=True,
        train_split="all",
        val_split="test",
        select="last",
        validate_every=10,
        window="both",
        dilate=True,
        seed=12,
        root=Path("data"),
    )


@pytest.mark.parametrize(
    ("switches", "settings"),
    [
        ("--no-crf --no-asc --neighbours 0", {"crf": False, "asc": False, "neighbours": 0}),
        ("--no-asc --neighbours 0", {"asc": False, "neighbours": 0}),
        ("--no-crf --neighbours 0", {"crf": False, "neighbours": 0}),
        ("--neighbours 0", {"neighbours": 0}),
        ("--crf --asc", {}),
    ],
    ids=["C+ C-", "+ CRF", "+ ASC", "+ CRF + ASC", "+ CAM-TMP"],
)
def test_every_trained_row_of_table_3_is_one_command(config_of, switches, settings):
    assert config_of(*LEAST, *switches.split()) == TrainConfig(**PLACES, **settings)


def test_a_run_is_trained_refused_again_and_resumed(tcam, small_manifest, small_cache, tmp_path):
    given = ["train", small_manifest, "--cache", small_cache, "--out", tmp_path / "run", "--workers", 0]
    given += ["--image-size", 64, "--landmarks", 16, "--decoder-width", 0.125, "--batch-size", 4]
    result = tcam(*given, "--epochs", 1, "--json")
    assert json.loads(result.stdout)["epochs"] == 1 and "epoch 1: loss" in result.stderr
    refused = tcam(*given, "--epochs", 2)
    assert refused.exit_code == 1 and "already holds a run" in refused.stderr
    assert json.loads(tcam(*given, "--epochs", 2, "--resume", "--json").stdout)["epochs"] == 2
