import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcam_cache.datasets.layouts.videos import LEAST_CHANGE, find_cuts


def steps(*levels):
    """Return grey thumbnails of these levels."""
    return np.array(levels, np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)


def test_a_still_picture_has_no_cut():
    assert find_cuts(steps(*[90] * 20)) == []


def test_a_lasting_change_is_a_cut_at_its_first_frame():
    assert find_cuts(steps(*[90] * 5, *[140] * 5, *[10] * 5)) == [5, 10]


def test_a_change_below_the_least_is_no_cut_and_one_at_it_is():
    assert find_cuts(steps(*[90] * 5, *[90 + int(LEAST_CHANGE) - 1] * 5)) == []
    assert find_cuts(steps(*[90] * 5, *[90 + int(LEAST_CHANGE)] * 5)) == [5]


def test_a_flash_of_one_frame_is_no_cut():
    assert find_cuts(steps(*[90] * 5, 255, *[90] * 5)) == []


def test_steady_fast_motion_is_not_cut():
    assert find_cuts(steps(*range(0, 250, 20))) == []


def test_a_cut_amid_motion_is_found():
    assert find_cuts(steps(*range(0, 50, 5), *range(200, 250, 5))) == [10]


def test_a_cut_to_the_last_frame_is_found():
    assert find_cuts(steps(90, 90, 90, 200)) == [3]


@pytest.mark.parametrize("count", [0, 1])
def test_a_video_without_a_second_frame_has_no_cut(count):
    assert find_cuts(steps(*[9] * count).reshape(count, 4, 4, 3)) == []


@given(st.lists(st.integers(8, 20), min_size=1, max_size=5), st.integers(0, 999))
def test_scenes_put_together_are_cut_where_they_meet(lengths, seed):
    rng = np.random.default_rng(seed)
    scenes = []
    for length in lengths:
        still = rng.integers(0, 256, (32, 32, 3))
        scenes.append((still + rng.integers(-6, 7, (length, 1, 1, 1))).clip(0, 255).astype(np.uint8))
    assert find_cuts(np.concatenate(scenes)) == np.cumsum(lengths)[:-1].tolist()
