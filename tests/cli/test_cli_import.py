"""Tests of `tcam-cache import`: the config that its stage is given, and its result."""

from pathlib import Path

from tcam_cache.config import ImportConfig

PLACES = {"manifest": Path("m"), "source": Path("maps"), "out": Path("cache")}


def test_what_is_not_said_is_left_to_the_config(config_of):
    assert config_of("import", "m", "maps", "--out", "cache") == ImportConfig(**PLACES)


def test_every_option_reaches_its_setting(config_of):
    given = ["--method", "layercam", "--classifier", "g.pt", "--split", "train", "--root", "data"]
    config = config_of("import", "m", "maps", "--out", "cache", *given)
    assert config == ImportConfig(
        **PLACES, method="layercam", classifier=Path("g.pt"), split="train", root=Path("data")
    )


def test_a_folder_without_the_maps_is_named_with_the_frames(tcam, small_manifest, tmp_path):
    result = tcam("import", small_manifest, tmp_path, "--out", tmp_path / "cache")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no bird_0001_001_frame0001.jpg.pt or bird_0001_001_frame0001.pt" in result.stderr
    assert not (tmp_path / "cache").exists()
