"""Tests of a published table made again: end to end, going on, other recipes, what a manifest cannot give."""

import csv
import json
import pickle
from dataclasses import replace
from functools import partial

import pytest

from tcam_cache.cache import CamCache
from tcam_cache.config import CompareConfig, ReproduceConfig
from tcam_cache.config.reproduce import ANNOTATED_ALONE, runs_of
from tcam_cache.datasets import read_manifest, write_manifest
from tcam_cache.errors import ConfigError, EvaluationError, ManifestError, RunError
from tcam_cache.stages import reproduce as stage
from tcam_cache.stages.build import build_cache
from tcam_cache.stages.evaluate import evaluate
from tcam_cache.stages.reproduce import reproduce
from tcam_cache.stages.search import train_point

TINY = {
    "classifier": "arch=squeezenet1_1 weights=none epochs=1 batch-size=8 image-size=64",
    "build": "image-size=64",
    "train": "epochs=1 batch-size=4 image-size=64 decoder-width=0.125 landmarks=16",
}


@pytest.fixture
def config(small_manifest, tmp_path):
    """Return a maker of configs of tiny tables."""
    given = {"table": "table2", "manifest": small_manifest, "out": tmp_path / "tables", "workers": 0, **TINY}
    return lambda **others: ReproduceConfig(**{**given, **others})


@pytest.fixture
def quick_comparison(monkeypatch):
    """Take few resamples and draw nothing; tests/stages/test_compare.py does both."""
    monkeypatch.setattr(stage, "CompareConfig", partial(CompareConfig, resamples=100))
    monkeypatch.setattr("tcam_cache.stages.compare.draw_comparison", lambda comparison: b"")


@pytest.fixture
def counted(monkeypatch):
    """Count the calls of the stages, which still run."""
    calls = []

    def counting(name, run):
        return lambda *args: calls.append(name) or run(*args)

    for name in ("fit_classifier", "build_cache", "train_point", "evaluate"):
        monkeypatch.setattr(stage, name, counting(name, getattr(stage, name)))
    return calls


WHOLE = ["fit_classifier", "build_cache", "evaluate", "train_point", "evaluate"]


@pytest.mark.usefixtures("quick_comparison")
def test_a_table_is_made_goes_on_and_another_uses_what_is_there(config, counted, tmp_path, monkeypatch):
    def killed(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stage, "train_point", killed)
        with pytest.raises(KeyboardInterrupt):
            reproduce(config())
    assert counted == WHOLE[:3]
    report = reproduce(config())
    assert counted == WHOLE and report.failed == {}
    assert [load.name for load in report.plan.loads] == ["TCAM (neighbours=1,seed=0)"]
    out = tmp_path / "tables"
    assert {path.name for path in (out / "table2").iterdir()} >= {"compare.png", "compare.json", "table.tex"}
    with (out / "table2.csv").open(newline="") as file:
        rows = {row["system"]: row for row in csv.DictReader(file)}
    measures = {one.name: one.measures["cl_accuracy"].value.text() for one in report.comparison.systems}
    assert {name: row["here"] for name, row in rows.items() if row["here"]} == measures
    assert set(measures) == {"LayerCAM", "TCAM"} and rows["TCAM"]["YouTube-Objects v1"] == "84.4"
    assert "| TCAM | 84.4 | 72.1 |" in (out / "table2.md").read_text()
    assert "\\toprule" in (out / "table2.tex").read_text()
    assert json.loads((out / "table2.json").read_text())["plan"]["table"] == "table2"
    assert "table2/compare.png" in report.to_text() and "84.4" in report.to_text()
    again = reproduce(config())
    assert counted == WHOLE and again.tables == report.tables and again.plan.loads == ()
    # n = 10 is longer than any shot: its row says so, and the others are made.
    monkeypatch.setattr(stage, "train_point", only_n(1, 10))
    figure = reproduce(config(table="fig3"))
    assert counted == WHOLE and set(figure.failed) == {f"n {n}" for n in range(11)} - {"n 1"}
    assert "the longest shot" in figure.failed["n 10"]
    assert [one.name for one in figure.comparison.systems] == ["n 1"]
    assert "no number of n 10: got n = 10" in (out / "fig3.md").read_text().replace("- ", "")


def only_n(*allowed):
    """Return a `train_point` that trains some n, and of any other says that it failed."""

    def train(name, point, run, jobs):
        if run.neighbours in allowed:
            return train_point(name, point, run, jobs)
        return {"run": name, "error": "not trained"}

    return train


def test_a_dry_run_says_what_there_is_to_do_and_writes_nothing(config, counted, tmp_path):
    report = reproduce(config(table="table3", dry_run=True, seeds=2))
    assert counted == [] and not (tmp_path / "tables").exists()
    assert len(report.plan.loads) == 2 + 1 + 5 * 2 and report.plan.finished == 0
    assert "nothing was written" in report.to_text() and report.to_json()["comparison"] is None


@pytest.mark.parametrize(
    "other", [{"train": "epochs=2"}, {"preset": "authors"}, {"seed": 1}, {"boxes": "components"}]
)
def test_a_folder_of_another_recipe_is_refused_and_what_differs_is_named(config, counted, other):
    begun = config()
    stage._begin(begun, runs_of(begun), read_manifest(begun.manifest))
    with pytest.raises(RunError, match="other settings") as caught:
        reproduce(config(**other))
    assert caught.value.offenders and counted == []


