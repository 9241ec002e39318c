"""Tests of what makes a box sure: hand-worked overlaps, neighbours and mass, and their bounds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tcam_cache.evaluation import iou
from tcam_cache.inference.confidence import mass_inside, neighbour_agreement, overlaps

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


def test_a_box_apart_from_both_neighbours_is_agreed_on_by_none():
    boxes = np.array([[0, 0, 2, 2], [5, 5, 7, 7], [0, 0, 2, 2], [0, 0, 2, 2]])
    assert neighbour_agreement(boxes).tolist() == [0, 0, 0.5, 1]
    assert neighbour_agreement(boxes[:1]).tolist() == [1]


def test_mass_counts_cut_pixels_by_their_share():
    maps = np.ones((3, 2, 4))
    maps[2] = 0
    boxes = np.array([[0.5, 0, 2, 1], NONE, [0, 0, 4, 2]])
    assert mass_inside(maps, boxes).tolist() == [1.5 / 8, 0, 0]
