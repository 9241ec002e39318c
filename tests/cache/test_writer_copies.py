"""Tests of copying a cache into a folder: the way back from a file."""

import pytest

from tcam_cache.cache import CamCache
from tcam_cache.errors import CacheError


def test_a_cache_that_went_through_a_file_has_the_same_bytes(cache, tmp_path, tree):
    cache.to_h5(tmp_path / "x.h5")
    CamCache.open(tmp_path / "x.h5").to_zarr(tmp_path / "back")
    assert tree(tmp_path / "back") == tree(cache.path)


def test_an_incomplete_one_stays_so_and_can_be_built_on(path, plan, build_all, tmp_path, tree):
    build_all(path, plan, limit=2)
    CamCache.open(path).to_h5(tmp_path / "x.h5")
    CamCache.open(tmp_path / "x.h5").to_zarr(tmp_path / "back")
    assert CamCache.open(tmp_path / "back").missing() == CamCache.open(path).missing()
    for folder in (path, tmp_path / "back"):
        build_all(folder, plan)
    assert tree(tmp_path / "back") == tree(path)


def test_it_resumes_and_mixes_with_nothing_else(cache, plan, plan_of, build_all, tmp_path):
    build_all(tmp_path / "begun", plan, {"classifier.pt": b"weights"}, limit=1)
    cache.to_zarr(tmp_path / "begun")
    assert CamCache.open(tmp_path / "begun").digest() == cache.digest()
    build_all(tmp_path / "other", plan_of(method="cam"), limit=1)
    with pytest.raises(CacheError, match="method: layercam, not cam"):
        cache.to_zarr(tmp_path / "other")
