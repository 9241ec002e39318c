"""Tests of verify: every kind of damage is found, and none is ever read as a CAM."""

import json
import shutil

import pytest

from tcam_cache.cache import CamCache, CamWriter
from tcam_cache.errors import CacheError

SHOT = "cat/0002/001"
MAPS = "cams.zarr/cam/c.3.0.0"
STATS = "cams.zarr/frame_stats/c.3.0"


def delete(file):
    file.unlink()


def cut(file):
    file.write_bytes(file.read_bytes()[:-7])


def empty(file):
    file.write_bytes(b"")


def flip(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)


DAMAGES = [delete, cut, empty, flip]


def test_a_sound_cache_has_no_problem_complete_or_not(path, plan, build_all):
    build_all(path, plan, {"classifier.pt": b"weights"}, limit=2)
    assert CamCache.open(path).verify() == ()
    build_all(path, plan)
    cache = CamCache.open(path)
    cache.pack()
    assert cache.verify() == ()


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("chunk", [MAPS, STATS])
def test_a_damaged_chunk_is_found_by_its_shot_and_mended_by_the_advice(cache, plan, build_all, chunk, damage):
    damage(cache.path / chunk)
    (problem,) = cache.verify()
    assert problem.startswith(SHOT)
    assert "delete commits/000002.json" in problem
    (cache.path / "commits/000002.json").unlink()
    build_all(cache.path, plan)
    assert CamCache.open(cache.path).verify() == ()


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_map_is_never_read_as_a_cam(cache, damage):
    damage(cache.path / MAPS)
    with pytest.raises(CacheError, match="tcam-cache verify"):
        cache.cams(SHOT)
    with pytest.raises(CacheError, match="tcam-cache verify"):
        cache.window(SHOT, 128, 2)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_statistics_are_never_read(cache, damage):
    damage(cache.path / STATS)
    with pytest.raises(CacheError, match="tcam-cache verify"):
        cache.stats(SHOT)


def test_a_chunk_of_another_shot_in_its_place_is_found(cache):
    shutil.copy(cache.path / "cams.zarr/cam/c.2.0.0", cache.path / "cams.zarr/cam/c.4.0.0")
    (problem,) = cache.verify()
    assert problem.startswith("bird/0003/001: its numbers are not those")


@pytest.mark.parametrize("change", [{"fingerprint": "0" * 64}, {"shot": "cat/9999/001"}, {"extra": 1}])
def test_a_foreign_commit_is_found_and_its_shot_does_not_count_as_finished(cache, plan, change):
    record = cache.path / "commits/000002.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | change))
    cache = CamCache.open(cache.path)
    (problem,) = cache.verify()
    assert problem.startswith("commits/000002.json: is no commit record of this cache")
    assert cache.missing() == (SHOT,)
    assert [shot.id for shot in CamWriter.create(cache.path, plan).pending()] == [SHOT]


@pytest.mark.parametrize("name", ["000004.json", "notes.txt", "2.json"])
def test_a_record_of_no_shot_is_found(cache, name):
    shutil.copy(cache.path / "commits/000002.json", cache.path / "commits" / name)
    (problem,) = cache.verify()
    assert problem.startswith(f"commits/{name}")


@pytest.mark.parametrize("damage", [cut, empty])
def test_a_commit_cut_short_counts_as_none(cache, plan, build_all, damage):
    damage(cache.path / "commits/000002.json")
    cache = CamCache.open(cache.path)
    assert cache.verify()[0].startswith("commits/000002.json")
    build_all(cache.path, plan)
    assert CamCache.open(cache.path).verify() == ()


def test_an_altered_digest_is_found(cache):
    record = cache.path / "commits/000002.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"sha256": "0" * 64}))
    assert "commits/000002.json vouches for" in CamCache.open(cache.path).verify()[0]


@pytest.mark.parametrize("array", ["shot", "shot_start", "row_size", "label", "video", "split"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_index_is_found_and_never_used(cache, array, damage):
    damage(cache.path / f"cams.zarr/{array}/c.0")
    cache = CamCache.open(cache.path)
    assert len(cache.verify()) == 1
    with pytest.raises(CacheError, match="damaged"):
        cache.cams(SHOT)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_attachment_is_found_and_never_handed_out(cache, damage):
    damage(cache.path / "classifier.pt")
    (problem,) = cache.verify()
    assert problem.startswith("classifier.pt")
    with pytest.raises(CacheError, match=r"classifier.pt is gone, or not"):
        cache.attachment("classifier.pt")


@pytest.mark.parametrize("damage", [cut, empty, flip])
def test_a_damaged_pack_is_found(cache, damage):
    damage(cache.pack().path)
    (problem,) = cache.verify()
    assert problem.startswith(str(cache.path / "pack"))


def test_damaged_metadata_of_the_arrays_is_found(cache):
    (cache.path / "cams.zarr/cam/zarr.json").write_text("{")
    cache = CamCache.open(cache.path)
    (problem,) = cache.verify()
    assert problem.startswith("cams.zarr/cam: is missing or damaged; delete cache.json and run")
    with pytest.raises(CacheError, match="damaged"):
        cache.cams(SHOT)


def test_several_damages_are_all_listed(cache):
    delete(cache.path / MAPS)
    flip(cache.path / "cams.zarr/frame_stats/c.0.0")
    cut(cache.path / "classifier.pt")
    assert len(cache.verify()) == 3
