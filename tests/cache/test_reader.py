"""Tests of reading a cache."""

import json
import os
import pickle
import subprocess
import sys
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcam_cache.cache import CamCache, CamWriter
from tcam_cache.cache.storage.folder import FolderObjects
from tcam_cache.errors import CacheError
from tcam_cache.window import MODES, window_indices

lengths = st.lists(st.sampled_from([1, 2, 3, 127, 128, 129, 257]), min_size=1, max_size=5)
sizes = st.sampled_from([(1, 1), (7, 7), (3, 5), (60, 90), (200, 400)])


@settings(max_examples=12)
@given(lengths=lengths, map_size=sizes, data=st.data())
def test_what_is_written_is_read_back_and_windows_are_slices(
    plan_of, cams_of, build_all, lengths, map_size, data
):
    if map_size == (200, 400):
        lengths = [min(length, 3) for length in lengths]
    plan = plan_of(lengths, map_size)
    with tempfile.TemporaryDirectory() as folder:
        build_all(folder, plan)
        cache = CamCache.open(folder)
        packed = cache.pack()
        for shot in plan.shots:
            given = cams_of(shot, map_size)
            assert np.array_equal(cache.cams(shot.id), given.cams.astype(np.float32))
            assert np.array_equal(packed.cams(shot.id), given.cams.astype(np.float32))
            t = data.draw(st.integers(0, len(shot) - 1))
            n, mode = data.draw(st.integers(0, 140)), data.draw(st.sampled_from(MODES))
            window = given.cams[list(window_indices(t, n, len(shot), mode))]
            for source in (cache, packed):
                read = source.window(shot.id, t, n, mode)
                assert read.dtype == np.float32
                assert np.array_equal(read, window.astype(np.float32))


def test_the_statistics_of_every_frame_come_back(cache, plan, cams_of):
    for shot in plan.shots:
        given, read = cams_of(shot), cache.stats(shot.id)
        for name in ("raw_min", "raw_max", "flat", "logits"):
            assert np.array_equal(getattr(read, name), getattr(given, name))
            assert getattr(read, name).dtype == getattr(given, name).dtype


def test_a_cache_tells_what_it_was_made_from(cache, plan):
    assert cache.classes == plan.classes
    assert cache.map_size == (4, 6)
    assert cache.fingerprint == plan.fingerprint
    assert cache.settings == plan.settings
    assert cache.recorded == {"host": "here"}
    assert cache.attachment("classifier.pt") == b"weights"


def test_settings_of_tuples_read_back_as_lists_and_still_resume(path, plan_of):
    plan = plan_of(mean=(0.5, 0.5))
    CamWriter.create(path, plan)
    assert CamCache.open(path).settings["mean"] == [0.5, 0.5]
    CamWriter.create(path, plan)


def test_a_file_that_was_not_attached_is_a_named_error(cache):
    with pytest.raises(CacheError, match=r"no file 'manifest.jsonl'") as caught:
        cache.attachment("manifest.jsonl")
    assert caught.value.offenders == ("classifier.pt",)


def test_shots_show_themselves_as_a_table(path, plan, build_all):
    build_all(path, plan, limit=3)
    assert repr(CamCache.open(path).shots()).splitlines() == [
        "shot           tag   split  frames  state",
        "bird/0000/001  bird  train       5  complete",
        "boat/0001/001  boat  val         1  complete",
        "cat/0002/001   cat   test      130  complete",
        "bird/0003/001  bird  train     128  not finished",
    ]


def test_a_long_table_is_cut(path, plan_of):
    CamWriter.create(path, plan_of((1,) * 1234))
    shown = repr(CamCache.open(path).shots()).splitlines()
    assert len(shown) == 22
    assert shown[-1] == "... and 1,214 more"


def test_an_unfinished_shot_does_not_exist_for_a_reader(path, plan, build_all):
    build_all(path, plan, limit=3)
    cache, last = CamCache.open(path), plan.shots[-1].id
    assert cache.missing() == (last,)
    assert not cache.shot(last).complete
    for read in (cache.cams, cache.stats, lambda shot: cache.window(shot, 0, 1), cache.pack().cams):
        with pytest.raises(CacheError, match=last):
            read(last)


def test_a_shot_finished_after_opening_is_seen(path, plan, build_all):
    build_all(path, plan, limit=3)
    cache = CamCache.open(path)
    assert len(cache.missing()) == 1
    build_all(path, plan)
    assert cache.missing() == ()
    assert len(cache.cams(plan.shots[-1].id)) == 128


def test_an_incomplete_cache_is_refused_with_its_missing_shots_listed(path, plan, build_all):
    build_all(path, plan, limit=2)
    cache, missing = CamCache.open(path), tuple(shot.id for shot in plan.shots[2:])
    with pytest.raises(CacheError, match="tcam-cache build") as caught:
        cache.require_complete()
    assert caught.value.offenders == missing
    with pytest.raises(CacheError) as caught:
        cache.require_complete([plan.shots[0].id, missing[0]])
    assert caught.value.offenders == missing[:1]
    cache.require_complete([plan.shots[0].id])


def test_shots_of_another_manifest_are_refused_by_name(cache):
    with pytest.raises(CacheError, match="another manifest") as caught:
        cache.require_complete(["bird/0000/001", "dog/2", "dog/1"])
    assert caught.value.offenders == ("dog/1", "dog/2")


