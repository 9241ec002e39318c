"""Tests of presets as files: those that ship are what the code declares, and what is read of others."""

import tomllib
from importlib import resources

import pytest

from tcam_cache.config import preset_settings, preset_text
from tcam_cache.config.base import PRESET_NAMES, preset_values
from tcam_cache.config.presets import PRESET_STAGES, read_preset
from tcam_cache.errors import ConfigError

PLACES = {
    "classifier": {"manifest": "m", "out": "g.pt"},
    "build": {"manifest": "m", "classifier": "g.pt", "out": "cache"},
    "train": {"manifest": "m", "cache": "cache", "out": "run"},
}


@pytest.mark.parametrize("name", PRESET_NAMES)
def test_the_shipped_file_of_a_preset_is_what_the_code_declares(name):
    shipped = resources.files("tcam_cache_data").joinpath("presets", f"{name}.toml")
    hint = f"write it again: tcam-cache train --show-preset {name} > data_manifests/presets/{name}.toml"
    assert shipped.is_file() and shipped.read_text(encoding="utf-8") == preset_text(name), hint


def test_no_file_is_shipped_of_a_preset_that_does_not_exist():
    shipped = {path.name for path in resources.files("tcam_cache_data").joinpath("presets").iterdir()}
    assert shipped == {f"{name}.toml" for name in PRESET_NAMES}


@pytest.mark.parametrize("name", PRESET_NAMES)
def test_the_text_of_a_preset_holds_each_of_its_values_and_makes_the_same_settings(name, tmp_path):
    path = tmp_path / "copy.toml"
    path.write_text(preset_text(name))
    for stage, kind in PRESET_STAGES.items():
        values = {key: value for key, value in preset_values(kind, name).items() if value is not None}
        assert tomllib.loads(preset_text(name))[stage] == {"preset": name, **values}
        expected = kind(**PLACES[stage], preset=name)
        assert kind(**PLACES[stage], **preset_settings(path, stage)) == expected


def test_a_table_says_what_differs_from_the_preset_that_it_names(tmp_path):
    (tmp_path / "my.toml").write_text('[train]\npreset = "authors"\npixels = 7\nlr = 1\n[build]\n')
    settings = preset_settings(tmp_path / "my.toml", "train")
    assert settings == {"preset": "authors", "pixels": 7, "lr": 1}
    config = PRESET_STAGES["train"](**PLACES["train"], **settings)
    assert (config.preset, config.pixels, config.bg_low, config.dilate) == ("authors", 7, 0.1, True)
    assert preset_settings(tmp_path / "my.toml", "build") == {}


def test_a_file_of_windows_with_a_byte_order_mark_is_read(tmp_path):
    (tmp_path / "my.toml").write_text("[train]\r\npixels = 7\r\n", encoding="utf-8-sig")
    assert preset_settings(tmp_path / "my.toml", "train") == {"pixels": 7}


def test_all_that_a_file_has_wrong_is_named_at_once(tmp_path):
    (tmp_path / "my.toml").write_text(
        'epochs = 3\n[train]\nepohcs = 3\nlr = "fast"\ncrf = 1\npixels = 0\nout = "run"\nfg_top = [1]\n'
        'preset = "papre"\n[classifier]\nfit = "svm"\n[predict]\n'
    )
    with pytest.raises(ConfigError) as caught:
        read_preset(tmp_path / "my.toml")
    assert caught.value.message.startswith(f"the preset {tmp_path / 'my.toml'} has 10 setting(s)")
    assert caught.value.offenders == (
        "epochs: expected the tables [classifier], [build], [train] alone",
        "train.epohcs: there is no such setting",
        "train.out: a place is no part of it",
        "train.lr: got 'fast', expected float",
        "train.crf: got 1, expected bool",
        "train.pixels: got 0, expected at least 1",
        "train.fg_top: got [1], expected float",
        f"train.preset: got 'papre', expected one of {', '.join(PRESET_NAMES)}",
        "classifier.fit: got 'svm', expected one of probe, sgd",
        "predict: expected the tables [classifier], [build], [train] alone",
    )


@pytest.mark.parametrize("content", [None, b"[train", b"\xff\xfe\x00", b"# \xe9"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / "my.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"cannot read the preset .*my\.toml"):
        read_preset(tmp_path / "my.toml")


def test_a_file_that_says_nothing_of_the_stage_and_a_name_that_is_none_are_refused(tmp_path):
    (tmp_path / "my.toml").write_text("[train]\n")
    with pytest.raises(ConfigError, match=r"says nothing of `build`. Add a table \[build\]"):
        preset_settings(tmp_path / "my.toml", "build")
    with pytest.raises(
        ConfigError, match=r"there is no preset 'papre'. Those that exist: recommended, paper"
    ):
        preset_text("papre")
