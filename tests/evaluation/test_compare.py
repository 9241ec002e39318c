"""Comparisons by hand, and their bootstrap against plain loops over resamples."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcam_cache.evaluation import System, compare_systems
from tcam_cache.evaluation.compare import MEASURES, bootstrap_means


@pytest.fixture
def system(make_report):
    """Return a maker of systems of one run for each list of IoUs of the frames."""

    def make(name, *runs, **given):
        return System(name, tuple(make_report(f"{name}_{n}", ious, **given) for n, ious in enumerate(runs)))

    return make


# Two birds in one video, one in another, and a cat: CorLoc is the mean of two thirds and of one cat.
GOOD, POOR = (0.9, 0.6, 0.2, 0.8), (0.9, 0.2, 0.2, 0.1)


def test_a_system_of_one_run_has_the_metrics_of_its_report(system):
    (scores,) = compare_systems([system("tcam", GOOD)]).systems
    metrics = system("tcam", GOOD).reports[0].metrics
    values = {name: estimate.value.mean for name, estimate in scores.measures.items()}
    assert values == pytest.approx(
        {
            **{f"corloc_{at}": value for at, value in metrics.corloc_at.items()},
            "max_box_acc_v2": metrics.max_box_acc_v2,
            "mean_iou": metrics.mean_iou,
            "cl_accuracy": metrics.cl_accuracy,
            "top1_localization": metrics.top1_localization,
        },
        abs=1e-5,
    )
    assert list(values) == list(MEASURES)
    assert values["corloc_0.5"] == pytest.approx((200 / 3 + 100) / 2)
    assert {tag: spread.mean for tag, spread in scores.per_class.items()} == pytest.approx(
        metrics.corloc["per_class"], abs=1e-5
    )
    assert {video: spread.mean for video, spread in scores.per_video.items()} == {
        "bird/1": 100, "bird/2": 0, "cat/1": 100,
    }  # fmt: skip
    assert scores.ms_per_frame is not None and scores.ms_per_frame.mean == 4


def test_runs_become_a_mean_and_a_sample_standard_deviation(system):
    (scores,) = compare_systems([system("tcam", GOOD, POOR)]).systems
    corloc = scores.measures["corloc_0.5"].value
    one, other = (200 / 3 + 100) / 2, (100 / 3 + 0) / 2
    assert (corloc.mean, corloc.n) == (pytest.approx((one + other) / 2), 2)
    assert corloc.std == pytest.approx(abs(one - other) / 2**0.5)
    assert scores.per_class["cat"].text() == "50.0 ± 70.7"


def test_a_difference_is_the_mean_s_from_the_baseline_s(system):
    comparison = compare_systems([system("cam", POOR), system("tcam", GOOD)], "tcam")
    cam, tcam = (scores.measures["corloc_0.5"] for scores in comparison.systems)
    assert cam.difference == pytest.approx((100 / 3 + 0) / 2 - (200 / 3 + 100) / 2)
    assert tcam.difference is tcam.difference_interval is tcam.outside_chance is None


def test_the_first_of_several_is_the_baseline_and_one_alone_has_none(system):
    assert compare_systems([system("cam", POOR), system("tcam", GOOD)]).baseline == "cam"
    assert compare_systems([system("cam", POOR)]).baseline is None


def test_what_is_better_in_every_video_is_outside_chance_and_what_is_equal_is_not(system):
    better, same = (0.9, 0.9, 0.9, 0.9), (0.6, 0.6, 0.6, 0.6)
    systems = [system("none", (0.0, 0.0, 0.0, 0.0)), system("better", better), system("same", same)]
    _, first, _ = compare_systems(systems).systems
    assert first.measures["corloc_0.5"].difference_interval == (100, 100)
    assert first.measures["corloc_0.5"].outside_chance is True
    *_, last = compare_systems(systems, "better").systems
    assert last.measures["corloc_0.5"].difference_interval == (0, 0)
    assert last.measures["corloc_0.5"].outside_chance is False
    assert last.measures["corloc_0.7"].outside_chance is True
    # Worse in one video of three: resamples without it tell no difference.
    *_, last = compare_systems([system("better", better), system("almost", (0.9, 0.9, 0.9, 0.0))]).systems
    assert last.measures["corloc_0.5"].difference_interval == (-100, 0)
    assert last.measures["corloc_0.5"].outside_chance is False


def test_of_one_video_there_is_no_interval(system):
    comparison = compare_systems(
        [
            system("cam", (0.2, 0.9), shots=["bird/1/1"] * 2),
            system("tcam", (0.9, 0.9), shots=["bird/1/1"] * 2),
        ]
    )
    for scores in comparison.systems:
        assert scores.measures["corloc_0.5"].interval is None
        assert scores.measures["corloc_0.5"].outside_chance is None
    assert comparison.systems[1].measures["corloc_0.5"].difference == 50


def test_what_one_run_lacks_its_system_has_not(system):
    known, unknown = system("cam", GOOD), system("tcam", GOOD, predicted=None)
    cam, tcam = compare_systems([known, unknown]).systems
    assert cam.measures["cl_accuracy"].value.mean == 75 and "cl_accuracy" not in tcam.measures
    # Without a baseline that has it, there is a value and no difference.
    _, cam = compare_systems([unknown, known]).systems
    assert cam.measures["cl_accuracy"].difference is None
    slow, timeless = known.reports[0], replace(known.reports[0].metrics, ms_per_frame=None)
    (scores,) = compare_systems([System("cam", (slow, replace(slow, metrics=timeless)))]).systems
    assert scores.ms_per_frame is None


def test_the_order_of_the_rows_of_a_report_changes_nothing(system):
    cam, tcam = system("cam", POOR), system("tcam", GOOD)
    turned = System("tcam", tuple(replace(one, rows=one.rows[::-1]) for one in tcam.reports))
    assert compare_systems([cam, turned]) == compare_systems([cam, tcam])


def test_same_seed_same_intervals_and_json_holds_them(system):
    systems = [system("cam", POOR), system("tcam", GOOD)]
    first, again = (compare_systems(systems, resamples=150, seed=3).to_json() for _ in range(2))
    assert first == again == json.loads(json.dumps(first))
    assert first != compare_systems(systems, resamples=150, seed=4).to_json() | {"seed": 3}
    assert first["systems"][1]["measures"]["mean_iou"]["outside_chance"] in (True, False)
    assert first["systems"][0]["measures"]["mean_iou"]["difference"] is None


def looped(values, videos, classes, resamples, seed):
    """Return what `bootstrap_means` returns: frames of the drawn videos gathered, one resample at a time."""
    names = sorted(set(videos))
    draws = np.random.default_rng(seed).multinomial(len(names), [1 / len(names)] * len(names), resamples)
    result = np.empty((len(values), resamples))
    for b, draw in enumerate(draws):
        taken = [
            f
            for name, times in zip(names, draw, strict=True)
            for _ in range(times)
            for f in range(len(videos))
            if videos[f] == name
        ]
        for s, of_system in enumerate(values):
            by_tag = {}
            for f in taken:
                by_tag.setdefault(classes[f], []).append(of_system[f])
            result[s, b] = sum(sum(one) / len(one) for one in by_tag.values()) / len(by_tag)
    return result


frames = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from("xyz"), st.floats(0, 1), st.floats(0, 1)),
    min_size=2,
    max_size=12,
).filter(lambda rows: len({row[0] for row in rows}) > 1)


@given(frames, st.integers(0, 5))
def test_resamples_are_those_of_a_loop(rows, seed):
    videos, classes, *values = zip(*rows, strict=True)
    drawn = bootstrap_means([np.array(one) for one in values], videos, classes, 7, seed)
    np.testing.assert_allclose(drawn, looped(values, videos, classes, 7, seed), atol=1e-12)


def test_resamples_in_blocks_are_those_of_one_draw():
    rng = np.random.default_rng(0)
    videos, classes, values = rng.integers(0, 6, 40), rng.integers(0, 3, 40), rng.random((2, 40))
    drawn = bootstrap_means(list(values), list(videos), list(classes), 1203, 1)
    np.testing.assert_allclose(drawn, looped(values, list(videos), list(classes), 1203, 1), atol=1e-12)


@given(frames, st.floats(0.1, 2), st.floats(-1, 1))
def test_a_shift_and_a_scale_of_every_value_are_those_of_the_interval(rows, scale, shift):
    videos, classes, values, _ = zip(*rows, strict=True)
    values = np.array(values)
    before, after = bootstrap_means([values, scale * values + shift], videos, classes, 50, 0)
    np.testing.assert_allclose(after, scale * before + shift, atol=1e-9)
    assert values.min() - 1e-9 <= before.min() <= before.max() <= values.max() + 1e-9


def test_the_interval_of_many_alike_videos_is_that_of_the_normal_distribution():
    values = np.random.default_rng(1).random(400)
    (draws,) = bootstrap_means([values], [f"{n:03d}" for n in range(400)], [""] * 400, 4000, 0)
    low, high = np.percentile(draws, [2.5, 97.5])
    reach = 1.96 * values.std() / 400**0.5
    assert (low, high) == (
        pytest.approx(values.mean() - reach, abs=0.003),
        pytest.approx(values.mean() + reach, abs=0.003),
    )
