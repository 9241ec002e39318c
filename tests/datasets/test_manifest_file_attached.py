"""Tests of the manifest that a cache keeps."""

import pytest

from tcam_cache.cache import CamCache
from tcam_cache.datasets import read_manifest
from tcam_cache.datasets.manifest_file import attached_manifest, frame_names
from tcam_cache.errors import ManifestError


def test_it_is_the_one_the_cache_was_built_from(small_cache, small_manifest, small_data):
    kept = attached_manifest(CamCache.open(small_cache))
    assert kept == read_manifest(small_manifest) and kept.root == small_data


def test_another_root_may_be_given_and_one_that_is_not_there_is_named(small_cache, tmp_path):
    cache = CamCache.open(small_cache)
    assert attached_manifest(cache, tmp_path).root == tmp_path
    with pytest.raises(ManifestError, match="nowhere"):
        attached_manifest(cache, tmp_path / "nowhere")


def test_names_of_frames_are_known_without_the_data_set(small_cache):
    assert frame_names(CamCache.open(small_cache), "dog/0002") == tuple(
        f"frame{t:04d}.jpg" for t in (1, 2, 3)
    )
