"""Tests of caches of maps averaged over sizes and mirror images."""

import logging

import numpy as np
import pytest

from tcam_cache.cache import CamCache
from tcam_cache.errors import CacheError, ConfigError
from tcam_cache.stages.build import build_cache


def test_maps_of_several_sizes_are_stored_at_the_finest_resolution_and_told_apart(build_config, small_cache):
    build_cache(build_config(scales="1,1.5", flip=True))
    ours, plain = CamCache.open(build_config().out), CamCache.open(small_cache)
    assert ours.settings["scales"] == {"sides": [64, 96], "flip": True}
    assert ours.settings["input"]["size"] == 96 and ours.map_size == (11, 11)
    assert ours.fingerprint != plain.fingerprint and "scales" not in plain.settings
    for shot in ours.shots():
        cams = ours.cams(shot.id)
        assert np.isfinite(cams).all() and cams.max() == 1
    with pytest.raises(CacheError) as caught:
        build_cache(build_config(scales="1,1.5"))
    assert "scales.flip: False, not True" in caught.value.offenders


def test_a_mirror_image_alone_is_averaged_in_at_the_frame_s_own_size(build_config):
    build_cache(build_config(flip=True, shard="0/4"))
    assert CamCache.open(build_config().out).settings["scales"] == {"sides": [64], "flip": True}


def test_one_scale_without_mirrors_is_what_it_was(build_config, small_cache, same_arrays):
    build_cache(build_config(scales="1"))
    assert CamCache.open(build_config().out).fingerprint == CamCache.open(small_cache).fingerprint
    same_arrays(build_config().out, small_cache)


def test_a_dry_run_says_the_cost_of_all_sizes(build_config, caplog):
    with caplog.at_level(logging.INFO):
        report = build_cache(build_config(scales="1,1.5", flip=True, dry_run=True))
    assert (
        "frames of 64, 96 pixels and their mirror images: 6.5 times the work of 64 pixels alone"
        in caplog.text
    )
    assert report.bytes == 35 * (2 * 11 * 11 + 4 * 6) and not build_config().out.exists()


@pytest.mark.parametrize("scales", ["", "a", "1,1", "0", "-1,1", "nan", "inf", "1;2", "11"])
def test_scales_that_are_none_are_refused(build_config, scales):
    with pytest.raises(ConfigError, match=r"expected different numbers from 0\.1 to 10 by commas"):
        build_config(scales=scales)


def test_a_scale_with_too_few_cells_is_refused_before_anything_is_written(build_config, caplog):
    with (
        caplog.at_level(logging.INFO),
        pytest.raises(ConfigError, match=r"3 x 3 cells.*Scales of 1 or more work\. Leave the smallest"),
    ):
        build_cache(build_config(scales="0.1,1"))
    assert "times the work" not in caplog.text
    assert not build_config().out.exists()


def test_scales_mean_nothing_with_a_run(build_config, small_run):
    with pytest.raises(ConfigError) as caught:
        build_config(classifier=None, image_size=None, run=small_run, scales="1,2", flip=True)
    assert caught.value.offenders == ("--scales: got 1,2", "--flip: got True")
