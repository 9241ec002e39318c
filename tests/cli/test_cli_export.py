"""Tests of `tcam-cache export`: the config that its stage is given, and its result."""

import json
from pathlib import Path

import pytest

from tcam_cache.config import ExportConfig
from tcam_cache.config.build import RUN_FORMATS


def test_every_option_reaches_its_setting(config_of):
    config = config_of("export", "cache", "--format", "h5", "--out", "x.h5")
    assert config == ExportConfig(cache=Path("cache"), format="h5", out=Path("x.h5"))
    config = config_of("export", "cache", "bird/1", "--format", "npz", "--out", "x.npz")
    assert config == ExportConfig(cache=Path("cache"), shot="bird/1", format="npz", out=Path("x.npz"))
    config = config_of("export", "run", "--format", "onnx", "--out", "x.onnx")
    assert config == ExportConfig(cache=Path("run"), format="onnx", out=Path("x.onnx"))


def test_a_cache_is_exported_and_the_file_inspected_and_verified(tcam, small_cache, tmp_path):
    out = tmp_path / "x.h5"
    result = json.loads(tcam("export", small_cache, "--format", "h5", "--out", out, "--json").stdout)
    assert (result["shots"], result["frames"], result["bytes"]) == (11, 35, out.stat().st_size)
    assert "11 of 11 finished (complete)" in tcam("inspect", out).stdout
    assert "11 shots, each as it was written" in tcam("verify", out).stdout


@pytest.mark.parametrize("words", [["--format", "npz"], ["bird/0001/001", "--format", "h5"]])
def test_a_shot_is_for_npz_and_for_nothing_else(tcam, small_cache, tmp_path, words):
    result = tcam("export", small_cache, *words, "--out", tmp_path / "x")
    assert result.exit_code == 2 and "name a shot for npz only" in result.stderr


@pytest.mark.parametrize("words", [["cache", "--format", "h5"], ["cache", "bird/1", "--format", "npz"]])
def test_one_file_is_not_written_to_a_url(config_of, tcam, words):
    config_of("export", *words, "--out", "file://x")
    result = tcam("export", *words, "--out", "s3://bucket/x")
    assert result.exit_code == 2 and "got the URL s3://bucket/x for" in result.stderr


def test_a_cache_is_written_to_a_url(config_of):
    assert config_of("export", "cache", "--format", "zarr", "--out", "s3://bucket/x").out == "s3://bucket/x"


def test_a_folder_that_is_no_cache_is_named(tcam, tmp_path):
    result = tcam("export", tmp_path / "nowhere", "--format", "h5", "--out", tmp_path / "x.h5")
    assert result.exit_code == 1 and "nowhere" in result.stderr and not list(tmp_path.iterdir())


@pytest.mark.parametrize("format", RUN_FORMATS)
def test_a_run_lies_in_a_folder_and_has_no_shots(tcam, tmp_path, format):
    result = tcam("export", "s3://bucket/run", "--format", format, "--out", tmp_path / "x")
    assert result.exit_code == 2 and "expected a run folder" in result.stderr
    result = tcam("export", "run", "bird/1", "--format", format, "--out", tmp_path / "x")
    assert result.exit_code == 2 and "name a shot for npz only" in result.stderr


def test_what_is_no_run_is_not_exported_as_one(tcam, small_cache, tmp_path):
    result = tcam("export", small_cache, "--format", "onnx", "--out", tmp_path / "x.onnx")
    assert result.exit_code == 1 and "run" in result.stderr