def test_a_frame_outside_its_shot_is_an_index_error(cache):
    for source in (cache, cache.pack()):
        with pytest.raises(IndexError, match="frame 5 is outside"):
            source.window("bird/0000/001", 5, 1)


def test_a_missing_folder_and_one_that_is_something_else_are_named(path):
    with pytest.raises(CacheError, match="no folder"):
        CamCache.open(path)
    path.mkdir()
    with pytest.raises(CacheError, match="not a CAM cache"):
        CamCache.open(path)


def test_a_newer_format_is_refused_by_its_version(cache):
    marker = json.loads((cache.path / "cache.json").read_text())
    (cache.path / "cache.json").write_text(json.dumps(marker | {"format_version": 2, "new": 1}))
    with pytest.raises(CacheError, match="format version 2"):
        CamCache.open(cache.path)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", "{}", '{"format": "tcam_cache"}', '{"format": "tcam_cache", "format_version": 1}'],
)
def test_a_damaged_marker_is_a_named_error_for_reader_and_writer(cache, plan, text):
    (cache.path / "cache.json").write_text(text)
    with pytest.raises(CacheError, match=r"cache.json is damaged"):
        CamCache.open(cache.path)
    with pytest.raises(CacheError, match=r"cache.json is damaged"):
        CamWriter.create(cache.path, plan)


def test_another_programs_marker_is_refused(path, plan):
    path.mkdir()
    (path / "cache.json").write_text('{"format": "pip", "format_version": 1}')
    with pytest.raises(CacheError, match="'pip'"):
        CamWriter.create(path, plan)


def test_opening_reads_nothing_but_the_marker(cache, monkeypatch):
    read = []
    get = FolderObjects.get
    monkeypatch.setattr(FolderObjects, "get", lambda self, name: read.append(name) or get(self, name))
    monkeypatch.setattr(FolderObjects, "zarr_store", None)
    CamCache.open(cache.path)
    assert read == ["cache.json"]


def test_reading_a_cache_loads_no_torch(cache):
    code = (
        "import sys; from tcam_cache import CamCache, cam_tmp; cache = CamCache.open(sys.argv[1]);"
        "cam_tmp(cache.window('bird/0000/001', t=2, n=1)); cache.shots(); cache.pack(); cache.info();"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code, str(cache.path)], check=True, timeout=60)


def test_a_reader_opened_by_a_relative_path_survives_a_change_of_folder(cache, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(cache.path.parent)
    relative = CamCache.open(cache.path.name)
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert len(relative.cams("bird/0000/001")) == 5


def test_a_reader_and_a_pack_can_be_carried_to_another_process(cache):
    want = cache.window("cat/0002/001", 129, 3)
    for source in (cache, cache.pack()):
        source.window("cat/0002/001", 0, 0)
        carried = pickle.dumps(source)
        assert len(carried) < 2000
        assert np.array_equal(pickle.loads(carried).window("cat/0002/001", 129, 3), want)


def test_many_threads_read_the_same_cache(cache, plan, cams_of):
    def same(shot):
        return np.array_equal(cache.cams(shot.id), cams_of(shot).cams)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(same, plan.shots * 10))


def test_forked_workers_read_what_their_parent_has_open(cache):
    packed = cache.pack()
    want = [source.window("cat/0002/001", 129, 3).sum() for source in (cache, packed)]
    workers = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for _ in range(3):
            workers.append(os.fork())
            if not workers[-1]:
                read = [source.window("cat/0002/001", 129, 3).sum() for source in (cache, packed)]
                os._exit(0 if read == want else 1)
    assert [os.waitpid(worker, 0)[1] for worker in workers] == [0, 0, 0]


def test_xarray_opens_the_arrays_by_name_without_a_warning(cache, plan, cams_of):
    xarray = pytest.importorskip("xarray")
    with xarray.open_zarr(cache.path / "cams.zarr") as dataset:
        assert dataset["cam"].dims == ("frame", "y", "x")
        assert dataset["frame_stats"].sel(stat="logit:cat").dims == ("frame",)
        assert dataset["y"].values.tolist() == [0.125, 0.375, 0.625, 0.875]
        assert dataset["class"].values.tolist() == list(plan.classes)
        shot = plan.shots[2]
        row = dataset.sel(shot=shot.id)
        start, length = int(row["shot_start"]), int(row["row_size"])
        maps = dataset["cam"].isel(frame=slice(start, start + length)).values
        assert np.array_equal(maps, cams_of(shot).cams)
        assert plan.classes[int(row["label"])] == shot.tag
        assert dataset.attrs["tcam_cache"]["fingerprint"] == plan.fingerprint
        # Rows between two shots fill their chunks, and say so.
        filled = dataset.isel(frame=dataset["frame_stats"].sel(stat="flat", drop=True).notnull().compute())
        assert filled.sizes["frame"] == sum(map(len, plan.shots)) < dataset.sizes["frame"]


def test_the_digest_follows_what_is_finished(tmp_path, plan, build_all):
    digests = []
    for limit in (1, 4):
        build_all(tmp_path / "a", plan, limit=limit)
        build_all(tmp_path / "b", plan, limit=limit)
        digests.append({CamCache.open(tmp_path / name).digest() for name in "ab"})
    assert [len(pair) for pair in digests] == [1, 1]
    assert digests[0] != digests[1]


def test_the_path_of_a_cache_is_absolute_and_its_repr_names_it(cache):
    assert cache.path.is_absolute()
    assert repr(cache) == f"CamCache({str(Path(cache.path))!r}, 3 classes, 4x6 maps)"
