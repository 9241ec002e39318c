import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcam_cache.datasets.demo.motion import fixed_track, object_track, pan_path

FRAME = (240, 180)
SEEDS = st.integers(0, 2**32)


def boxes_of(track, sprite):
    cos, sin = np.abs(np.cos(track.angles)), np.abs(np.sin(track.angles))
    width = (sprite[0] * cos + sprite[1] * sin) * track.scales
    height = (sprite[0] * sin + sprite[1] * cos) * track.scales
    x, y = track.centres.T
    return np.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], axis=1)


@given(SEEDS, st.tuples(st.integers(20, 700), st.integers(20, 700)), st.integers(2, 30))
def test_an_object_stays_in_the_frame_but_for_a_small_overhang(seed, sprite, length):
    track = object_track(np.random.default_rng(seed), sprite, FRAME, length)
    boxes = boxes_of(track, sprite)
    assert (boxes[:, :2] >= -0.04 * np.array(FRAME)).all()
    assert (boxes[:, 2:] <= 1.04 * np.array(FRAME)).all()


@given(SEEDS)
def test_an_object_moves_smoothly(seed):
    track = object_track(np.random.default_rng(seed), (100, 100), FRAME, 10)
    steps = np.linalg.norm(np.diff(track.centres, axis=0), axis=1)
    assert steps.max() < 30
    assert np.abs(np.diff(steps)).max() < 6
    assert np.abs(np.diff(np.log(track.scales), n=2)).max() < 1e-9


def test_a_box_fixed_in_the_middle_finds_few_objects():
    tracks = [object_track(np.random.default_rng(seed), (300, 250), FRAME, 9) for seed in range(200)]
    boxes = np.concatenate([boxes_of(track, (300, 250)) for track in tracks])
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    for share in (0.3, 0.5, 0.7, 0.9):
        half = np.array(FRAME) * share / 2
        low = np.maximum(boxes[:, :2], np.array(FRAME) / 2 - half)
        high = np.minimum(boxes[:, 2:], np.array(FRAME) / 2 + half)
        overlap = (high - low).clip(0).prod(axis=1)
        iou = overlap / (area + (2 * half).prod() - overlap)
        assert (iou > 0.5).mean() < 0.2


def test_sizes_vary():
    tracks = [object_track(np.random.default_rng(seed), (300, 250), FRAME, 9) for seed in range(200)]
    shares = [
        (box[2] - box[0]) * (box[3] - box[1]) / 43200 for t in tracks for box in boxes_of(t, (300, 250))
    ]
    assert np.quantile(shares, 0.1) < 0.2
    assert np.quantile(shares, 0.9) > 0.35


@given(SEEDS, st.tuples(st.floats(0, 500), st.floats(0, 500)))
@settings(max_examples=50)
def test_the_camera_never_leaves_its_background(seed, slack):
    offsets = pan_path(np.random.default_rng(seed), np.array(slack), 10)
    assert (offsets >= 0).all()
    assert (offsets <= np.array(slack) + 1e-9).all()


@pytest.mark.parametrize("parallax", [1.0, 1.5])
def test_what_stands_still_moves_against_the_camera(parallax):
    pan = np.array([[0.0, 0.0], [2.0, 1.0], [4.0, 3.0]])
    track = fixed_track(np.array([50.0, 40.0]), 0.5, 0.1, pan, parallax)
    assert track.centres[1].tolist() == [50.0, 40.0]
    assert (track.centres[2] - track.centres[0]).tolist() == [-4.0 * parallax, -3.0 * parallax]
    assert track.scales.tolist() == [0.5] * 3
    assert track.angles.tolist() == [0.1] * 3
