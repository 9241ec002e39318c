"""Tests of boxes through time: what labelling tools show between their key frames."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tcam_cache.datasets.formats.tracks import KeyBox, boxes_through_time

FIRST, SECOND = (0.0, 0.0, 4.0, 4.0), (8.0, 4.0, 12.0, 8.0)


def test_between_key_frames_corners_move_in_straight_lines():
    found = dict(boxes_through_time([KeyBox(0, FIRST), KeyBox(4, SECOND)]))
    assert list(found) == [0, 1, 2, 3, 4]
    assert tuple(found[1]) == (2, 1, 6, 5) and tuple(found[3]) == (6, 3, 10, 7)


def test_an_object_that_left_is_not_there_until_it_comes_back():
    keys = [KeyBox(1, FIRST), KeyBox(3, FIRST, shown=False, lasts=False), KeyBox(6, SECOND)]
    found = dict(boxes_through_time(keys, end=8))
    assert list(found) == [1, 2, 6, 7] and tuple(found[2]) == FIRST and tuple(found[7]) == SECOND


def test_without_an_end_the_last_key_frame_is_the_last():
    assert [frame for frame, _ in boxes_through_time([KeyBox(5, FIRST)])] == [5]
    assert list(boxes_through_time([])) == []


@given(st.lists(st.integers(0, 30), unique=True, min_size=1), st.integers(31, 40))
def test_every_frame_from_the_first_key_on_has_the_box_of_a_line(frames, end):
    keys = [KeyBox(frame, [frame**2, 0, frame**2 + 1, 1]) for frame in frames]
    found = dict(boxes_through_time(keys, end))
    assert sorted(found) == list(range(min(frames), end))
    ordered = sorted(frames)
    lines = np.interp(list(found), ordered, [frame**2 for frame in ordered])
    np.testing.assert_allclose([corners[0] for corners in found.values()], lines, atol=1e-9)
