"""Tests of a comparison of reports on disk: its folder, seeds of real runs, and what is refused."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from tcam_cache.config import CompareConfig
from tcam_cache.errors import EvaluationError
from tcam_cache.evaluation import to_csv
from tcam_cache.stages.compare import FILES, compare
from tcam_cache.stages.evaluate import evaluate
from tcam_cache.stages.train import train_decoder


@pytest.fixture(scope="module")
def layercam(small_manifest, small_cache, tmp_path_factory):
    """The report of the small cache; a test that changes it works on a copy."""
    from tcam_cache.config import EvaluateConfig

    out = tmp_path_factory.mktemp("reports") / "report_layercam"
    given = {"manifest": small_manifest, "cache": small_cache, "workers": 0, "overlays": 0}
    return evaluate(EvaluateConfig(out=out, **given))


@pytest.fixture(scope="module")
def tcam_report(small_manifest, small_run, layercam):
    """The report of the small run, beside the other."""
    from tcam_cache.config import EvaluateConfig

    out = Path(layercam.report).with_name("report")
    given = {"manifest": small_manifest, "run": small_run, "workers": 0, "overlays": 0}
    return evaluate(EvaluateConfig(out=out, **given))


@pytest.fixture
def config(layercam, tcam_report, tmp_path):
    """Return a maker of configs that compare the two reports into a new folder."""
    given = {"reports": (layercam.report, tcam_report.report), "out": tmp_path / "c", "resamples": 200}
    return lambda **others: CompareConfig(**{**given, **others})


@pytest.fixture
def copied(layercam, tmp_path):
    """A copy of the cache's report that a test may damage."""
    return Path(shutil.copytree(layercam.report, tmp_path / "copied"))


