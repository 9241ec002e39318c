"""Tests of a cache that lies in memory:// as any other would in a store elsewhere."""

import errno
import gc
import logging
import os
import pickle

import numpy as np
import pytest

from tcam_cache.cache import CamCache, CamWriter
from tcam_cache.cache.storage.remote import RemoteObjects
from tcam_cache.errors import CacheError, StorageError

ATTACHED = {"classifier.pt": b"weights"}


def contents_of(url):
    """Return the bytes of every object below a URL by name."""
    fsspec = pytest.importorskip("fsspec.core")
    system, root = fsspec.url_to_fs(url)
    return {name.removeprefix(f"{root}/"): system.cat_file(name) for name in system.find(root)}


def test_it_holds_the_same_objects_as_a_folder(url, path, plan, build_all, tree):
    build_all(url, plan, ATTACHED)
    build_all(path, plan, ATTACHED)
    assert contents_of(url) == tree(path)


def test_it_reads_back_what_was_written(url, plan, build_all, cams_of):
    build_all(url, plan, ATTACHED)
    cache = CamCache.open(url + "/")
    for shot in plan.shots:
        assert np.array_equal(cache.cams(shot.id), cams_of(shot).cams)
        assert np.array_equal(cache.stats(shot.id).logits, cams_of(shot).logits)
    assert cache.path == url and url in repr(cache)
    assert cache.attachment("classifier.pt") == b"weights"
    assert (cache.info().path, cache.info().files) == (url, len(contents_of(url)))
    assert cache.verify() == ()


def test_an_interrupted_build_goes_on_where_it_stopped(url, plan, build_all):
    for done in range(len(plan.shots)):
        assert len(build_all(url, plan, ATTACHED, limit=1).pending()) == len(plan.shots) - done - 1
    whole = url + "-in-a-go"
    build_all(whole, plan, ATTACHED)
    assert contents_of(url) == contents_of(whole)


def test_a_shot_that_another_writer_finished_after_opening_is_seen(url, plan, build_all):
    build_all(url, plan, limit=3)
    cache = CamCache.open(url)
    assert len(cache.missing()) == 1
    build_all(url, plan)
    assert cache.missing() == ()


def test_a_place_with_something_else_is_refused_and_kept(url, plan):
    RemoteObjects(url).put("holiday.jpg", b"")
    with pytest.raises(CacheError, match=rf"{url} holds something else"):
        CamWriter.create(url, plan)
    with pytest.raises(CacheError, match=rf"{url} is not a CAM cache"):
        CamCache.open(url)
    with pytest.raises(CacheError, match=rf"{url}/holiday.jpg is a file"):
        CamWriter.create(f"{url}/holiday.jpg", plan)
    assert contents_of(url) == {"holiday.jpg": b""}


def test_a_place_with_nothing_is_named(url):
    with pytest.raises(CacheError, match=rf"there is no folder {url}\. Make a cache"):
        CamCache.open(url)


def test_other_settings_are_refused_by_name(url, plan, plan_of, build_all):
    build_all(url, plan, limit=1)
    before = contents_of(url)
    with pytest.raises(CacheError, match=rf"{url} holds a cache made with other settings") as caught:
        CamWriter.create(url, plan_of(method="gradcam"))
    assert caught.value.offenders == ("method: gradcam, not layercam",)
    assert contents_of(url) == before


def test_it_can_be_carried_by_reader_writer_and_pack(url, plan, build_all, cams_of):
    writer, (first, second, *_) = pickle.loads(pickle.dumps(build_all(url, plan, limit=1))), plan.shots
    writer.write(second.id, cams_of(second))
    cache = pickle.loads(pickle.dumps(CamCache.open(url)))
    for source in (cache, pickle.loads(pickle.dumps(cache.pack()))):
        for shot in (first, second):
            assert np.array_equal(source.cams(shot.id), cams_of(shot).cams)


