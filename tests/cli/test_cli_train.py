"""Tests of `tcam-cache train`: the config that its stage is given under each preset, and its result."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tcam_cache.config import TrainConfig
from tcam_cache.config.train import PRESETS

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


def test_what_a_preset_turns_on_can_be_turned_off(config_of):
    assert config_of(*LEAST, "--preset", "authors").dilate
    assert not config_of(*LEAST, "--preset", "authors", "--no-dilate").dilate


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


@pytest.mark.parametrize("option", ["--align", "--image-skip", "--seeds-by-area", "--second-cache=other"])
def test_an_option_that_was_removed_is_wrong_usage_and_said_to_be_gone(config_of, tcam, tmp_path, option):
    config_of(*LEAST)
    name = option.partition("=")[0]
    result = tcam(*LEAST, option)
    assert result.exit_code == 2 and f"{name} (was removed: leave it out)" in result.stderr
    (tmp_path / "c.toml").write_text(f"{name[2:]} = false\ncolour = 1\n")
    result = tcam(*LEAST, "--config", tmp_path / "c.toml")
    assert result.exit_code == 2 and "colour" in result.stderr
    assert f"{name[2:]} (was removed: leave it out)" in result.stderr


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


def test_an_unknown_preset_is_wrong_usage_and_lists_those_that_exist(tcam):
    result = tcam(*LEAST, "--preset", "best")
    assert result.exit_code == 2
    assert all(name in result.stderr for name in ("'best'", *PRESETS))


@pytest.fixture
def given(small_manifest, small_cache, tmp_path):
    """Return the arguments of a quick training."""
    small = [
        "--preset",
        "paper",
        "--workers",
        0,
        "--image-size",
        64,
        "--landmarks",
        16,
        "--decoder-width",
        0.125,
        "--batch-size",
        4,
    ]
    return ["train", small_manifest, "--cache", small_cache, "--out", tmp_path / "run", "--epochs", 1, *small]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--device", "cuda:97"], "there is no device 'cuda:97' here. Those that are: auto, cpu"),
        (["--neighbours", 7], "n = 7, but the longest shot of split 'train' has 6 frame(s)"),
    ],
    ids=["GPU", "neighbours"],
)
def test_what_cannot_be_is_one_named_error_and_leaves_nothing(tcam, given, tmp_path, wrong, said):
    result = tcam(*given, *wrong)
    assert (result.exit_code, result.stdout) == (1, "")
    assert said in result.stderr and "Traceback" not in result.stderr
    assert not (tmp_path / "run").exists()


def test_a_board_without_tensorboard_names_the_extra(tcam, given, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    result = tcam(*given, "--tensorboard")
    assert result.exit_code == 1 and 'pip install "tcam-cache[tensorboard]"' in result.stderr


def test_a_board_is_written_beside_the_log(tcam, given, tmp_path):
    pytest.importorskip("tensorboard")
    assert tcam(*given, "--tensorboard").exit_code == 0
    assert list((tmp_path / "run" / "tensorboard").glob("events.*"))


def test_a_run_is_trained_refused_again_and_resumed(tcam, given, tmp_path):
    result = tcam(*given, "--json")
    assert json.loads(result.stdout)["epochs"] == 1 and "epoch 1: loss" in result.stderr
    refused = tcam(*given, "--epochs", 2)
    assert refused.exit_code == 1 and "already holds a run" in refused.stderr
    changed = tcam(*given, "--no-asc", "--lr", 0.5, "--resume")
    assert changed.exit_code == 1 and "asc: False, not True\n  lr: 0.5, not 0.01" in changed.stderr
    assert json.loads(tcam(*given, "--epochs", 2, "--resume", "--json").stdout)["epochs"] == 2


def test_the_settings_of_a_run_are_taken_again_and_a_flag_wins(config_of, tcam, small_run, tmp_path):
    before = TrainConfig.from_json(
        {
            key: value
            for key, value in json.loads((small_run / "config.json").read_text()).items()
            if key != "inputs"
        }
    )
    again = config_of("train", "--config", small_run / "config.json", "--out", tmp_path)
    assert again == replace(before, out=tmp_path)
    assert before.decoder_width == 0.125
    other = config_of("train", "m", "--config", small_run / "config.json", "--out", tmp_path, "--lr", 0.5)
    assert other == replace(before, manifest=Path("m"), out=tmp_path, lr=0.5)
    # Or else it would be the very run.
    forgotten = tcam("train", "--config", small_run / "config.json")
    assert forgotten.exit_code == 2 and "Missing option '--out'" in forgotten.stderr


@pytest.mark.parametrize("preset", ["paper", "authors"])
def test_the_settings_of_a_resumed_run_under_a_preset_are_taken_again(config_of, tmp_path, preset):
    before = config_of(*LEAST, "--preset", preset, "--no-crf", "--pixels", 7, "--resume")
    (tmp_path / "config.json").write_text(json.dumps(before.to_json()))
    again = config_of("train", "--config", tmp_path / "config.json", "--out", "run2")
    assert again == replace(before, out=Path("run2"), resume=False)


def test_what_an_older_version_could_switch_is_ignored_where_it_was_off_and_refused_where_it_was_on(
    config_of, tcam, tmp_path
):
    values = TrainConfig(**PLACES).to_json()
    path = tmp_path / "config.json"
    path.write_text(json.dumps(values | {"once": False, "another": None}))
    assert config_of("train", "--config", path, "--out", "run") == TrainConfig(**PLACES)
    path.write_text(json.dumps(values | {"once": True, "level": 0.0}))
    refused = tcam("train", "--config", path, "--out", "run")
    assert refused.exit_code == 2 and "sets what this command has not: level, once" in refused.stderr


@pytest.mark.parametrize("content", ["[1]", "{", '"m"'])
def test_a_json_file_that_is_of_no_run_is_named(tcam, tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    refused = tcam(*LEAST, "--config", tmp_path / "config.json")
    assert refused.exit_code == 2 and f"cannot read {tmp_path / 'config.json'}" in refused.stderr
