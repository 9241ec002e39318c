"""Tests of what makes a box sure: hand-worked overlaps, neighbours and mass, and their bounds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tcam_cache.evaluation import iou
from tcam_cache.inference.confidence import frame_confidence, overlaps
from tcam_cache.inference.maps import FrameMap
from tcam_cache.records import Box, Shot

NONE = [np.nan] * 4


@st.composite
def box_pairs(draw):
    corners = draw(arrays(np.float64, (2, 2, 2), elements=st.integers(0, 9), unique=False))
    low, high = corners.min(1), corners.max(1) + 1
    return np.concatenate([low, high], 1)


@given(box_pairs())
def test_overlaps_are_those_of_the_evaluation(pair):
    expected = iou(pair[:1].astype(np.float32), pair[1:].astype(np.float32))
    assert overlaps(pair[:1], pair[1:]) == pytest.approx(np.ravel(expected), abs=1e-6)


def test_a_missing_box_overlaps_nothing():
    boxes = np.array([[0, 0, 2, 2], NONE])
    assert overlaps(boxes, boxes).tolist() == [1, 0]


def blob(side, low=0.0):
    scores = np.full((56, 56), low, np.float32)
    scores[10 : 10 + side, 10 : 10 + side] = 1.0
    return scores


def test_a_compact_map_on_which_decoder_and_cam_agree_is_sure_and_one_without_a_box_says_nothing():
    shot = Shot("new", "", "new", "test", ".", ("1.jpg",))
    item = FrameMap(shot, 0, blob(20), np.zeros(2, np.float32), 56, 56)
    assert frame_confidence(item, Box(10, 10, 30, 30)) == 1.0
    assert frame_confidence(item, None) is None
    parts = (("decoder", blob(20)), ("CAM", blob(10)))
    assert frame_confidence(item._replace(parts=parts), Box(10, 10, 30, 30)) == pytest.approx((1 + 0.25) / 2)
    loose = blob(20, low=0.5)
    assert frame_confidence(item._replace(scores=loose), Box(10, 10, 30, 30)) == pytest.approx(400 / 56**2)
