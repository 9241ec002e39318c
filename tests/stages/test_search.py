"""Tests of a search: what its folder holds, how it chooses, how it goes on."""

import json
from pathlib import Path

import pytest
from PIL import Image

from tcam_cache.config import search_config
from tcam_cache.errors import ConfigError, RunError
from tcam_cache.processes import in_processes
from tcam_cache.stages import search as stage
from tcam_cache.stages.evaluate import evaluate
from tcam_cache.stages.search import search
from tcam_cache.stages.train import TrainReport, train_decoder


@pytest.fixture
def config(small_manifest, small_cache, tmp_path, quick, many_seeds):
    """Return a maker of configs of a small search."""
    settings = {"epochs": 1, "batch_size": 4, "decoder_width": 0.125, "landmarks": 16, "seed": 3}
    places = {"manifest": small_manifest, "cache": small_cache, "out": tmp_path / "search"}
    return lambda **given: search_config(**{**many_seeds, **places, **settings, **quick, **given})


@pytest.fixture
def trained(monkeypatch):
    """Replace training: the score is 50 + 10 n - 1000 |lr - 0.01|, lr 1 diverges; return what was trained."""
    calls = []

    def train(config):
        calls.append((config.lr, config.neighbours, config.resume))
        if config.lr == 1:
            raise RunError("the loss is not finite in epoch 1.", ["crf: nan"])
        score = 50 + 10 * config.neighbours - 1000 * abs(config.lr - 0.01)
        best = {"epoch": 1, "corloc": score}
        return TrainReport(str(config.out), config.epochs, best, 0.5, 1.0)

    monkeypatch.setattr(stage, "train_decoder", train)
    return calls


def test_every_point_is_a_run_as_if_trained_by_itself_and_can_be_evaluated(
    config, evaluate_config, decoder_config, tmp_path
):
    report = search(config(grid="lr=0.01,0.001 neighbours=0,2"))
    assert [row["settings"] for row in report.rows] == [
        {"lr": lr, "neighbours": n} for lr in (0.01, 0.001) for n in (0, 2)
    ]
    alone = train_decoder(decoder_config(lr=0.001, neighbours=2, seed=3))
    (row,) = (row for row in report.rows if row["run"] == "lr=0.001,neighbours=2")
    assert (row["corloc"], row["tau"], row["epoch"]) == (alone.best["corloc"], alone.threshold, 1)
    assert report.best["corloc"] == max(row["corloc"] for row in report.rows)
    run = tmp_path / "search/runs" / report.best["run"]
    assert evaluate(evaluate_config(run=run)).to_json()["boxes"]


def test_its_folder_holds_table_plot_and_results(config, trained, tmp_path):
    report = search(config(grid="lr=0.1,0.01 neighbours=0..2"))
    kept = json.loads((tmp_path / "search/search.json").read_text())
    assert kept == {"rows": json.loads(json.dumps(report.rows)), "best": dict(report.best)}
    lines = (tmp_path / "search/table.md").read_text().splitlines()
    assert lines[0] == "| lr | neighbours | result | epoch | tau | seconds |"
    assert lines[-1] == "| 0.01 | 2 | CorLoc on val 70 | 1 | 0.500 | 1.0 |"
    assert "best on val: lr=0.01,neighbours=2" in report.to_text()
    with Image.open(tmp_path / "search/search.png") as picture:
        assert picture.format == "PNG"


def test_of_equal_points_the_first_is_the_best(config, trained):
    report = search(config(grid="lr=0.02,0.01 neighbours=1,2 seed=0,1"))
    assert report.best["run"] == "lr=0.01,neighbours=2,seed=0"


@pytest.fixture
def seeded(monkeypatch):
    """Replace training: seed 0 finds 90 at lr 1 and 60 at 0.1; 1 finds 40 and 62; 2 diverges at lr 0.5."""
    scores = {(1, 0): 90.0, (1, 1): 40.0, (0.1, 0): 60.0, (0.1, 1): 64.0, (0.5, 0): 99.0}

    def train(config):
        if (config.lr, config.seed) not in scores:
            raise RunError("the loss is not finite in epoch 1.")
        best = {"epoch": config.seed + 1, "corloc": scores[config.lr, config.seed]}
        return TrainReport(str(config.out), config.epochs, best, 0.5, 1.0)

    monkeypatch.setattr(stage, "train_decoder", train)


def test_a_seed_is_never_ranked_but_the_mean_over_seeds_of_which_all_have_a_score(config, seeded, tmp_path):
    # The best run is seed 0 of lr 0.5, whose seed 1 diverges; the next is seed 0 of lr 1: 65 on average.
    report = search(config(grid="seed=0,1 lr=1,0.1,0.5"))
    assert report.best == {
        "run": "seed=0,lr=1.0", "runs": ["seed=0,lr=1.0", "seed=1,lr=1.0"], "settings": {"lr": 1.0},
        "corloc": 65.0, "std": pytest.approx(50 / 2**0.5),
    }  # fmt: skip
    assert json.loads((tmp_path / "search/search.json").read_text())["best"] == report.best
    text = report.to_text()
    assert "best on val: lr=1.0, the mean of 2 seeds\n" in text
    assert text.endswith("search/runs/seed=0,lr=1.0\n  " + str(tmp_path / "search/runs/seed=1,lr=1.0"))
    means = (tmp_path / "search/table.md").read_text().split("\n\n")[1].splitlines()
    assert means == [
        "| lr | CorLoc on val | seeds |",
        "| --- | --- | --- |",
        "| 1.0 | 65.0 ± 35.4 | 2 |",
        "| 0.1 | 62.0 ± 2.8 | 2 |",
        "| 0.5 | a run has no score | 2 |",
    ]


