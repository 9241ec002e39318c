"""Tests of what the frames of a shot say together: presence, medians, gaps, jitter, completed rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tcam_cache.datasets.boxes_table import FoundBox
from tcam_cache.errors import ConfigError
from tcam_cache.inference.tracks import (
    GAP,
    SUREST,
    completed_rows,
    jitter,
    presence_over,
    smoothed_boxes,
    track_ids,
)
from tcam_cache.records import Box

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


VALUES = arrays(np.float64, st.tuples(st.integers(1, 9), st.integers(1, 2)), elements=st.floats(0, 1))


def log_odds(values):
    sure = np.clip(values, SUREST, 1 - SUREST)
    return np.log(sure / (1 - sure))


@given(VALUES, st.integers(0, 4))
def test_log_odds_are_the_mean_over_the_window(values, radius):
    found = presence_over(values, radius)
    for t in range(len(values)):
        window = log_odds(values[max(0, t - radius) : t + radius + 1]).mean(0)
        np.testing.assert_allclose(log_odds(found[t]), window, atol=1e-6)


@given(VALUES)
def test_without_a_radius_all_frames_of_the_shot_say_the_same(values):
    found = presence_over(values)
    np.testing.assert_allclose(
        log_odds(found), np.tile(log_odds(values).mean(0), (len(values), 1)), atol=1e-6
    )


def test_a_radius_of_zero_changes_nothing_and_a_negative_one_is_refused():
    values = np.array([0.0, 0.3, 1.0])
    assert np.array_equal(presence_over(values, 0), values)
    assert len(presence_over(np.zeros(0))) == 0
    with pytest.raises(ConfigError, match="radius of -1 frames"):
        presence_over(values, -1)


def row(t, x=0.0, presence=None, confidence=1.0, box=True):
    found = Box(x, 0.0, x + 10, 10.0) if box else None
    return FoundBox("v", t, f"{t}", None, 64, 48, "dog", 0.9, found, 1.0, confidence, presence)


def lefts(rows):
    return [one.box and one.box.x0 for one in rows]


def test_a_box_that_alone_is_wrong_takes_the_place_of_its_neighbours_but_not_over_a_cut():
    rows = [row(0, 0), row(1, 30), row(2, 0), row(3, 40), row(4, 40)]
    assert lefts(completed_rows(rows, [0, 0, 0, 1, 1], 0.0, 1, 2)) == [15, 0, 15, 40, 40]
    assert lefts(completed_rows(rows, [0, 1, 2, 3, 4], 0.0, 1, 2)) == [0, 30, 0, 40, 40]


def test_with_radius_0_and_no_presence_known_boxes_stay_and_are_one_track_a_shot():
    rows = [row(0, 0), row(1, 30), row(2, box=False), row(3, 40)]
    done = completed_rows(rows, [0, 0, 0, 1], 0.9, 0, 2)
    assert lefts(done) == [0, 30, None, 40]
    assert [one.track for one in done] == [1, 1, None, 2]
    assert [one.presence for one in done] == [None] * 4


def test_below_the_threshold_of_presence_a_frame_has_no_box_no_confidence_and_no_track():
    rows = [row(t, presence=0.9 if t < 10 else 0.01) for t in range(20)]
    done = completed_rows(rows, [0] * 20, 0.5, 0, 2)
    # Neighbours speak for the frames where the object leaves.
    assert [one.box is not None for one in done[:8] + done[12:]] == [True] * 8 + [False] * 8
    assert [one.track for one in done[:8] + done[12:]] == [1] * 8 + [None] * 8
    assert done[15].confidence is None and done[15].presence == pytest.approx(0.01)
    assert [one.box is not None for one in completed_rows(rows, [0] * 20, 0.0, 0, 2)] == [True] * 20


def test_one_frame_that_shows_the_object_badly_is_outvoted_by_its_neighbours():
    rows = [row(t, presence=0.1 if t == 3 else 0.95) for t in range(7)]
    assert all(one.box for one in completed_rows(rows, [0] * 7, 0.5, 0, 2))


def test_without_a_window_each_frame_speaks_for_its_own_presence_alone():
    rows = [row(0, presence=0.9999), row(1, presence=0.0001)]
    done = completed_rows(rows, [0, 0], 0.5, 0, window=0)
    assert [(one.box is not None, one.presence) for one in done] == [(True, 0.9999), (False, 0.0001)]


def test_an_object_that_comes_back_after_a_while_is_another_track():
    away = GAP + 5
    rows = [row(t, presence=0.99 if t < 10 or t >= 10 + away else 0.01) for t in range(20 + away)]
    tracks = [one.track for one in completed_rows(rows, [0] * len(rows), 0.5, 0, 2)]
    assert tracks[:8] == [1] * 8 and tracks[12 : 8 + away] == [None] * (away - 4) and tracks[-8:] == [2] * 8


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.floats(0, 1)), max_size=20), st.integers(0, 3))
def test_shots_are_completed_each_as_if_alone_but_for_the_numbers_of_tracks(frames, radius):
    frames = sorted(frames, key=lambda one: one[0])
    rows = [row(t, 7.0 * t, presence, box=box) for t, (_, box, presence) in enumerate(frames)]
    shots = [shot for shot, _, _ in frames]
    done = completed_rows(rows, shots, 0.5, radius, 2)
    for shot in set(shots):
        at = [t for t, number in enumerate(shots) if number == shot]
        alone = completed_rows([rows[t] for t in at], [0] * len(at), 0.5, radius, 2)
        assert [done[t]._replace(track=None) for t in at] == [one._replace(track=None) for one in alone]
    tracks = [one.track for one in done if one.track]
    assert tracks == sorted(tracks) and set(tracks) == set(range(1, max(tracks, default=0) + 1))