def test_the_folder_holds_every_file_and_the_numbers_of_the_reports(config, layercam, tcam_report):
    report = compare(config())
    assert {path.name for path in config().out.iterdir()} == set(FILES)
    stored = json.loads((config().out / "compare.json").read_text())
    assert {name: stored[name] for name in report.to_json() if name != "out"} == {
        name: value for name, value in report.to_json().items() if name != "out"
    }
    assert (stored["baseline"], stored["videos"], stored["frames"]) == ("report_layercam", 3, 11)
    for system, one in zip(stored["systems"], (layercam, tcam_report), strict=True):
        metrics = one.metrics
        measures = {name: value["value"]["mean"] for name, value in system["measures"].items()}
        assert measures["corloc_0.5"] == pytest.approx(metrics.corloc["mean_over_classes"], abs=1e-5)
        assert measures["max_box_acc_v2"] == pytest.approx(metrics.max_box_acc_v2, abs=1e-5)
        assert measures["mean_iou"] == pytest.approx(metrics.mean_iou, abs=1e-5)
        time = system["ms_per_frame"] and system["ms_per_frame"]["mean"]
        assert time == (metrics.ms_per_frame and pytest.approx(metrics.ms_per_frame, abs=1e-5))
    assert [one.metrics.ms_per_frame is None for one in (layercam, tcam_report)] == [True, False]
    with (config().out / "compare.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    shown = {(row["system"], row["name"]): row["value"] for row in rows if row["group"] == "video"}
    assert float(shown["report", "bird/0003"]) == pytest.approx(
        tcam_report.metrics.corloc["per_video"]["bird/0003"], abs=1e-5
    )
    assert "Differences from report_layercam" in (config().out / "table.md").read_text()
    assert "\\toprule" in (config().out / "table.tex").read_text()
    with Image.open(config().out / "compare.png") as picture:
        assert picture.format == "PNG"
    assert "3 videos are few" in report.to_text() and str(config().out) in report.to_text()


def test_runs_of_two_seeds_are_one_system_as_their_reports_tell(
    config, tcam_report, decoder_config, evaluate_config, tmp_path
):
    reports = []
    for seed in (0, 1):
        train_decoder(decoder_config(seed=seed, out=tmp_path / f"run{seed}"))
        out = tmp_path / f"short_{seed}"
        reports.append(evaluate(evaluate_config(run=tmp_path / f"run{seed}", out=out)).report)
    # Trained for an epoch less than the other run, and so another system.
    report = compare(config(reports=(*reports, tcam_report.report), baseline=tcam_report.report))
    short, longer = report.comparison.systems
    assert (short.name, short.reports) == ("short", ("short_0", "short_1"))
    assert (longer.name, report.comparison.baseline) == ("report", "report")
    assert short.measures["corloc_0.5"].value.n == 2


def test_one_report_is_a_table_of_one(config, layercam):
    report = compare(config(reports=(layercam.report,)))
    assert report.comparison.baseline is None
    assert "Differences" not in (config().out / "table.md").read_text()
    with Image.open(config().out / "compare.png") as picture:
        assert picture.width == 700


def test_a_name_may_be_given_and_a_folder_with_an_equals_sign_is_a_folder(config, layercam, copied, tmp_path):
    shutil.copytree(copied, tmp_path / "lr=0.1")
    report = compare(config(reports=(f"cached={layercam.report}", str(tmp_path / "lr=0.1"))))
    assert [system.name for system in report.comparison.systems] == ["cached", "lr=0.1"]


@pytest.mark.parametrize("baseline", ["report", "reports/report"])
def test_the_baseline_is_a_system_or_a_report(config, tcam_report, monkeypatch, baseline):
    monkeypatch.chdir(Path(tcam_report.report).parents[1])
    given = baseline.replace("reports/", f"{Path(tcam_report.report).parent.name}/")
    assert compare(config(baseline=given)).comparison.baseline == "report"


def test_a_baseline_that_is_none_is_answered_with_the_near_one(config):
    with pytest.raises(
        EvaluationError, match=r"no system or report 'reprot' .* Did you mean report"
    ) as caught:
        compare(config(baseline="reprot"))
    assert "Those that exist: report_layercam, report." in caught.value.message
    assert not config().out.exists()


def test_the_same_comparison_may_be_made_again_and_another_not_without_overwrite(config, layercam):
    compare(config())
    written = (config().out / "compare.csv").read_text()
    compare(config())
    assert (config().out / "compare.csv").read_text() == written
    other = config(reports=(layercam.report,), seed=3)
    with pytest.raises(EvaluationError, match="holds another comparison") as caught:
        compare(other)
    assert [line.split(":")[0] for line in caught.value.offenders] == ["reports", "seed"]
    assert len(compare(replace(other, overwrite=True)).comparison.systems) == 1


@pytest.mark.parametrize("content", ["{", "[]", '{"settings": 3}'])
def test_a_damaged_comparison_is_not_replaced_unasked(config, content):
    config().out.mkdir()
    (config().out / "compare.json").write_text(content)
    with pytest.raises(EvaluationError, match="holds another comparison"):
        compare(config())
    compare(config(overwrite=True))


def test_a_folder_of_something_else_is_left_alone_even_with_overwrite(config, copied, tmp_path):
    with pytest.raises(EvaluationError, match="something that is not a comparison") as caught:
        compare(config(out=copied, overwrite=True))
    assert "metrics.json" in caught.value.offenders
    (tmp_path / "file").write_text("")
    with pytest.raises(EvaluationError, match="something that is not a comparison"):
        compare(config(out=tmp_path / "file"))


def test_every_folder_that_is_no_report_is_named(config, layercam, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(EvaluationError, match="2 of 3 reports cannot be read") as caught:
        compare(config(reports=(str(tmp_path / "empty"), layercam.report, str(tmp_path / "gone"))))
    empty, gone = caught.value.offenders
    assert f"{tmp_path / 'empty'} is no report: it lacks metrics.json and frames.csv" in empty
    assert f"{tmp_path / 'gone'} is no report" in gone


def test_reports_of_other_frames_are_refused_with_what_differs(
    config, layercam, evaluate_config, small_cache
):
    val = evaluate(evaluate_config(cache=small_cache, split="val", boxes="wsol"))
    with pytest.raises(EvaluationError, match="same frames as report_layercam") as caught:
        compare(config(reports=(layercam.report, f"val={val.report}")))
    said = "\n".join(caught.value.offenders)
    assert "val: split val, not test" in said and "val: boxes by wsol, not components" in said
    assert "11 frame(s) are missing" in said and not config().out.exists()


def test_a_report_given_twice_is_refused(config, layercam, copied):
    with pytest.raises(EvaluationError, match="reports are of one run"):
        compare(config(reports=(layercam.report, layercam.report)))
    with pytest.raises(EvaluationError, match="reports are of one run"):
        compare(config(reports=(layercam.report, str(copied))))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: text[: text.rindex(",") - 9], "frames.csv is damaged"),
        (lambda text: "\n".join(text.splitlines()[:-1]) + "\n", "do not give the numbers of metrics.json"),
        (lambda text: text.replace("iou_best_0.5", "iou_worst_0.5"), "frames.csv is damaged"),
        (lambda text: text.replace("true_boxes", "boxes"), "frames.csv is damaged: it lacks 'true_boxes'"),
        (lambda text: "", "frames.csv is damaged"),
        (lambda text: "\x00" + text, "frames.csv is damaged: it lacks 'frame'"),
    ],
    ids=["cut", "a row less", "a policy gone", "a column gone", "empty", "a null"],
)
def test_damaged_rows_are_named(config, copied, damage, said):
    path = copied / "frames.csv"
    path.write_text(damage(path.read_text()))
    with pytest.raises(EvaluationError) as caught:
        compare(config(reports=(str(copied),)))
    assert said in str(caught.value) and "tcam-cache evaluate" in str(caught.value)


def test_rows_of_another_report_are_told(config, copied, tcam_report):
    assert to_csv(tcam_report.evaluation.rows) != (copied / "frames.csv").read_text()
    shutil.copy(f"{tcam_report.report}/frames.csv", copied / "frames.csv")
    with pytest.raises(EvaluationError, match="do not give the numbers of metrics"):
        compare(config(reports=(str(copied),)))


@pytest.mark.parametrize(
    ("content", "said"),
    [("{", "is damaged"), ("[]", "lacks entries"), ('{"split": "test"}', "lacks entries")],
)
def test_damaged_metrics_are_named(config, copied, content, said):
    (copied / "metrics.json").write_text(content)
    with pytest.raises(EvaluationError, match=said) as caught:
        compare(config(reports=(str(copied),)))
    assert "metrics.json" in caught.value.message
