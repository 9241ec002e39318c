"""Tests of boxes through time: hand-worked medians, gaps and jitter."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tcam_cache.errors import ConfigError
from tcam_cache.inference.tracks import jitter, smoothed_boxes, track_ids

NONE = [np.nan] * 4
CORNERS = arrays(np.float64, st.tuples(st.integers(1, 8), st.just(4)), elements=st.integers(0, 50))


def shifted(*lefts):
    return np.array([[left, 0, left + 4, 4] for left in lefts], float)


def test_a_frame_that_alone_is_wrong_takes_the_corners_of_its_neighbours():
    assert smoothed_boxes(shifted(1, 1, 30, 1, 1), np.ones(5), 1)[2].tolist() == [1, 0, 5, 4]


def test_a_jump_that_stays_is_followed_at_once():
    boxes = shifted(0, 0, 0, 9, 9, 9)
    assert np.array_equal(smoothed_boxes(boxes, np.ones(6), 2), boxes)


def test_a_sure_box_outweighs_its_neighbours():
    assert smoothed_boxes(shifted(0, 7, 0), np.array([1, 3, 1]), 1)[1, 0] == 7
    assert smoothed_boxes(shifted(0, 8), np.array([1, 1]), 1)[0, 0] == 4


def test_a_frame_without_a_box_keeps_none_and_parts_its_sides():
    boxes = np.concatenate([shifted(0), [NONE], shifted(9, 9)])
    smooth = smoothed_boxes(boxes, np.ones(4), 3)
    assert np.isnan(smooth[1]).all() and smooth[[0, 2, 3], 0].tolist() == [0, 9, 9]


@given(CORNERS, st.integers(0, 3))
def test_with_equal_weights_corners_are_medians(boxes, radius):
    for weight in (1.0, 0.0):
        smooth = smoothed_boxes(boxes, np.full(len(boxes), weight), radius)
        for t in range(len(boxes)):
            window = boxes[max(0, t - radius) : t + radius + 1]
            assert smooth[t].tolist() == np.median(window, axis=0).tolist()


@pytest.mark.parametrize(
    ("weights", "radius", "said"),
    [
        ([1, 1], -1, "radius of -1"),
        ([1], 1, r"shape \(2, 4\)"),
        ([1, -1], 1, "at least 0"),
        ([1, np.nan], 1, "T"),
    ],
)
def test_what_cannot_be_smoothed_is_refused(weights, radius, said):
    with pytest.raises(ConfigError, match=said):
        smoothed_boxes(shifted(0, 1), np.array(weights), radius)


def test_an_object_that_comes_back_after_a_gap_is_a_new_track():
    presence = np.array([0, 1, 0, 1, 0, 0, 0, 1, 1])
    assert track_ids(presence, 0.5).tolist() == [0, 1, 0, 2, 0, 0, 0, 3, 3]
    assert track_ids(presence, 0.5, gap=2).tolist() == [0, 1, 0, 1, 0, 0, 0, 2, 2]
    with pytest.raises(ConfigError, match="gap of 0 frames"):
        track_ids(presence, 0.5, gap=0)


@given(st.lists(st.booleans(), max_size=12), st.integers(1, 4))
def test_ids_count_up_from_one_and_only_frames_with_the_object_have_one(there, gap):
    ids = track_ids(np.array(there, float), 0.5, gap)
    assert (ids > 0).tolist() == there
    assert sorted(set(ids[ids > 0])) == list(range(1, ids.max(initial=0) + 1))


def test_jitter_counts_only_boxes_in_a_row():
    boxes = np.concatenate([shifted(0, 0, 2), [NONE], shifted(0)])
    assert jitter(boxes) == pytest.approx(1 - (1 + 1 / 3) / 2)
    assert np.isnan(jitter(boxes[2:4]))
