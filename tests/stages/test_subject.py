"""Tests of what an evaluation is about: which CAMs are shown beside a map."""

import shutil

import numpy as np
import pytest

from tcam_cache.cache import CamCache
from tcam_cache.datasets import frame_source, read_manifest
from tcam_cache.stages.subject import find_subject
from tcam_cache.stages.train_decoder import train_decoder

SHOT, FRAME = "bird/0001/001", 3


@pytest.fixture
def subject_of(evaluate_config, small_manifest):
    """Return a function that finds what an evaluation with given options is about."""
    manifest = read_manifest(small_manifest)
    return lambda **given: find_subject(evaluate_config(**given), manifest, frame_source(manifest), 0)[0]


def test_a_cache_shows_the_cam_that_it_scores_alone(subject_of, small_cache):
    cam, temporal = subject_of(cache=small_cache).cams_of(SHOT, FRAME)
    np.testing.assert_array_equal(cam, CamCache.open(small_cache).window(SHOT, FRAME, 0)[0])
    assert temporal is None


def test_a_run_shows_the_cams_it_learned_from_and_their_maximum_over_its_window(
    subject_of, decoder_config, small_cache
):
    train_decoder(decoder_config(neighbours=2))
    cam, temporal = subject_of(run=decoder_config().out).cams_of(SHOT, FRAME)
    window = CamCache.open(small_cache).window(SHOT, FRAME, 2)
    assert len(window) == 3
    np.testing.assert_array_equal(cam, window[-1])
    np.testing.assert_array_equal(temporal, window.max(0))


def test_a_run_whose_cache_is_gone_shows_no_cam(subject_of, decoder_config, small_cache, tmp_path):
    cache = shutil.copytree(small_cache, tmp_path / "cache")
    train_decoder(decoder_config(cache=cache))
    shutil.rmtree(cache)
    assert subject_of(run=decoder_config().out).cams_of(SHOT, FRAME) == (None, None)