def test_a_manifest_with_other_boxes_is_another(config, small_manifest, counted, tmp_path):
    begun, manifest = config(), read_manifest(small_manifest)
    stage._begin(begun, runs_of(begun), manifest)
    *others, last = manifest.shots
    fewer = replace(last, boxes=dict(list(last.boxes.items())[1:]))
    write_manifest(replace(manifest, shots=(*others, fewer)), tmp_path / "m.jsonl")
    with pytest.raises(RunError, match="other settings") as caught:
        reproduce(config(manifest=tmp_path / "m.jsonl"))
    assert caught.value.offenders[0].startswith("inputs.splits and boxes") and counted == []


def test_seeds_jobs_and_the_table_may_change(config):
    begun = config()
    for given in (begun, config(table="fig3", seeds=3, jobs=2, device="cpu")):
        stage._begin(given, runs_of(given), read_manifest(given.manifest))


def test_a_folder_of_something_else_and_a_file_are_refused(config, tmp_path):
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables/letter.txt").touch()
    with pytest.raises(RunError, match="something that is not"):
        reproduce(config())
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="is a file"):
        reproduce(config(out=tmp_path / "file"))


def test_what_a_manifest_cannot_give_is_named_at_once(config, small_manifest, without_boxes, tmp_path):
    with pytest.raises(ManifestError, match="cannot give table2") as caught:
        reproduce(config(manifest=without_boxes, threshold="val"))
    assert caught.value.offenders == (
        "split 'test' has no true box to score against",
        "split 'val' has no true box to choose tau by (--threshold val)",
    )
    manifest = read_manifest(small_manifest)
    unlearned = tuple(replace(one, split="val") if one.split == "train" else one for one in manifest.shots)
    write_manifest(replace(manifest, shots=unlearned), tmp_path / "unlearned.jsonl")
    with pytest.raises(ManifestError) as caught:
        reproduce(config(manifest=tmp_path / "unlearned.jsonl"))
    assert caught.value.offenders == ("split 'train' has no shots to learn from",)
    assert not (tmp_path / "tables").exists()


def test_points_go_to_processes_that_share_the_machine(config, monkeypatch):
    points, sent = runs_of(config(table="table3", seeds=2)).points, []

    def elsewhere(calls, workers):
        sent.append(workers)
        for call in calls:
            ours = pickle.loads(pickle.dumps(call))
            assert ours.func is stage._point and ours.args[1] == workers
            yield "it diverged" if ours.args[0].system == "C+ C-" else ""

    monkeypatch.setattr(stage, "in_processes", elsewhere)
    assert stage._report(points, 2) == {"C+ C-": "it diverged"} and sent == [2]


def test_where_no_row_can_be_made_all_reasons_are_named(config, monkeypatch):
    for name in ("_fit", "_build"):
        monkeypatch.setattr(stage, name, lambda _: {})
    monkeypatch.setattr(stage, "train_point", only_n())
    with pytest.raises(EvaluationError, match="no row of fig3") as caught:
        reproduce(config(table="fig3"))
    assert caught.value.offenders[0] == "n 0: not trained" and len(caught.value.offenders) == 11


@pytest.mark.usefixtures("quick_comparison")
def test_a_row_whose_cams_cannot_be_made_says_why_and_the_others_are_made(config, monkeypatch):
    def build(given):
        if given.method != "layercam":
            raise ConfigError(f"no {given.method} here")
        return build_cache(given)

    monkeypatch.setattr(stage, "build_cache", build)
    monkeypatch.setattr(stage, "train_point", only_n())
    report = reproduce(config(table="table1"))
    assert report.failed == {
        "CAM": "no cam here",
        "Grad-CAM": "no gradcam here",
        "Grad-CAM++": "no gradcam++ here",
        "Smooth Grad-CAM++": "no smooth-gradcam++ here",
        "XGrad-CAM": "no xgradcam here",
        "TCAM": "not trained",
        "CoLo-CAM": "not trained",
    }
    assert [one.name for one in report.comparison.systems] == ["LayerCAM"]
    assert "no number of XGrad-CAM: no xgradcam here" in report.to_text()


def test_a_preset_that_is_no_file_is_refused(config):
    with pytest.raises(ConfigError, match="cannot read the preset"):
        config(preset="none.toml")


def test_a_cache_of_annotated_frames_alone_scores_as_the_whole_one(
    build_config, evaluate_config, small_cache, tmp_path
):
    built = build_cache(build_config(every=ANNOTATED_ALONE))
    given = {"threshold": "oracle-per-class", "boxes": "wsol"}
    sparse, whole = (
        evaluate(evaluate_config(cache=cache, out=tmp_path / name, **given))
        for name, cache in (("sparse", built.cache), ("whole", small_cache))
    )
    assert built.frames < sum(shot.length for shot in CamCache.open(small_cache).shots())
    assert sparse.metrics.policies == whole.metrics.policies
    assert [row.box for row in sparse.evaluation.rows] == [row.box for row in whole.evaluation.rows]
