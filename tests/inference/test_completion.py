"""Tests of rows completed after the last frame: presence, boxes and tracks within each shot."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcam_cache.datasets.boxes_table import FoundBox
from tcam_cache.inference.completion import GAP, completed_rows
from tcam_cache.records import Box


def row(t, x=0.0, presence=None, confidence=1.0, box=True):
    found = Box(x, 0.0, x + 10, 10.0) if box else None
    return FoundBox("v", t, f"{t}", None, 64, 48, "dog", 0.9, found, 1.0, confidence, presence)


def lefts(rows):
    return [one.box and one.box.x0 for one in rows]


def test_a_box_that_alone_is_wrong_takes_the_place_of_its_neighbours_but_not_over_a_cut():
    rows = [row(0, 0), row(1, 30), row(2, 0), row(3, 40), row(4, 40)]
    assert lefts(completed_rows(rows, [0, 0, 0, 1, 1], 0.0, 1)) == [15, 0, 15, 40, 40]
    assert lefts(completed_rows(rows, [0, 1, 2, 3, 4], 0.0, 1)) == [0, 30, 0, 40, 40]


def test_with_radius_0_and_no_presence_known_boxes_stay_and_are_one_track_a_shot():
    rows = [row(0, 0), row(1, 30), row(2, box=False), row(3, 40)]
    done = completed_rows(rows, [0, 0, 0, 1], 0.9, 0)
    assert lefts(done) == [0, 30, None, 40]
    assert [one.track for one in done] == [1, 1, None, 2]
    assert [one.presence for one in done] == [None] * 4


def test_below_the_threshold_of_presence_a_frame_has_no_box_no_confidence_and_no_track():
    rows = [row(t, presence=0.9 if t < 10 else 0.01) for t in range(20)]
    done = completed_rows(rows, [0] * 20, 0.5, 0)
    # Neighbours speak for the frames where the object leaves.
    assert [one.box is not None for one in done[:8] + done[12:]] == [True] * 8 + [False] * 8
    assert [one.track for one in done[:8] + done[12:]] == [1] * 8 + [None] * 8
    assert done[15].confidence is None and done[15].presence == pytest.approx(0.01)
    assert [one.box is not None for one in completed_rows(rows, [0] * 20, 0.0, 0)] == [True] * 20


def test_one_frame_that_shows_the_object_badly_is_outvoted_by_its_neighbours():
    rows = [row(t, presence=0.1 if t == 3 else 0.95) for t in range(7)]
    assert all(one.box for one in completed_rows(rows, [0] * 7, 0.5, 0))


def test_an_object_that_comes_back_after_a_while_is_another_track():
    away = GAP + 5
    rows = [row(t, presence=0.99 if t < 10 or t >= 10 + away else 0.01) for t in range(20 + away)]
    tracks = [one.track for one in completed_rows(rows, [0] * len(rows), 0.5, 0)]
    assert tracks[:8] == [1] * 8 and tracks[12 : 8 + away] == [None] * (away - 4) and tracks[-8:] == [2] * 8


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.floats(0, 1)), max_size=20), st.integers(0, 3))
def test_shots_are_completed_each_as_if_alone_but_for_the_numbers_of_tracks(frames, radius):
    frames = sorted(frames, key=lambda one: one[0])
    rows = [row(t, 7.0 * t, presence, box=box) for t, (_, box, presence) in enumerate(frames)]
    shots = [shot for shot, _, _ in frames]
    done = completed_rows(rows, shots, 0.5, radius)
    for shot in set(shots):
        at = [t for t, number in enumerate(shots) if number == shot]
        alone = completed_rows([rows[t] for t in at], [0] * len(at), 0.5, radius)
        assert [done[t]._replace(track=None) for t in at] == [one._replace(track=None) for one in alone]
    tracks = [one.track for one in done if one.track]
    assert tracks == sorted(tracks) and set(tracks) == set(range(1, max(tracks, default=0) + 1))
