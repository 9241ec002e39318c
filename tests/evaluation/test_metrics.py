"""Metrics by hand, and again from the text of frames.csv."""

import json
import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcam_cache.errors import EvaluationError
from tcam_cache.evaluation import Threshold, from_csv, score, to_csv
from tcam_cache.evaluation.metrics import measure
from tcam_cache.records import Box

TAUS = np.array([0.0, 0.25, 0.5, 0.75])
NOTHING = (np.nan,) * 4


@pytest.fixture
def sweeps(make_sweep):
    return [
        make_sweep([0.0, 0.2, 0.6, 0.0], shot="bird/1/1", t=0, otsu=0.8),
        make_sweep([0.0, 0.2, 0.8, 0.0], shot="bird/1/1", t=1, box=(0, 0, 10, 5), predicted="cat"),
        make_sweep([0.0, 0.9, 0.4, 0.0], shot="bird/2/1", t=7, otsu=0.6),
        make_sweep([0.0, 0.0, 0.0, 0.0], shot="cat/1/1", tag="cat", predicted="cat", box=NOTHING, flat=True),
        make_sweep([0.4, 0.6, 0.5, 0.0], shot="cat/1/2", tag="cat", predicted="cat", otsu=0.7),
    ]


def scored(sweeps, policy="0.5", val_tau=None, **given):
    return score(sweeps, policy, val_tau, split="test", method="tcam", taus=TAUS, **given)


def test_every_number_is_the_one_worked_out_by_hand(sweeps):
    metrics = scored(sweeps).metrics
    assert metrics.corloc["per_class"] == {"bird": pytest.approx(200 / 3), "cat": 0}
    assert metrics.corloc["per_video"] == {"bird/1": 100, "bird/2": 0, "cat/1": 0}
    assert metrics.corloc["mean_over_classes"] == pytest.approx(100 / 3)
    assert metrics.corloc["mean_over_frames"] == 40
    assert metrics.corloc_at == {"0.3": 75, "0.5": pytest.approx(100 / 3), "0.7": pytest.approx(100 / 6)}
    # Best tau at 0.3: 0.5 finds 4 of 5; at 0.5: 0.25 and 0.5 find 2; at 0.7: both find 1.
    assert metrics.max_box_acc_v2 == pytest.approx((80 + 40 + 20) / 3)
    assert metrics.mean_iou == pytest.approx((0.6 + 0.8 + 0.4 + 0 + 0.5) / 5)
    assert metrics.mean_iou_over_classes == pytest.approx((0.6 + 0.25) / 2)
    assert metrics.cl_accuracy == 80 and metrics.top1_localization == 20
    assert metrics.stability == 0.5
    assert metrics.flat_maps == 20 and metrics.no_box == 20
    assert (metrics.frames, metrics.true_boxes, metrics.boxes) == (5, 5, "components")


def test_maxboxacc_knows_the_largest_region_and_its_second_version_any(make_sweep):
    sweeps = [
        make_sweep([0.0, 0.6, 0.5, 0.0], any_ious=np.array([0.8, 0.6, 0.5, 0.0])),
        make_sweep([0.0, 0.2, 0.6, 0.0], any_ious=np.array([0.8, 0.4, 0.6, 0.9]), t=1),
    ]
    metrics = scored(sweeps).metrics
    assert metrics.max_box_acc == 50
    # At 0.3, 0.5 and 0.7 alike, tau 0 finds a region of both.
    assert metrics.max_box_acc_v2 == 100


def test_policies_stand_side_by_side(sweeps):
    policies = scored(sweeps, "val", 0.25).metrics.policies
    assert policies["val"] == {
        "value": 0.25, "corloc": pytest.approx((100 / 3 + 50) / 2), "mean_iou": pytest.approx(1.9 / 5),
    }  # fmt: skip
    assert policies["otsu"]["value"] is None
    assert policies["otsu"]["corloc"] == pytest.approx((200 / 3 + 50) / 2)
    assert policies["oracle-per-class"]["value"] == {"bird": 0.5, "cat": 0.25}
    assert policies["oracle-per-class"]["corloc"] == pytest.approx((200 / 3 + 50) / 2)
    assert list(policies) == ["val", "0.5", "otsu", "oracle", "oracle-per-class"]


def test_the_json_has_the_contracts_keys_and_nothing_json_cannot_hold(sweeps):
    written = json.loads(
        json.dumps(scored(sweeps, ms_per_frame=3.5, provenance={"host": "h"}).metrics.to_json())
    )
    contract = {
        "split", "method", "frames", "boxes", "threshold", "corloc", "corloc_at", "max_box_acc_v2",
        "mean_iou", "cl_accuracy", "flat_maps", "ms_per_frame", "provenance",
    }  # fmt: skip
    assert contract <= set(written)
    assert written["threshold"] == {"policy": "0.5", "value": 0.5}
    assert set(written["corloc"]) == {"mean_over_classes", "mean_over_frames", "per_class", "per_video"}
    assert (written["ms_per_frame"], written["provenance"]) == (3.5, {"host": "h"})


