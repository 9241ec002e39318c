import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tcam_cache.window import MODES, cam_tmp, window_indices


@st.composite
def places(draw):
    length = draw(st.integers(1, 60))
    return draw(st.integers(0, length - 1)), draw(st.integers(0, 70)), length


@given(places(), st.sampled_from(MODES))
def test_a_window_holds_the_frames_of_its_shot_within_n_on_the_sides_of_its_mode(place, mode):
    t, n, length = place
    sides = {"before": (-n, 0), "after": (0, n), "both": (-n, n)}[mode]
    by_definition = [i for i in range(length) if sides[0] <= i - t <= sides[1]]
    assert list(window_indices(t, n, length, mode)) == by_definition


@given(places())
def test_both_sides_are_the_windows_before_and_after_joined_at_t(place):
    before, after, both = (list(window_indices(*place, mode)) for mode in ("before", "after", "both"))
    assert before[-1] == after[0] == place[0]
    assert before + after[1:] == both


@given(places())
def test_after_is_before_seen_from_the_end_of_the_shot(place):
    t, n, length = place
    mirrored = [length - 1 - i for i in window_indices(length - 1 - t, n, length, "before")]
    assert mirrored[::-1] == list(window_indices(t, n, length, "after"))


def test_the_paper_takes_the_frame_and_the_one_before():
    assert list(window_indices(7, n=1, length=20)) == [6, 7]
    assert list(window_indices(0, n=1, length=20)) == [0]


@pytest.mark.parametrize("t", [-1, 4, 5])
def test_a_frame_outside_the_shot_is_refused(t):
    with pytest.raises(IndexError, match=rf"frame {t} is outside a shot of 4 frames"):
        window_indices(t, 1, 4)


@pytest.mark.parametrize(("n", "mode"), [(-1, "before"), (1, "around")])
def test_a_negative_n_or_an_unknown_mode_is_refused(n, mode):
    with pytest.raises(ValueError, match=rf"n = {n}, mode = '{mode}'.*before"):
        window_indices(2, n, 4, mode)


maps = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 4)),
    elements=st.floats(0, 1, width=32),
)


@settings(max_examples=50)
@given(maps)
def test_cam_tmp_is_the_maximum_through_time_for_arrays_and_tensors_alike(window):
    frames, height, width = window.shape
    expected = [[max(window[i, y, x] for i in range(frames)) for x in range(width)] for y in range(height)]
    assert np.array_equal(cam_tmp(window), expected)
    tensor = cam_tmp(torch.from_numpy(window))
    assert isinstance(tensor, torch.Tensor)
    assert np.array_equal(tensor.numpy(), expected)


@settings(max_examples=50)
@given(maps, st.randoms())
def test_cam_tmp_ignores_the_order_of_time_and_keeps_type_and_scale(window, random):
    shuffled = window[random.sample(range(len(window)), len(window))]
    assert np.array_equal(cam_tmp(shuffled), cam_tmp(window))
    assert cam_tmp(window).dtype == np.float32
    assert np.array_equal(cam_tmp(window / 2), cam_tmp(window) / 2), "renormalised"


def test_a_missing_map_is_not_hidden_by_its_neighbours():
    window = np.array([[[0.5]], [[np.nan]]])
    assert np.isnan(cam_tmp(window)).all()
    assert torch.isnan(cam_tmp(torch.from_numpy(window))).all()
