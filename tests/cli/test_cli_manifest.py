"""Tests of `tcam-cache manifest`: the config that its stage is given, and its result."""

import json
from pathlib import Path

from tcam_cache.config import ManifestConfig
from tcam_cache.datasets import read_manifest


def test_what_is_not_said_is_left_to_the_config(config_of):
    config = config_of("manifest", "data", "--layout", "folders", "--out", "m.jsonl")
    assert config == ManifestConfig(source=Path("data"), layout="folders", out=Path("m.jsonl"))


def test_every_option_reaches_its_setting(config_of):
    config = config_of(
        "manifest", "data", "--layout", "folders", "--out", "m.jsonl", "--annotations", "a.csv", "--check",
        "--workers", 3, "--seed", 4, "--device", "cpu", "--splits", "s", "--write-splits", "w", "--every", 2,
        "--max-per-shot", 5, "--fraction", 0.5,
    )  # fmt: skip
    assert config == ManifestConfig(
        source=Path("data"),
        layout="folders",
        out=Path("m.jsonl"),
        annotations=Path("a.csv"),
        check=True,
        workers=3,
        seed=4,
        device="cpu",
        splits=Path("s"),
        write_splits=Path("w"),
        every=2,
        max_per_shot=5,
        fraction=0.5,
    )


def test_a_data_set_is_indexed_and_counted(tcam, small_data, small_manifest, tmp_path):
    annotations = small_data / "annotations.csv"
    given = ["manifest", small_data, "--layout", "folders", "--annotations", annotations]
    result = tcam(*given, "--out", tmp_path / "m.jsonl", "--check", "--workers", 0, "--json")
    values = json.loads(result.stdout)
    assert values["digest"] == read_manifest(tmp_path / "m.jsonl").digest()
    assert values["check"]["frames"] == 35 and values["splits"]["val"]["boxes"] == 6
    assert (tmp_path / "m.jsonl").read_text() == small_manifest.read_text()


def test_what_check_found_is_said_in_words(tcam, small_data, tmp_path):
    result = tcam(
        "manifest", small_data, "--layout", "folders", "--out", tmp_path / "m", "--check", "--workers", 0
    )
    assert result.exit_code == 0 and "35 frames of 11 shots decoded, 0 cannot be read" in result.stdout


def test_split_files_are_written_sampled_and_read_again(tcam, small_data, tmp_path):
    annotations = ["--annotations", small_data / "annotations.csv"]
    given = ["manifest", small_data, "--workers", 0, "--json", "--layout"]
    written = ["--write-splits", tmp_path / "s", "--out", tmp_path / "m.jsonl", "--every", 3]
    first = json.loads(tcam(*given, "folders", *annotations, *written).stdout)
    second = json.loads(
        tcam(*given, "wsol", "--splits", tmp_path / "s", "--out", tmp_path / "n.jsonl").stdout
    )
    assert read_manifest(tmp_path / "m.jsonl").facts == {"orientation": "upright", "sampling": {"every": 3}}
    for split in ("val", "test"):
        assert first["splits"][split] == second["splits"][split]
    assert second["splits"]["train"] == {"videos": 3, "shots": 5, "frames": 18, "boxes": 0}


def test_the_layout_wsol_without_split_files_is_wrong_usage(tcam):
    result = tcam("manifest", "data", "--layout", "wsol", "--out", "m.jsonl")
    assert result.exit_code == 2 and "--splits" in result.stderr


def test_options_of_video_files_reach_their_settings(config_of):
    config = config_of(
        "manifest", "v.csv", "--layout", "videos", "--out", "m.jsonl", "--fps", 2, "--no-shots"
    )
    assert (config.fps, config.shots) == (2.0, False)
