"""Tests of `tcam-cache reproduce`: the config that its stage is given."""

from pathlib import Path

from tcam_cache.config import ReproduceConfig


def test_what_is_not_said_is_left_to_the_config(config_of):
    expected = ReproduceConfig(table="table1", manifest=Path("m"), out=Path("tables"))
    assert config_of("reproduce", "table1", "m", "--out", "tables") == expected


def test_every_option_reaches_its_setting(config_of):
    config = config_of(
        "reproduce", "fig3", "m", "--out", "tables", "--preset", "recommended", "--seeds", 3, "--jobs", 2,
        "--threshold", "val", "--boxes", "components", "--split", "all", "--root", "data",
        "--classifier", "probe-frames=9", "--build", "flip=true", "--train", "epochs=2", "--dry-run",
        "--workers", 0, "--seed", 4,
    )  # fmt: skip
    assert config == ReproduceConfig(
        table="fig3", manifest=Path("m"), out=Path("tables"), preset="recommended", seeds=3, jobs=2,
        threshold="val", boxes="components", split="all", root=Path("data"), classifier="probe-frames=9",
        build="flip=true", train="epochs=2", dry_run=True, workers=0, seed=4,
    )  # fmt: skip


def test_a_config_file_has_a_table_for_each_stage(config_of, tmp_path):
    (tmp_path / "c.toml").write_text(
        'out = "tables"\nseeds = 2\n[classifier]\nepochs = 1\n[train]\nepochs = 2\n'
    )
    config = config_of("reproduce", "table3", "m", "--config", tmp_path / "c.toml")
    assert (config.seeds, config.given("classifier"), config.given("train")) == (
        2,
        {"epochs": 1},
        {"epochs": 2},
    )


def test_another_table_and_what_the_table_decides_are_wrong_usage(config_of, tcam):
    config_of("reproduce", "table1", "m", "--out", "tables")
    assert tcam("reproduce", "table4", "m", "--out", "tables").exit_code == 2
    decided = tcam("reproduce", "fig3", "m", "--out", "tables", "--train", "neighbours=3")
    assert decided.exit_code == 2 and "`reproduce` decides it" in decided.stderr
