"""Tests of presets on the command line: by name, from a file, printed, and as tables of a --config file."""

import pytest

from tcam_cache.config import preset_text
from tcam_cache.config.base import PRESET_NAMES

LEAST = {
    "classifier": ["m", "--out", "g.pt"],
    "build": ["m", "--classifier", "g.pt", "--out", "cache"],
    "train": ["m", "--cache", "cache", "--out", "run"],
    "search": ["m", "--cache", "cache", "--out", "search"],
}
each_stage = pytest.mark.parametrize("command", LEAST)


@each_stage
@pytest.mark.parametrize("name", ["authors", "recommended"])
def test_the_file_of_a_preset_is_the_preset_by_preset_and_by_config(config_of, tmp_path, command, name):
    (tmp_path / "copy.toml").write_text(preset_text(name))
    expected = config_of(command, *LEAST[command], "--preset", name)
    assert config_of(command, *LEAST[command], "--preset", tmp_path / "copy.toml") == expected
    assert config_of(command, *LEAST[command], "--config", tmp_path / "copy.toml") == expected


@each_stage
def test_a_flag_and_a_config_file_win_over_the_preset_s_file(config_of, tmp_path, command):
    (tmp_path / "my.toml").write_text("[classifier]\nseed = 4\n[build]\nseed = 4\n[train]\nseed = 4\n")
    given = [*LEAST[command], "--preset", tmp_path / "my.toml"]
    assert config_of(command, *given).seed == 4
    assert config_of(command, *given, "--seed", 5).seed == 5
    (tmp_path / "c.toml").write_text(f'seed = 6\npreset = "{tmp_path / "my.toml"}"\n')
    assert config_of(command, *LEAST[command], "--config", tmp_path / "c.toml").seed == 6


@each_stage
def test_what_is_wrong_in_a_preset_s_file_is_wrong_usage(config_of, tcam, tmp_path, command):
    config_of(command, *LEAST[command])
    (tmp_path / "my.toml").write_text("[train]\nepohcs = 3\npixels = 0\n[build]\n[classifier]\n")
    result = tcam(command, *LEAST[command], "--preset", tmp_path / "my.toml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "train.epohcs" in result.stderr and "train.pixels: got 0" in result.stderr
    none = tcam(command, *LEAST[command], "--preset", "papre")
    assert none.exit_code == 2 and "papre" in none.stderr


def test_a_command_takes_its_own_table_of_a_config_file_and_what_it_has_not_is_named(
    config_of, tcam, tmp_path
):
    (tmp_path / "c.toml").write_text("seed = 1\n[train]\npixels = 7\n[classifier]\nepohcs = 3\n[predict]\n")
    config = config_of("train", *LEAST["train"], "--config", tmp_path / "c.toml")
    assert (config.seed, config.pixels) == (1, 7)
    result = tcam("classifier", *LEAST["classifier"], "--config", tmp_path / "c.toml")
    assert result.exit_code == 2 and "epohcs" in result.stderr


@pytest.mark.parametrize("name", PRESET_NAMES)
def test_a_preset_is_printed_as_toml_without_a_data_set(tcam, name):
    result = tcam("train", "--show-preset", name)
    assert (result.exit_code, result.stdout, result.stderr) == (0, preset_text(name), "")
