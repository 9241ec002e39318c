"""Tests of `tcam-cache verify`: the config that its stage is given, and its result."""

import json
import shutil
from pathlib import Path

from tcam_cache.config import VerifyConfig


def test_what_is_not_said_is_left_to_the_config(config_of):
    assert config_of("verify", "cache") == VerifyConfig(cache=Path("cache"))


def test_a_sound_cache_ends_with_0_and_a_damaged_one_with_1(tcam, small_cache, tmp_path):
    assert json.loads(tcam("verify", small_cache, "--json").stdout)["shots"] == 11
    copy = shutil.copytree(small_cache, tmp_path / "cache")
    (copy / "cams.zarr/cam/c.0.0.0").write_bytes(b"nothing")
    result = tcam("verify", copy)
    assert (result.exit_code, result.stdout) == (1, "") and "bird/0001/001" in result.stderr


def test_a_folder_that_is_no_cache_is_named(tcam, tmp_path):
    result = tcam("verify", tmp_path / "nowhere")
    assert result.exit_code == 1 and "nowhere" in result.stderr