IOUS = st.floats(0, 1)


@settings(max_examples=50)
@given(
    frames=st.lists(
        st.tuples(
            st.sampled_from(["bird", 'a "quoted", tag', "=1+1", "'-x", "@a\rb\nc", "-0.5"]),
            st.sampled_from(["bird", "cat"]),
            st.lists(IOUS, min_size=4, max_size=4),
            IOUS,
            st.sampled_from([NOTHING, (0, 0, 10, 10), (1 / 3, 2.5, 213.42857, 99.9)]),
        ),
        min_size=1,
        max_size=6,
    ),
    mode=st.sampled_from(["components", "wsol"]),
    policy=st.sampled_from(["val", "oracle", "oracle-per-class", "otsu", "0.25"]),
)
def test_everything_can_be_recomputed_from_the_text_of_frames_csv(make_sweep, frames, mode, policy):
    sweeps = [
        make_sweep(
            ious, tag, predicted, f"{tag}/1/1", t, otsu, box,
            mode=mode, true_boxes=(Box(0, 0, t + 1.5, 9),) * 2,
        )
        for t, (tag, predicted, ious, otsu, box) in enumerate(frames)
    ]  # fmt: skip
    evaluation = scored(sweeps, policy, 0.5)
    text = to_csv(evaluation.rows)
    rows = from_csv(text)
    policies = {
        name: Threshold(name, written["value"]) for name, written in evaluation.metrics.policies.items()
    }
    assert rows == evaluation.rows
    assert measure(rows, policies, mode=mode, split="test", method="tcam") == evaluation.metrics


def test_the_csv_starts_with_the_contracts_columns(sweeps):
    header, first, *_ = to_csv(scored(sweeps).rows).splitlines()
    assert header.startswith(
        "frame,class,predicted_class,xmin,ymin,xmax,ymax,iou,hit,flat,video,shot,t,true_boxes,iou_0.5"
    )
    assert first.startswith("bird/1/1/0.jpg,bird,bird,0,0,10,10,0.6,1,0,bird/1,bird/1/1,0,0 0 10 10,0.6,0.8")


def test_the_columns_of_earlier_versions_are_read(sweeps):
    rows = scored(sweeps).rows
    assert from_csv(to_csv(rows).replace("xmin,ymin,xmax,ymax", "x0,y0,x1,y1", 1)) == rows


def test_names_that_a_spreadsheet_would_compute_are_texts_and_numbers_are_numbers(make_sweep):
    sweep = make_sweep([-0.5] * 4, tag="=cmd|' /C calc'!A0", shot="+v/1", box=(-0.5, 0, 10, 10))
    text = to_csv(scored([sweep]).rows)
    assert text.splitlines()[1].startswith(
        "'+v/1/0.jpg,'=cmd|' /C calc'!A0,bird,-0.5,0,10,10,-0.5,0,0,'+v,'+v/1,0,"
    )
    assert from_csv(text) == scored([sweep]).rows


def test_a_frame_without_a_box_has_empty_cells(sweeps):
    line = to_csv(scored(sweeps).rows).splitlines()[4]
    assert line.startswith("cat/1/1/0.jpg,cat,cat,,,,,0.0,0,1,")


def test_classes_without_frames_are_left_out_of_the_mean_and_said(sweeps, caplog):
    with caplog.at_level(logging.WARNING):
        metrics = scored(sweeps, classes=["bird", "cat", "zebra", "ape"]).metrics
    assert metrics.classes_without_frames == ("ape", "zebra")
    assert metrics.corloc["mean_over_classes"] == pytest.approx(100 / 3)
    assert "ape, zebra" in caplog.text


def test_without_predicted_tags_there_is_no_classification(make_sweep):
    metrics = scored([make_sweep([0, 0, 1, 0], predicted=None)]).metrics
    assert metrics.cl_accuracy is None and metrics.top1_localization is None


def test_stability_needs_neighbouring_frames_of_one_shot(make_sweep):
    apart = [
        make_sweep([0, 0, 1, 0], t=0),
        make_sweep([0, 0, 1, 0], t=2),
        make_sweep([0, 0, 1, 0], shot="bird/1/2", t=3),
    ]
    assert scored(apart).metrics.stability is None
    assert scored([*apart, make_sweep([0, 0, 1, 0], t=1, box=NOTHING)]).metrics.stability == 0


def test_no_annotated_frame_is_an_error_that_says_what_to_do():
    with pytest.raises(EvaluationError, match=r"test split.*--annotations.*--split"):
        scored([])