def test_a_search_over_seeds_alone_has_a_mean_and_no_winner_among_them(config, seeded):
    report = search(config(grid="seed=0,1", lr=0.1))
    assert (report.best["corloc"], report.best["settings"]) == (62.0, {})
    assert "best on val: any seed, the mean of 2 seeds" in report.to_text()


def test_a_point_of_which_a_seed_diverges_is_not_chosen(config, seeded):
    assert search(config(grid="seed=0,1", lr=0.5)).best is None


def test_a_point_that_diverges_is_told_and_the_others_go_on(config, trained):
    report = search(config(grid="lr=1,0.01"))
    assert report.rows[0]["error"] == "the loss is not finite in epoch 1. crf: nan"
    assert report.best["run"] == "lr=0.01"
    assert "| 1.0 | the loss is not finite in epoch 1. crf: nan |" in report.to_text()


def test_a_point_that_cannot_be_trained_is_told_and_the_others_go_on(config):
    report = search(config(grid="neighbours=7,1"))
    assert report.rows[0]["error"].startswith("got n = 7, but the longest shot of split 'train' has 6 frame")
    assert report.best["run"] == "neighbours=1"


def test_without_scores_nothing_is_chosen(config, trained):
    report = search(config(grid="lr=1"))
    assert report.best is None and "nothing was chosen" in report.to_text()


def test_boxes_of_cams_are_named_where_they_score(config, monkeypatch):
    found = iter([10.0, 30.0, 20.0])
    monkeypatch.setattr(
        stage,
        "train_decoder",
        lambda config: TrainReport("r", 1, {"epoch": 1, "corloc": next(found)}, None, 1.0),
    )
    report = search(config(grid="neighbours=0..2"))
    assert report.best["run"] == "neighbours=1"
    assert "CorLoc on val by boxes of its CAMs 30" in report.to_text()


def test_the_lowest_loss_wins_where_that_is_the_score(config, monkeypatch):
    losses = iter([0.5, -0.2, 0.1])
    monkeypatch.setattr(
        stage,
        "train_decoder",
        lambda config: TrainReport("r", 1, {"epoch": 1, "val_loss": next(losses)}, None, 1.0),
    )
    assert search(config(grid="neighbours=0..2")).best["run"] == "neighbours=1"


def test_interrupted_it_goes_on_with_what_is_left(config, trained, monkeypatch, tmp_path):
    working = stage.train_decoder

    def interrupted(config):
        if config.neighbours == 2:
            config.out.mkdir(parents=True)
            (config.out / "config.json").write_text("{}")
            raise KeyboardInterrupt
        return working(config)

    with monkeypatch.context() as patch:
        patch.setattr(stage, "train_decoder", interrupted)
        with pytest.raises(KeyboardInterrupt):
            search(config(grid="lr=1,0.01 neighbours=1,2"))
    trained.clear()
    with pytest.raises(RunError, match="already holds a run"):
        search(config(grid="lr=1,0.01 neighbours=1,2"))
    report = search(config(grid="lr=1,0.01 neighbours=1,2,3", resume=True))
    # The half-trained run goes on, the one that diverged is tried again, the grid may have grown.
    assert trained == [(1.0, 1, False), (1.0, 2, True), (1.0, 3, False), (0.01, 1, False), (0.01, 2, False),
                       (0.01, 3, False)]  # fmt: skip
    trained.clear()
    again = search(config(grid="lr=1,0.01 neighbours=1,2,3", resume=True))
    assert again.rows == tuple(json.loads(json.dumps(report.rows)))
    assert {lr for lr, _, _ in trained} == {1.0}
    trained.clear()
    search(config(grid="lr=0.01 neighbours=1", resume=True, epochs=2))
    assert trained == [(0.01, 1, False)]


def test_a_search_around_other_settings_is_refused_with_the_fields_named(config, trained):
    search(config(grid="lr=0.01"))
    with pytest.raises(RunError, match="other settings") as caught:
        search(config(grid="lr=0.01,0.1", pixels=7, resume=True))
    assert caught.value.offenders == ("pixels: 7, not 100",)
    with pytest.raises(RunError, match="other settings"):
        search(config(grid="neighbours=1,2", resume=True))


def test_damaged_results_are_named(config, trained, tmp_path):
    search(config(grid="lr=0.01"))
    (tmp_path / "search/search.json").write_text('{"rows": [')
    with pytest.raises(RunError, match=r"search\.json is damaged\. Delete it"):
        search(config(grid="lr=0.01", resume=True))


def test_a_grid_that_makes_no_sense_makes_no_folder(config, tmp_path):
    with pytest.raises(ConfigError):
        search(config(grid="colour=red"))
    assert not (tmp_path / "search").exists()


def test_side_by_side_points_are_what_they_are_in_turn(config, tmp_path, monkeypatch):
    in_turn = search(config(grid="neighbours=0,1"))
    # The workers are started in another folder than the one that the path below is relative to.
    assert set(in_processes([Path.cwd] * 2, 2)) == {Path.cwd()}
    monkeypatch.chdir(tmp_path)
    together = search(config(grid="neighbours=0,1", jobs=2, out="together"))
    assert (tmp_path / "together/runs/neighbours=1/log.jsonl").is_file()
    timeless = lambda rows: [{k: v for k, v in row.items() if k != "seconds"} for row in rows]  # noqa: E731
    assert timeless(together.rows) == timeless(in_turn.rows)
