"""Tests of presence through time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tcam_cache.errors import ConfigError
from tcam_cache.inference.presence import SUREST, presence_over

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
