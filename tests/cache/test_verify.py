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
    assert problem.startswith("bird/0003/001: its numbers do not match")


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
    assert "do not match the digest in commits/000002.json" in CamCache.open(cache.path).verify()[0]


@pytest.mark.parametrize("array", ["shot", "shot_start", "row_size", "label", "video", "split"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_index_is_found_and_never_used(cache, array, damage):
    damage(cache.path / f"cams.zarr/{array}/c.0")
    cache = CamCache.open(cache.path)
    assert len(cache.verify()) == 1
    with pytest.raises(CacheError, match="damaged"):
        cache.cams(SHOT)


@pytest.mark.parametrize("array", ["class", "stat", "y", "x"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_coordinate_is_found(cache, array, damage):
    damage(cache.path / f"cams.zarr/{array}/c.0")
    (problem,) = cache.verify()
    assert problem.startswith(f"cams.zarr/{array}: is missing or damaged; delete cache.json")


def test_a_coordinate_with_a_sound_chunk_of_other_values_is_found(cache):
    for name in ("c.0", "zarr.json"):
        shutil.copy(cache.path / f"cams.zarr/y/{name}", cache.path / f"cams.zarr/x/{name}")
    assert [problem.split(":")[0] for problem in cache.verify()] == ["cams.zarr/x"]


ARRAYS = ["cam", "frame_stats", "class", "stat", "y", "x"]
INDEX = ["shot", "shot_start", "row_size", "label", "video", "split"]


@pytest.mark.parametrize("array", ARRAYS + INDEX)
@pytest.mark.parametrize("damage", [delete, cut])
def test_damaged_metadata_of_an_array_is_found(cache, array, damage):
    damage(cache.path / f"cams.zarr/{array}/zarr.json")
    (problem,) = cache.verify()
    assert problem.startswith("cams.zarr: the index of shots" if array in INDEX else f"cams.zarr/{array}: is")


@pytest.mark.parametrize("array", [*ARRAYS, "shot"])
@pytest.mark.parametrize(
    "change",
    [{"dimension_names": None}, {"attributes": {"more": 1}}, {"shape": [7]}, {"data_type": "int8"},
     {"codecs": [{"name": "bytes", "configuration": {"endian": "little"}}]}],
    ids=["names", "attributes", "shape", "type", "codecs"],
)  # fmt: skip
def test_metadata_that_says_something_else_is_found(cache, array, change):
    file = cache.path / f"cams.zarr/{array}/zarr.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    assert len(cache.verify()) == 1


@pytest.mark.parametrize("key", ["fill_value", "chunk_grid"])
def test_another_fill_value_or_chunk_of_the_maps_is_found(cache, key):
    file = cache.path / "cams.zarr/cam/zarr.json"
    change = {
        "fill_value": {"fill_value": 0.0},
        "chunk_grid": {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [64, 4, 6]}}},
    }
    file.write_text(json.dumps(json.loads(file.read_text()) | change[key]))
    assert [problem.split(":")[0] for problem in cache.verify()] == ["cams.zarr/cam"]


@pytest.mark.parametrize("damage", [*DAMAGES, lambda file: file.write_text("[]")])
def test_damaged_metadata_of_the_group_is_found(cache, damage):
    damage(cache.path / "cams.zarr/zarr.json")
    (problem,) = cache.verify()
    assert problem.startswith("cams.zarr/zarr.json: ")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"fingerprint": "0" * 64}, "cache.json: its fingerprint"),
        ({"settings": {"method": "gradcam"}}, "cache.json: its fingerprint"),
        ({"map_size": [6, 4]}, "cams.zarr/"),
        ({"classes": ["bird", "cat", "boat"]}, "cams.zarr: the index of shots"),
        ({"classes": ["bird"]}, "cams.zarr: the index of shots"),
        ({"index": "0" * 64}, "cams.zarr: the index of shots"),
    ],
)
def test_a_marker_that_says_something_else_is_found(cache, change, found):
    file = cache.path / "cache.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    problems = CamCache.open(cache.path).verify()
    assert problems and all(problem.startswith(found) for problem in problems)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(
    "name",
    [
        "cams.zarr/zarr.json",
        "cams.zarr/cam/zarr.json",
        "cams.zarr/shot/c.0",
        "cams.zarr/x/c.0",
        "classifier.pt",
    ],
)
def test_what_is_made_with_a_cache_is_mended_by_the_advice_and_finished_shots_stay(
    cache, plan, build_all, tree, name, damage
):
    before = tree(cache.path)
    damage(cache.path / name)
    (problem,) = cache.verify()
    assert "delete cache.json and run the same `tcam-cache build` again" in problem
    (cache.path / "cache.json").unlink()
    assert CamWriter.create(cache.path, plan, {"classifier.pt": b"weights"}).pending() == ()
    assert tree(cache.path) == before


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


def test_maps_whose_metadata_are_damaged_are_never_read(cache):
    (cache.path / "cams.zarr/cam/zarr.json").write_text("{")
    with pytest.raises(CacheError, match="damaged"):
        CamCache.open(cache.path).cams(SHOT)


def test_damage_since_the_cache_was_opened_is_found(cache):
    assert cache.verify() == ()
    cache.cams(SHOT)
    (cache.path / "cams.zarr/cam/zarr.json").write_text("{")
    assert len(cache.verify()) == 1
    (cache.path / "cache.json").write_text("{")
    (problem,) = cache.verify()
    assert problem.startswith(f"{cache.path / 'cache.json'} is damaged")


def test_several_damages_are_all_listed(cache):
    delete(cache.path / MAPS)
    flip(cache.path / "cams.zarr/frame_stats/c.0.0")
    cut(cache.path / "classifier.pt")
    flip(cache.path / "cams.zarr/y/c.0")
    assert len(cache.verify()) == 4
