"""Tests of the mean of two sources' CAMs, by hand: equal sizes, unequal ones, and what comes after."""

import pickle
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from tcam_cache.config import FitConfig
from tcam_cache.errors import CacheError
from tcam_cache.records import Frame, Shot
from tcam_cache.training.mean_cams import MeanCams
from tcam_cache.training.samples import Draw, TrainingSamples
from tcam_cache.window import cam_tmp, window_indices

SHOT = Shot("cat/1", "cat", "cat/1", "train", "cat/1", ("1.jpg", "2.jpg", "3.jpg"))


@dataclass
class Listed:
    """CAMs of one shot, (T, h, w), held in memory."""

    maps: np.ndarray

    def window(self, shot_id, t, n, mode="before"):
        if shot_id != SHOT.id:
            raise CacheError(f"there is no shot {shot_id!r}.")
        return self.maps[list(window_indices(t, n, len(self.maps), mode))]


class Black:
    def read(self, shot, t, size=None):
        return Frame(np.zeros((size, size, 3), np.uint8), size, size)


def listed(*maps):
    return Listed(np.array(maps, np.float32))


# Two sources of three frames that know different halves of the object, one frame of the second being flat.
FIRST = listed([[1.0, 0.0]], [[0.0, 1.0]], [[0.5, 1.0]])
SECOND = listed([[0.0, 1.0]], [[0.25, 1.0]], [[0.0, 0.0]])
MEAN = [[[0.5, 0.5]], [[0.125, 1.0]], [[0.25, 0.5]]]


@pytest.mark.parametrize("mode", ["before", "after", "both"])
@pytest.mark.parametrize("n", [0, 1, 5])
@pytest.mark.parametrize("t", range(3))
def test_each_frame_is_the_mean_of_its_two_cams(t, n, mode):
    found = MeanCams(FIRST, SECOND).window(SHOT.id, t, n, mode)
    assert found.dtype == np.float32
    assert found.tolist() == [MEAN[time] for time in window_indices(t, n, 3, mode)]


@pytest.mark.parametrize("swapped", [False, True])
def test_the_coarser_of_the_two_is_resized_to_the_finer(swapped):
    coarse, fine = listed([[0.0, 1.0]]), listed([[1.0, 1.0, 0.0, 0.0]] * 2)
    pair = (fine, coarse) if swapped else (coarse, fine)
    # Pixel centres of the finer map lie at 1/8, 3/8, 5/8, 7/8, of the coarser at 1/4 and 3/4.
    expected = [[(0 + 1) / 2, (0.25 + 1) / 2, 0.75 / 2, 1 / 2]] * 2
    assert MeanCams(*pair).window(SHOT.id, 0, 0).tolist() == [expected]


def test_cam_tmp_takes_the_maximum_of_the_means_and_not_the_mean_of_the_maxima():
    window = MeanCams(FIRST, SECOND).window(SHOT.id, 1, 1)
    assert cam_tmp(window).tolist() == [[0.5, 1.0]]
    maxima = (cam_tmp(FIRST.window(SHOT.id, 1, 1)) + cam_tmp(SECOND.window(SHOT.id, 1, 1))) / 2
    assert maxima.tolist() == [[0.625, 1.0]]


def test_training_samples_hold_the_cam_tmp_of_the_mean():
    config = FitConfig(manifest="m", image_size=32)
    samples = TrainingSamples([SHOT], {"cat": 0}, Black(), config, MeanCams(FIRST, SECOND), neighbours=1)
    expected = interpolate(torch.tensor([[[[0.5, 1.0]]]]), (37, 37), mode="bilinear")[0, 0]
    cam = samples[Draw(0, 1, seed=3, clip=3)].cam
    crops = [expected.unfold(1, 32, 1)[y, x] for y in range(6) for x in range(6)]
    assert any(torch.equal(cam[0], row) or torch.equal(cam[0], row.flip(0)) for row in crops)


def test_it_travels_to_a_worker_and_is_the_same_there():
    cams = MeanCams(FIRST, SECOND)
    there = pickle.loads(pickle.dumps(cams))
    assert np.array_equal(there.window(SHOT.id, 2, 2), cams.window(SHOT.id, 2, 2))


def test_a_shot_that_a_source_does_not_have_is_its_error():
    with pytest.raises(CacheError, match="'dog/1'"):
        MeanCams(FIRST, SECOND).window("dog/1", 0, 0)
