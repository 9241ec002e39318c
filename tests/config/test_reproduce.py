"""Tests of the plan of published tables: which runs they need, what they share, what is refused."""

from dataclasses import replace
from pathlib import Path

import pytest

from tcam_cache.config import EvaluateConfig, ReproduceConfig, TrainConfig
from tcam_cache.config.reproduce import ANNOTATED_ALONE, runs_of
from tcam_cache.config.tables import CAM_METHODS, LEARNED, TABLES
from tcam_cache.errors import ConfigError


def config(table="table1", **given):
    return ReproduceConfig(table=table, manifest="m", out="tables", **given)


def names(table, **given):
    return [point.evaluate.out.name for point in runs_of(config(table, **given)).points]


def test_table_1_has_every_cam_method_and_tcam():
    runs = runs_of(config())
    assert [point.system for point in runs.points][:7] == [*CAM_METHODS, "TCAM"]
    assert set(runs.builds) == set(CAM_METHODS.values())
    assert all(point.evaluate.cache == runs.builds[point.method].out for point in runs.points[:6])
    assert (runs.points[6].train.cache, runs.points[6].evaluate.run) == (
        runs.builds[LEARNED].out,
        runs.points[6].train.out,
    )


def test_of_cams_that_no_decoder_learns_from_only_annotated_frames_are_cached():
    every = {method: build.every for method, build in runs_of(config(build="every=5")).builds.items()}
    assert every.pop(LEARNED) == 5 and set(every.values()) == {ANNOTATED_ALONE}


def test_cam_is_of_the_last_layer_whatever_the_preset_takes_for_the_others():
    layers = {method: build.layers for method, build in runs_of(config(preset="recommended")).builds.items()}
    assert layers.pop("cam") == "last" and set(layers.values()) == {"auto"}


def test_the_rows_of_table_3_are_the_parts_of_the_loss():
    layercam, *points = runs_of(config("table3")).points
    assert layercam.train is None
    parts = {point.system: point.train for point in points}
    assert {name: (run.neighbours, run.crf, run.asc) for name, run in parts.items()} == {
        "C+ C-": (0, False, False),
        "C+ C- + CRF": (0, True, False),
        "C+ C- + ASC": (0, False, True),
        "C+ C- + CRF + ASC": (0, True, True),
        "C+ C- + CRF + ASC + CAM-TMP": (1, True, True),
    }


def test_fig_3_is_n_from_0_to_10():
    points = runs_of(config("fig3")).points
    assert [(point.system, point.train.neighbours) for point in points] == [(f"n {n}", n) for n in range(11)]


def test_tables_share_the_runs_that_are_the_same():
    first, second, third, figure = (names(table) for table in TABLES)
    assert set(second) <= set(first) and third[0] == "layercam"
    assert third[-1] == first[6] == figure[1] and third[-2] == figure[0]
    tcam, last = runs_of(config()).points[6], runs_of(config("table3")).points[-1]
    assert replace(last, system="TCAM") == tcam


def test_the_settings_of_a_run_are_those_that_the_pages_name():
    (tcam,) = (point for point in runs_of(config("table2")).points if point.train)
    expected = TrainConfig(
        preset="paper",
        manifest="m",
        cache="tables/caches/layercam",
        out="tables/runs/neighbours=1,seed=0",
    )
    assert tcam.train == expected
    assert tcam.evaluate == EvaluateConfig(
        manifest="m",
        run=expected.out,
        out="tables/reports/neighbours=1,seed=0",
        threshold="oracle-per-class",
        boxes="wsol",
        overlays=0,
    )


def test_seeds_are_of_the_decoder_alone():
    runs = runs_of(config("table2", seeds=3, seed=5))
    assert runs.classifier.seed == 5
    assert [point.train.seed for point in runs.points if point.train] == [5, 6, 7]
    assert len({point.evaluate.out for point in runs.points}) == 4


def test_a_preset_s_file_and_options_reach_their_stage_and_rows_win_over_the_file(tmp_path):
    (tmp_path / "my.toml").write_text(
        '[classifier]\narch = "resnet18"\nfit = "sgd"\n[build]\nflip = true\n[train]\nneighbours = 4\n'
        "crf = false\npixels = 9\n"
    )
    runs = runs_of(
        config("table2", preset=str(tmp_path / "my.toml"), train={"epochs": 2}, classifier="epochs=1")
    )
    assert (runs.classifier.arch, runs.classifier.epochs) == ("resnet18", 1)
    assert runs.builds[LEARNED].flip
    run = runs.points[-1].train
    assert (run.neighbours, run.crf, run.pixels, run.epochs) == (1, True, 9, 2)


@pytest.mark.parametrize("name", ["neighbours=2", "crf=false", "method=cam", "out=run", "seed=3"])
def test_what_the_table_decides_is_refused(name):
    with pytest.raises(ConfigError) as caught:
        config(**({"build": name} if name.startswith("method") else {"train": name}))
    assert "`reproduce` decides it" in caught.value.offenders[0]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"train": "lr=-1"}, "out of range"),
        ({"threshold": "best"}, "expected one of val"),
        ({"preset": "papre"}, "out of range"),
        ({"preset": "none.toml"}, "cannot read the preset"),
        ({"table": "table4"}, "out of range"),
        ({"seeds": 0}, "out of range"),
    ],
)
def test_settings_without_a_meaning_are_refused_before_anything_runs(given, said):
    with pytest.raises(ConfigError, match=said):
        config(**given)


def test_it_survives_json_with_its_texts():
    given = config(train={"epochs": 2}, root=Path("data"))
    assert ReproduceConfig.from_json(given.to_json()) == given