def flip(data):
    return data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 4]) + data[len(data) // 2 + 1 :]


@pytest.mark.parametrize("damage", [None, flip, lambda data: data[:-7]], ids=["delete", "flip", "cut"])
@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("cams.zarr/cam/c.3.0.0", "cat/0002/001: "),
        ("cams.zarr/frame_stats/c.3.0", "cat/0002/001: "),
        ("cams.zarr/class/c.0", "cams.zarr/class: "),
        ("cams.zarr/shot/c.0", "cams.zarr: the index of shots"),
        ("classifier.pt", "classifier.pt: "),
    ],
)
def test_verify_finds_damage(url, plan, build_all, name, found, damage):
    build_all(url, plan, ATTACHED)
    system, root = pytest.importorskip("fsspec.core").url_to_fs(url)
    data = system.cat_file(f"{root}/{name}")
    system.rm_file(f"{root}/{name}")
    if damage:
        system.pipe_file(f"{root}/{name}", damage(data))
    (problem,) = CamCache.open(url).verify()
    assert problem.startswith(found)


def test_a_store_that_stops_answering_is_no_damage(url, plan, build_all, system):
    build_all(url, plan, ATTACHED)
    cache, real = CamCache.open(url), system.real.cat_file

    def lost(self, path, *args, **kwargs):
        if "/cam/c." in path:
            raise ConnectionError("connection reset")
        return real(self, path, *args, **kwargs)

    system.setattr("cat_file", lost)
    for read in (cache.verify, lambda: cache.cams(plan.shots[0].id)):
        with pytest.raises(StorageError, match=r"cannot read memory:.*cam/c\.0\.0\.0: connection reset"):
            read()


REFUSALS = [
    (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "No space left on device"),
    (PermissionError("Access Denied"), "no permission"),
]


@pytest.mark.parametrize(("error", "reason"), REFUSALS, ids=["full", "permission"])
def test_whichever_put_is_refused_a_storage_error_says_why_and_finished_shots_stay_good(
    url, plan_of, build_all, system, error, reason
):
    plan, real, left = plan_of((5, 129)), system.real.pipe_file, [10**6]

    def put(self, path, value, **kwargs):
        if left[0] == 0:
            raise error
        left[0] -= 1
        real(self, path, value, **kwargs)

    system.setattr("pipe_file", put)
    build_all(url, plan, ATTACHED)
    whole, puts = contents_of(url), 10**6 - left[0]
    assert puts == len(whole) > 25
    for k in [*range(0, puts - 7, 6), *range(puts - 7, puts)]:
        place = f"{url}-{k}"
        left[0] = k
        with pytest.raises(StorageError, match=rf"cannot write memory:/*some/cache-{k}/.*{reason}"):
            build_all(place, plan, ATTACHED)
        assert contents_of(place).items() <= whole.items()
        if "cache.json" in contents_of(place):
            cache = CamCache.open(place)
            assert cache.verify() == ()
            assert [shot.complete for shot in cache.shots()] == sorted(
                (shot.complete for shot in cache.shots()), reverse=True
            )
        left[0] = 10**6
        build_all(place, plan, ATTACHED)
        assert contents_of(place) == whole


def test_it_packs_into_a_folder_of_the_user_once_and_says_where(url, plan, build_all, tmp_path, caplog):
    caplog.set_level(logging.INFO, "tcam_cache")
    build_all(url, plan, ATTACHED)
    packed = CamCache.open(url).pack()
    assert tmp_path / "user/tcam_cache" in packed.path.parents
    assert f"the packed CAMs of {url} are in {packed.path}" in caplog.text
    made = packed.path.stat().st_mtime_ns
    again = CamCache.open(url)
    assert again.pack().path == packed.path and packed.path.stat().st_mtime_ns == made
    packed.path.write_bytes(flip(packed.path.read_bytes()))
    (problem,) = again.verify()
    assert problem.startswith(f"{packed.path}: differs from the cache")


def test_caches_of_the_same_shots_at_two_places_keep_their_own_packs(url, plan, build_all):
    for place in (url, f"{url}-2"):
        build_all(place, plan, limit=2)
    first, second = (CamCache.open(place).pack().path for place in (url, f"{url}-2"))
    gc.collect()
    build_all(url, plan)
    newer = CamCache.open(url).pack()
    assert list(first.parent.iterdir()) == [newer.path] != [first]
    assert second.exists()


def test_a_user_without_a_home_packs_into_a_temporary_folder(url, plan, build_all, monkeypatch, cams_of):
    build_all(url, plan, ATTACHED)
    monkeypatch.setattr(
        RemoteObjects, "derived", lambda self, folder: (_ for _ in ()).throw(StorageError("no"))
    )
    cache = CamCache.open(url)
    assert np.array_equal(cache.pack().cams(plan.shots[2].id), cams_of(plan.shots[2]).cams)
    assert cache.verify() == ()
