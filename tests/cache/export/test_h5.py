"""Tests of writing a cache as one HDF5 file, and of reading that file as a cache."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcam_cache.cache import CamCache, CamWriter
from tcam_cache.errors import CacheError, ConfigError, StorageError

lengths = st.lists(st.sampled_from([1, 2, 31, 32, 33, 128, 129]), min_size=1, max_size=5)


def same(ours, theirs):
    """Make sure that two caches tell the same of everything but their place on disk."""
    for name in ("fingerprint", "classes", "map_size", "settings", "recorded"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert ours.digest() == theirs.digest()
    assert ours.shots() == theirs.shots() and ours.missing() == theirs.missing()
    for shot in theirs.shots():
        if shot.complete:
            assert np.array_equal(ours.cams(shot.id), theirs.cams(shot.id))
            for one, other in zip(
                vars(ours.stats(shot.id)).values(), vars(theirs.stats(shot.id)).values(), strict=True
            ):
                assert one.dtype == other.dtype and np.array_equal(one, other)


@settings(max_examples=12)
@given(lengths=lengths, map_size=st.sampled_from([(1, 1), (4, 6), (60, 90)]), data=st.data())
def test_the_round_trip_is_exact_complete_or_not(plan_of, build_all, lengths, map_size, data):
    plan = plan_of(lengths, map_size, mean=(0.5, 0.5))
    with tempfile.TemporaryDirectory() as folder:
        limit = data.draw(st.integers(1, len(lengths)))
        build_all(f"{folder}/cache", plan, {"classifier.pt": b"weights", "empty": b""}, limit=limit)
        cache, path = CamCache.open(f"{folder}/cache"), Path(folder, "x.h5")
        cache.to_h5(path)
        exported = CamCache.open(path)
        same(exported, cache)
        assert exported.attachment("classifier.pt") == b"weights" and exported.attachment("empty") == b""
        assert exported.verify() == ()
        again = Path(folder, "again.h5")
        exported.to_h5(again)
        same(CamCache.open(again), cache)


def test_shots_that_finished_in_any_order_leave_no_gap(path, plan, cams_of):
    writer = CamWriter.create(path, plan)
    for at in (3, 1):
        writer.write(plan.shots[at].id, cams_of(plan.shots[at]))
    cache = CamCache.open(path)
    cache.to_h5(path.parent / "x.h5")
    exported = CamCache.open(path.parent / "x.h5")
    same(exported, cache)
    with h5py.File(path.parent / "x.h5") as file:
        assert file["cam"].shape == (129, 4, 6) and not np.isnan(file["cam"]).any()
        assert file["shot_start"][:].tolist() == [0, 0, 1, 1]
    with pytest.raises(CacheError, match="'cat/0002/001' is not finished"):
        exported.cams("cat/0002/001")


def test_windows_and_the_pack_come_out_of_the_file(cache, tmp_path):
    cache.to_h5(tmp_path / "x.h5")
    exported = CamCache.open(tmp_path / "x.h5")
    want = cache.window("cat/0002/001", 129, 3)
    assert np.array_equal(exported.window("cat/0002/001", 129, 3), want)
    assert np.array_equal(exported.pack().window("cat/0002/001", 129, 3), want)
    assert [file.name for file in tmp_path.iterdir() if file.suffix == ".h5"] == ["x.h5"]


def test_another_program_finds_named_axes_index_and_provenance(cache, plan, cams_of, tmp_path):
    cache.to_h5(tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5") as file:
        assert [dim.label for dim in file["cam"].dims] == ["frame", "y", "x"]
        assert file["cam"].dtype == np.float16 and file["frame_stats"].dtype == np.float32
        names = file["shot"].asstr()[:].tolist()
        assert names == [shot.id for shot in plan.shots]
        at = names.index("cat/0002/001")
        rows = slice(file["shot_start"][at], file["shot_start"][at] + file["row_size"][at])
        assert np.array_equal(file["cam"][rows], cams_of(plan.shots[at]).cams)
        assert file["class"].asstr()[int(file["label"][at])] == "cat"
        assert file["stat"].asstr()[:4].tolist() == ["raw_min", "raw_max", "flat", "logit:bird"]
        assert file.attrs["fingerprint"] == cache.fingerprint and file.attrs["digest"] == cache.digest()
        assert (file.attrs["shots"], file.attrs["finished_shots"]) == (4, 4)
        assert file["settings"].attrs["method"] == "layercam" and file["recorded"].attrs["host"] == "here"
        assert "raw_min" in file.attrs["description"]
        assert json.loads(file["files/cache.json"][:].tobytes())["fingerprint"] == cache.fingerprint


def test_provenance_too_long_for_an_attribute_is_cut_there_and_whole_in_the_file(path, plan_of, build_all):
    build_all(path, plan_of((1,), classes=["c" * 100] * 1000))
    cache = CamCache.open(path)
    cache.to_h5(path.parent / "x.h5")
    assert CamCache.open(path.parent / "x.h5").settings == cache.settings


def test_nothing_finished_is_nothing_to_export(path, plan):
    CamWriter.create(path, plan)
    with pytest.raises(CacheError, match=r"no shot .* finished"):
        CamCache.open(path).to_h5(path.parent / "x.h5")
    assert [file.name for file in path.parent.iterdir()] == ["cache"]


def test_a_damaged_shot_is_never_exported_and_an_older_file_stays(cache, tmp_path):
    (tmp_path / "x.h5").write_bytes(b"older")
    (cache.path / "cams.zarr/cam/c.1.0.0").unlink()
    with pytest.raises(CacheError, match=r"'boat/0001/001'.*not what was committed"):
        cache.to_h5(tmp_path / "x.h5")
    assert (tmp_path / "x.h5").read_bytes() == b"older"
    assert not [file for file in tmp_path.iterdir() if file.name.endswith(".partial")]


@pytest.mark.parametrize("room", [0, 1000, 10_000, 20_000])
def test_a_disk_without_room_is_a_storage_error_and_leaves_nothing(cache, tmp_path, room):
    code = (
        "import resource, sys; from tcam_cache import CamCache; from tcam_cache.errors import StorageError\n"
        "cache, room = CamCache.open(sys.argv[1]), int(sys.argv[3])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))\n"
        "try: cache.to_h5(sys.argv[2])\n"
        "except StorageError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, cache.path, tmp_path / "out/x.h5", str(room)],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"cannot write {tmp_path / 'out/x.h5'}: the file would be larger" in done.stdout
    assert not list((tmp_path / "out").iterdir())


def test_a_place_that_cannot_be_written_is_a_storage_error(cache, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="a file stands where a folder is needed"):
        cache.to_h5(tmp_path / "file" / "x.h5")


def test_a_url_is_refused_and_nothing_is_written(plan_of, build_all, tmp_path, monkeypatch):
    build_all(tmp_path / "cache", plan_of([2]))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"got the URL s3://bucket/a\.h5"):
        CamCache.open(tmp_path / "cache").to_h5("s3://bucket/a.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
