"""Which reports are one system, what its name is, and which reports cannot stand side by side."""

from dataclasses import replace

import pytest

from tcam_cache.errors import EvaluationError
from tcam_cache.evaluation import Spread, require_same_frames, systems_of
from tcam_cache.evaluation.systems import settings_of


def provenance_of(seed=0, fit=0, weights="w0", lr=0.01, encoder="e0", **given):
    """Return what a report of a run stores of its settings."""
    run = {"seed": seed, "lr": lr, "cache": "cache", "out": f"run{seed}", "epochs": 3, "device": "cpu"}
    cache = {"method": "layercam", "classifier": {"arch": "resnet18", "weights": weights}}
    return {
        "config": {"threshold": "val", "boxes": "components", "map_size": 224, "out": "r", **given},
        "run": run,
        "inputs": {"cache": cache, "encoder": encoder, "splits": {"train": "abc"}},
        "classifier": {"seed": fit, "epochs": 5, "out": f"g{fit}.pt"},
    }


@pytest.fixture
def report(make_report):
    """Return a maker of reports of runs: what differs is given."""

    def make(name, named=False, **given):
        return replace(make_report(name, provenance=provenance_of(**given)), named=named)

    return make


def names_of(systems):
    return {system.name: [one.name for one in system.reports] for system in systems}


def test_runs_that_differ_in_the_seed_alone_are_one_system(report):
    reports = [report("n1_s0"), report("n0", lr=0.1), report("n1_s1", seed=1)]
    assert names_of(systems_of(reports)) == {"n1": ["n1_s0", "n1_s1"], "n0": ["n0"]}


def test_where_and_how_a_run_is_done_makes_no_system_of_its_own(report):
    one, other = report("a0"), report("a1", seed=1)
    other.metrics.provenance["run"].update(out="elsewhere", device="cuda", cache="moved", workers=8)
    assert len(systems_of([one, other])) == 1
    other.metrics.provenance["run"]["epochs"] = 4
    assert len(systems_of([one, other])) == 2


def test_the_seed_of_the_classifier_is_a_seed_too_and_its_settings_are_not(report):
    whole = [report(f"r{n}", seed=n, fit=n, weights=f"w{n}", encoder=f"e{n}") for n in range(3)]
    assert names_of(systems_of(whole)) == {"r": ["r0", "r1", "r2"]}
    whole[1].metrics.provenance["classifier"]["epochs"] = 6
    assert [len(system.reports) for system in systems_of(whole)] == [2, 1]


def test_without_the_classifier_s_settings_other_weights_are_another_system(report):
    reports = [report("a"), report("b", seed=1, weights="w1")]
    for one in reports:
        one.metrics.provenance["classifier"].clear()
    assert len(systems_of(reports)) == 2


@pytest.mark.parametrize("setting", [{"threshold": "oracle"}, {"map_size": 112}, {"boxes": "wsol"}])
def test_runs_scored_in_another_way_are_another_system(report, setting):
    assert len(systems_of([report("a0"), report("b1", seed=1, **setting)])) == 2


def test_reports_of_an_earlier_version_tell_caches_apart_by_their_place(report):
    reports = [report("a0"), report("a1", seed=1), report("b", seed=2)]
    for one in reports:
        del one.metrics.provenance["inputs"], one.metrics.provenance["classifier"]
    reports[2].metrics.provenance["run"]["cache"] = "another"
    assert names_of(systems_of(reports)) == {"a": ["a0", "a1"], "b": ["b"]}


def test_reports_that_do_not_say_their_settings_are_systems_of_their_own(make_report):
    reports = [make_report("one"), make_report("other")]
    assert settings_of(reports[0].metrics) == ({}, {})
    assert names_of(systems_of(reports)) == {"one": ["one"], "other": ["other"]}


def test_a_chosen_name_keeps_runs_together_or_apart(report):
    together = [report("tcam", named=True), report("tcam", named=True, seed=1)]
    assert names_of(systems_of(together)) == {"tcam": ["tcam", "tcam"]}
    apart = [report("cpu", named=True), report("gpu", named=True)]
    assert names_of(systems_of(apart)) == {"cpu": ["cpu"], "gpu": ["gpu"]}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("report0", "report1"), "report"),
        (("run10", "run12"), "run"),
        (("n0_seed0", "n0_seed1"), "n0"),
        (("n0-s0", "n0-s1"), "n0"),
        (("tcam.0", "tcam.1", "tcam.2"), "tcam"),
        (("report", "report"), "report"),
        (("seed0", "seed1"), "seed"),
        (("one", "two"), "one"),
    ],
)
def test_a_system_has_the_name_that_its_reports_share(report, names, expected):
    reports = [replace(report(name, seed=n), folder=f"{n}/{name}") for n, name in enumerate(names)]
    assert list(names_of(systems_of(reports))) == [expected]


def test_two_reports_of_one_run_are_refused(report):
    with pytest.raises(EvaluationError, match="the same settings and the same seed") as caught:
        systems_of([report("a"), report("b", seed=1), report("c")])
    assert caught.value.offenders == ("reports/a", "reports/c")


@pytest.mark.parametrize("named", [False, True])
def test_two_systems_of_one_name_are_refused_with_what_differs(report, named):
    one, other = report("tcam", named), replace(report("tcam", named, lr=0.1), folder="elsewhere/tcam")
    with pytest.raises(EvaluationError, match=r"have the name tcam\. Give each .* NAME=REPORT") as caught:
        systems_of([one, other])
    assert caught.value.offenders == (
        "reports/tcam and elsewhere/tcam", "tcam: train.lr: 0.1, not 0.01",
    )  # fmt: skip


def test_reports_of_the_same_frames_pass_whatever_their_order(make_report):
    one, other = make_report("one"), make_report("other", ious=(0.0, 0.0, 0.0, 0.0))
    require_same_frames([one, replace(other, rows=other.rows[::-1])])


def test_what_differs_between_frames_is_named_for_every_report(make_report):
    first = make_report("first")
    fewer = make_report("fewer", ious=(0.9, 0.6), shots=("bird/1/1", "bird/1/1"))
    more = make_report("more", ious=(0.5,) * 5, shots=(*(row.shot for row in first.rows), "cat/9/1"))
    val, wsol = make_report("val", split="val"), make_report("wsol", mode="wsol")
    moved = replace(first, name="moved", rows=(replace(first.rows[0], true_boxes=()), *first.rows[1:]))
    tagged = replace(first, name="tagged", rows=(replace(first.rows[0], tag="cat"), *first.rows[1:]))
    with pytest.raises(EvaluationError, match="same frames as first") as caught:
        require_same_frames([first, fewer, more, val, wsol, moved, tagged])
    assert caught.value.offenders == (
        "fewer: 2 frame(s) are missing, such as bird/2/1/2.jpg",
        "more: 1 frame(s) more, such as cat/9/1/4.jpg",
        "val: split val, not test",
        "wsol: boxes by wsol, not components",
        "moved: 1 frame(s) with other true boxes, such as bird/1/1/0.jpg",
        "tagged: 1 frame(s) of another tag or video, such as bird/1/1/0.jpg",
    )


def test_a_spread_is_the_mean_and_the_sample_standard_deviation():
    assert Spread.of([50.0, 54.0, 58.0]) == Spread(54.0, 4.0, 3)
    assert Spread.of([50.0]) == Spread(50.0, None, 1)
    assert Spread.of([0.5, 0.52]).text(3) == "0.510 ± 0.014"
