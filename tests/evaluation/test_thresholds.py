"""The threshold policies on curves worked out by hand."""

import numpy as np
import pytest

from tcam_cache.errors import ConfigError, EvaluationError
from tcam_cache.evaluation import Threshold, choose_tau, corloc_curve
from tcam_cache.evaluation.thresholds import choose_tau_per_class, middle_of_plateau, thresholds

TAUS = np.array([0.0, 0.25, 0.5, 0.75])


@pytest.mark.parametrize(
    ("curve", "middle"),
    [
        ([0, 1, 0], 1),
        ([1, 1, 1], 1),
        ([1, 1, 0, 1, 1, 1], 4),
        ([1, 1, 0, 1, 1], 0),
        ([0, 1, 1, 1, 1], 2),
        ([0, 0, 2], 2),
        ([1 / 3 + 2 / 3, 0.1 + 0.2 + 0.7], 0),
    ],
)
def test_the_plateau_is_the_longest_run_of_maxima_the_first_of_equals(curve, middle):
    assert middle_of_plateau(np.array(curve, float)) == middle


def test_the_chosen_tau_maximises_the_class_mean_not_the_frame_mean(make_sweep):
    cats = [make_sweep([0.9, 0.1, 0.1, 0.1], tag="cat", t=t) for t in range(3)]
    sweeps = [
        *cats,
        make_sweep([0.1, 0.1, 0.9, 0.1], tag="bird"),
        make_sweep([0.1, 0.1, 0.9, 0.1], tag="dog"),
    ]
    assert corloc_curve(sweeps).tolist() == pytest.approx([100 / 3, 0, 200 / 3, 0])
    assert choose_tau(sweeps, TAUS) == 0.5


def test_an_iou_of_one_half_is_a_miss_unless_the_protocol_is_wsol(make_sweep):
    ious = [0.5, 0.4, 0.6, 0.5]
    assert corloc_curve([make_sweep(ious)]).tolist() == [0, 0, 100, 0]
    assert corloc_curve([make_sweep(ious, mode="wsol")]).tolist() == [100, 0, 100, 100]


def test_each_class_gets_its_own_oracle(make_sweep):
    sweeps = [make_sweep([0, 0, 0, 1], tag="cat"), make_sweep([1, 0, 0, 0], tag="bird")]
    assert choose_tau_per_class(sweeps, TAUS) == {"bird": 0.0, "cat": 0.75}


def test_every_policy_picks_its_own_box(make_sweep):
    sweep = make_sweep([0.1, 0.2, 0.3, 0.4], otsu=0.25)
    picked = {name: one.pick(sweep, TAUS)[1] for name, one in thresholds([sweep], "val", 0.24, TAUS).items()}
    assert picked == {"val": 0.2, "0.5": 0.3, "otsu": 0.25, "oracle": 0.2, "oracle-per-class": 0.2}


def test_the_chosen_policy_comes_first_and_one_half_is_always_there(make_sweep):
    sweeps = [make_sweep([0, 0, 1, 0])]
    assert list(thresholds(sweeps, "oracle", None, TAUS)) == ["oracle", "0.5", "otsu", "oracle-per-class"]
    assert list(thresholds(sweeps, "0.25", 0.5, TAUS)) == [
        "0.25",
        "0.5",
        "otsu",
        "val",
        "oracle",
        "oracle-per-class",
    ]
    assert next(iter(thresholds(sweeps, "0.50", None, TAUS))) == "0.5"


def test_a_number_snaps_to_the_nearest_tau_and_says_so(make_sweep):
    assert thresholds([make_sweep([0, 0, 1, 0])], "0.3", None, TAUS)["0.3"] == Threshold("0.3", 0.25)


def test_val_without_a_validation_tau_is_refused_with_what_to_do(make_sweep):
    with pytest.raises(ConfigError, match=r"such as --threshold 0\.5, or otsu"):
        thresholds([make_sweep([0, 0, 1, 0])], "val", None, TAUS)


@pytest.mark.parametrize("policy", ["best", "1.0", "nan"])
def test_an_unknown_policy_is_refused(make_sweep, policy):
    with pytest.raises(ConfigError, match="oracle-per-class"):
        thresholds([make_sweep([0, 0, 1, 0])], policy, None, TAUS)


def test_no_frames_is_an_error_that_says_what_to_do():
    with pytest.raises(EvaluationError, match="--annotations"):
        choose_tau([])
