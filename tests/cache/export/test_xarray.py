"""Tests of a cache as an xarray dataset."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from tcam_cache.cache import CamCache, CamWriter
from tcam_cache.errors import CacheError, ExtraError

pytest.importorskip("xarray")


def test_axes_are_named_and_every_number_is_there_without_padding(cache, plan, cams_of):
    dataset = cache.to_xarray()
    assert dict(dataset.sizes) == {"frame": 264, "y": 4, "x": 6, "class": 3}
    assert dataset["cam"].dims == ("frame", "y", "x") and dataset["logits"].dims == ("frame", "class")
    assert not dataset["cam"].isnull().any()
    assert dataset["y"].values.tolist() == [0.125, 0.375, 0.625, 0.875]
    assert dataset["class"].values.tolist() == list(plan.classes)
    for shot in plan.shots:
        of_shot, given = dataset.isel(frame=dataset["shot"] == shot.id), cams_of(shot)
        assert np.array_equal(of_shot["cam"], given.cams)
        for name in ("raw_min", "raw_max", "flat", "logits"):
            assert np.array_equal(of_shot[name], getattr(given, name))
            assert of_shot[name].dtype == getattr(given, name).dtype
        assert of_shot["t"].values.tolist() == list(range(len(shot)))
        for name in ("tag", "video", "split"):
            assert set(of_shot[name].values.tolist()) == {getattr(shot, name)}
    assert dataset.attrs["fingerprint"] == cache.fingerprint


def test_a_logit_is_found_by_its_class_and_frames_are_grouped_by_tag(cache, plan, cams_of):
    dataset = cache.to_xarray()
    assert np.array_equal(dataset["logits"].sel({"class": "cat"})[5], cams_of(plan.shots[1]).logits[0, 2])
    assert dataset["flat"].groupby("tag").sum().to_series().to_dict() == {"bird": 2, "boat": 0, "cat": 1}


def test_only_finished_shots_are_in_it(path, plan, build_all):
    build_all(path, plan, limit=2)
    dataset = CamCache.open(path).to_xarray()
    assert dataset.sizes["frame"] == 6 and set(dataset["shot"].values) == {"bird/0000/001", "boat/0001/001"}


def test_maps_stay_on_disk_until_they_are_looked_at(cache):
    maps = cache.to_xarray()["cam"].variable._data
    assert not maps.flags.owndata and not maps.flags.writeable


def test_an_exported_file_gives_the_same_dataset(cache, tmp_path):
    cache.to_h5(tmp_path / "x.h5")
    assert CamCache.open(tmp_path / "x.h5").to_xarray().identical(cache.to_xarray())


def test_file_names_are_a_coordinate_where_they_are_known(cache, plan):
    files = {shot.id: shot.frames for shot in plan.shots}
    dataset = cache.to_xarray(files)
    assert dataset["file"].values[:6].tolist() == [*plan.shots[0].frames, *plan.shots[1].frames]
    assert "file" not in cache.to_xarray().coords
    with pytest.raises(CacheError, match="not those of this cache") as caught:
        cache.to_xarray({**files, "boat/0001/001": ()})
    assert caught.value.offenders == ("boat/0001/001: 0 file names, 1 frames",)


def test_without_xarray_the_extra_is_named(cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(ExtraError, match=r"tcam-cache\[xarray\]"):
        cache.to_xarray()


def test_a_cache_without_logits_has_no_such_variable(path, plan_of, cams_of):
    plan = plan_of((5,), logits=False)
    given = replace(cams_of(plan.shots[0]), logits=np.zeros((5, 0), np.float32))
    CamWriter.create(path, plan).write(plan.shots[0].id, given)
    assert set(CamCache.open(path).to_xarray().data_vars) == {"cam", "raw_min", "raw_max", "flat"}
