"""Tests of `tcam-cache locate`: the config that its stage is given."""

from pathlib import Path

from tcam_cache.config import LocateConfig


def test_what_is_not_said_is_left_to_the_config(config_of):
    expected = LocateConfig(source=Path("videos"), out=Path("found"))
    assert config_of("locate", "videos", "--out", "found") == expected


def test_every_option_reaches_its_setting(config_of):
    config = config_of(
        "locate", "videos", "--out", "found", "--effort", "full", "--layout", "videos",
        "--annotations", "a.csv", "--threshold", 0.4, "--every", 3, "--format", "coco,cvat",
        "--no-overlays", "--video", "--map",
        "--train", "steps=9", "--dry-run", "--workers", 0, "--seed", 3, "--jobs", 2, "--shard", "1/4",
        "--wait", 5, "--backend", "dask", "--scheduler", "tcp://host:1",
    )  # fmt: skip
    assert config == LocateConfig(
        source=Path("videos"), out=Path("found"), effort="full", layout="videos", annotations=Path("a.csv"),
        threshold=0.4, every=3, format="coco,cvat", overlays=False, video=True, map=True,
        train="steps=9", dry_run=True, workers=0, seed=3, jobs=2, shard="1/4", wait=5, backend="dask",
        scheduler="tcp://host:1",
    )  # fmt: skip


def test_a_config_file_has_a_table_for_each_stage(config_of, tmp_path):
    (tmp_path / "c.toml").write_text(
        'out = "found"\n[train]\nsteps = 9\ncrf = false\n[classifier]\nweights = "my file.pth"\n'
    )
    config = config_of("locate", "videos", "--config", tmp_path / "c.toml")
    assert config.stage("train") == {"steps": 9, "crf": False, "fg_top": 0.1}
    assert config.stage("classifier") == {"weights": "my file.pth"}


def test_options_that_a_stage_has_not_are_wrong_usage(config_of, tcam):
    config_of("locate", "videos", "--out", "found")
    result = tcam("locate", "videos", "--out", "found", "--train", "stp=1")
    assert result.exit_code == 2 and "`train` has no option 'stp'" in result.stderr


def test_only_a_shard_waits_for_others(config_of, tcam):
    result = tcam("locate", "videos", "--out", "found", "--wait", 5)
    assert result.exit_code == 2 and "give --shard, too" in result.stderr
