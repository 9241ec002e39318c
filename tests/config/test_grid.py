"""Tests of the grid of a search: what it may say, and the run of every point."""

from pathlib import Path

import pytest

from tcam_cache.config import TrainConfig, search_config, train_config
from tcam_cache.config.grid import grid_runs, parse_grid
from tcam_cache.config.train import PRESETS
from tcam_cache.errors import ConfigError

PLACES = {"manifest": Path("m"), "cache": Path("c")}


def runs_of(grid, preset="recommended", **given):
    return grid_runs(search_config(preset, **PLACES, out=Path("s"), grid=grid, **given))


def test_by_default_it_is_the_papers():
    runs = grid_runs(search_config(**PLACES, out=Path("s")))
    points = [tuple(point.values()) for point, _ in runs.values()]
    assert points == [(lr, n) for lr in (0.1, 0.01, 0.001) for n in range(11)]


@pytest.mark.parametrize(
    ("text", "grid"),
    [
        ("neighbours=3..5", {"neighbours": (3, 4, 5)}),
        ("lr=1e-2,1", {"lr": (0.01, 1.0)}),
        ("bg-low=none,0.1", {"bg_low": (None, 0.1)}),
        ("crf=true,False", {"crf": (True, False)}),
        ("window=before,both seed=0,1", {"window": ("before", "both"), "seed": (0, 1)}),
        ("pixels=1,2,1", {"pixels": (1, 2)}),
    ],
)
def test_values_are_of_their_options_kind(text, grid):
    assert parse_grid(text) == grid


def test_all_that_is_wrong_is_named_at_once():
    with pytest.raises(ConfigError, match="the grid cannot be read") as caught:
        parse_grid(
            "colour=red align=true out=a,b lr=fast lr= neighbours=5..2 crf=maybe pixels=1 pixels=2 epochs=1.5"
        )
    assert caught.value.offenders == (
        "colour=red: `train` has no option 'colour'",
        "align=true: the option 'align' was removed",
        "out=a,b: it changes nothing that is learned",
        "lr=fast: expected float, got 'fast'",
        "lr=: expected NAME=VALUE,VALUE",
        "neighbours=5..2: expected FIRST..LAST with FIRST at most LAST, got 5..2",
        "crf=maybe: expected true or false, got 'maybe'",
        "pixels=2: named twice",
        "epochs=1.5: expected int, got '1.5'",
    )


def test_an_empty_grid_is_none():
    with pytest.raises(ConfigError) as caught:
        parse_grid("  ")
    assert caught.value.offenders == ("it is empty",)


def test_values_out_of_range_are_all_named_before_anything_runs():
    with pytest.raises(ConfigError, match="out of range") as caught:
        runs_of("fg-top=0.5,2 window=before,around")
    assert sorted(caught.value.offenders) == [
        "fg_top: got 2.0, expected at most 1",
        "window: got 'around', expected one of before, after, both",
    ]


def test_a_point_is_a_run_around_the_other_options_in_a_folder_of_its_own():
    runs = runs_of("lr=0.5 crf=false,true", preset="paper", epochs=3)
    assert list(runs) == ["lr=0.5,crf=False", "lr=0.5,crf=True"]
    point, run = runs["lr=0.5,crf=False"]
    assert point == {"lr": 0.5, "crf": False}
    assert run == TrainConfig(
        **PLACES, out=Path("s/runs/lr=0.5,crf=False"), preset="paper",
        **{**PRESETS["paper"], "epochs": 3, "lr": 0.5, "crf": False},
    )  # fmt: skip


@pytest.mark.parametrize("around", PRESETS)
@pytest.mark.parametrize("preset", PRESETS)
def test_a_point_of_a_preset_is_that_preset_whatever_the_search_is_around(preset, around):
    (_, run), _ = runs_of(f"preset={preset} lr=0.5,0.1", preset=around).values()
    expected = train_config(preset, **PLACES, lr=0.5, out=run.out)
    assert run == expected


def test_what_was_given_beside_the_preset_of_a_search_stays_under_every_preset():
    runs = runs_of("preset=recommended,authors", preset="paper", pixels=5, crf=False)
    assert [(run.pixels, run.crf, run.fg_top) for _, run in runs.values()] == [
        (5, False, 0.3),
        (5, False, 0.6),
    ]


def test_a_preset_of_the_grid_brings_its_values_but_not_over_those_of_its_point():
    runs = runs_of(f"preset={','.join(PRESETS)} pixels=7", epochs=3)
    for name in PRESETS:
        _, run = runs[f"preset={name},pixels=7"]
        expected = {**PRESETS[name], "pixels": 7, "preset": name, "epochs": 3}
        assert {key: getattr(run, key) for key in expected} == expected
    with pytest.raises(ConfigError, match=r"no preset 'best'.*recommended, paper, authors"):
        runs_of("preset=best")


def test_a_point_that_is_another_preset_bears_that_one_s_name():
    ((_, run),) = runs_of(
        "fg-top=0.6 bg-low=0.1 dilate=true cross-entropy=batch-mean", preset="paper"
    ).values()
    assert run == train_config("authors", **PLACES, out=run.out)
