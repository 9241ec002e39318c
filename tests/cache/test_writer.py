"""Tests of writing a cache: create, resume, refuse, validate."""

import json
import os
import pickle
import shutil
import threading
from dataclasses import replace

import numpy as np
import pytest

from tcam_cache.cache import CamCache, CamWriter
from tcam_cache.errors import CacheError, ConfigError, StorageError


def ids(shots):
    return [shot.id for shot in shots]


def test_a_new_cache_has_every_shot_pending_in_order(path, plan):
    assert ids(CamWriter.create(path, plan).pending()) == ids(plan.shots)


def test_shards_split_the_pending_shots_without_overlap(path, plan):
    writer = CamWriter.create(path, plan)
    shards = [ids(writer.pending((part, 3))) for part in range(3)]
    assert shards == [ids(plan.shots[0::3]), ids(plan.shots[1::3]), ids(plan.shots[2::3])]


@pytest.mark.parametrize("shard", [(3, 3), (-1, 2), (0, 0)])
def test_a_shard_that_does_not_exist_is_refused(path, plan, shard):
    with pytest.raises(ConfigError, match=f"{shard[0]}/{shard[1]}"):
        CamWriter.create(path, plan).pending(shard)


def test_a_finished_shot_is_no_longer_pending_for_any_writer(path, plan, build_all):
    writer = build_all(path, plan, limit=2)
    assert ids(writer.pending()) == ids(CamWriter.create(path, plan).pending()) == ids(plan.shots[2:])


def test_an_interrupted_build_resumes_to_the_same_bytes_as_one_in_a_go(tmp_path, plan, build_all, tree):
    for _ in range(len(plan.shots)):
        build_all(tmp_path / "steps", plan, limit=1)
    build_all(tmp_path / "once", plan)
    assert tree(tmp_path / "steps") == tree(tmp_path / "once")


def test_resuming_changes_no_file(path, plan, build_all):
    build_all(path, plan, {"classifier.pt": b"weights"}, limit=2)
    before = {file: file.stat().st_mtime_ns for file in path.rglob("*")}
    CamWriter.create(path, replace(plan, recorded={"host": "elsewhere"}), {"classifier.pt": b"weights"})
    assert before == {file: file.stat().st_mtime_ns for file in path.rglob("*")}


def test_a_committed_shot_is_left_as_it_is(cache, plan, cams_of):
    shot = plan.shots[0]
    other = replace(cams_of(shot), cams=np.zeros((5, 4, 6), np.float16))
    CamWriter.create(cache.path, plan).write(shot.id, other)
    assert np.array_equal(cache.cams(shot.id), cams_of(shot).cams)
    assert cache.verify() == ()


def test_a_writer_can_be_carried_to_another_process(path, plan, cams_of):
    writer = CamWriter.create(path, plan)
    writer.write(plan.shots[0].id, cams_of(plan.shots[0]))
    carried = pickle.loads(pickle.dumps(writer))
    carried.write(plan.shots[1].id, cams_of(plan.shots[1]))
    assert ids(writer.pending()) == ids(plan.shots[2:])


def test_other_settings_are_refused_and_the_differing_ones_named(cache, plan_of, tree):
    before = tree(cache.path)
    other = plan_of(method="gradcam", weights={"sha256": "ab"})
    with pytest.raises(CacheError, match="Choose another folder") as caught:
        CamWriter.create(cache.path, other)
    assert caught.value.offenders == (
        "method: gradcam, not layercam",
        "weights: {'sha256': 'ab'}, not None",
    )
    assert tree(cache.path) == before


def test_other_shots_under_the_same_settings_are_refused_by_name(cache, plan_of):
    with pytest.raises(CacheError) as caught:
        CamWriter.create(cache.path, plan_of((5, 1, 131, 128)))
    assert caught.value.offenders == (
        "shot 2: cat/0002/001 (cat, 131 frames), not cat/0002/001 (cat, 130 frames)",
    )


def test_another_map_size_or_class_list_under_the_same_settings_is_refused(cache, plan, plan_of):
    with pytest.raises(CacheError, match="map_size"):
        CamWriter.create(cache.path, plan_of(map_size=(4, 7)))
    with pytest.raises(CacheError, match="classes"):
        CamWriter.create(cache.path, replace(plan, classes=("boat", "bird", "cat")))


def test_another_split_of_the_same_shots_is_no_other_cache(cache, plan):
    shots = tuple(replace(shot, split="test") for shot in plan.shots)
    assert CamWriter.create(cache.path, replace(plan, shots=shots)).pending() == ()


@pytest.mark.parametrize("name", ["holiday.jpg", "cams.zarr/zarr.json", "commits/000000.json"])
def test_a_folder_that_holds_something_else_is_refused_and_kept(path, plan, name):
    (path / name).parent.mkdir(parents=True)
    (path / name).write_text(json.dumps({"attributes": {"someone": "else"}}))
    with pytest.raises(CacheError, match="something else"):
        CamWriter.create(path, plan)
    assert [file for file in path.rglob("*") if file.is_file()] == [path / name]


def test_a_file_in_the_cache_s_place_is_refused(path, plan):
    path.write_text("")
    with pytest.raises(CacheError, match="is a file"):
        CamWriter.create(path, plan)
    with pytest.raises(StorageError, match="file stands where a folder"):
        CamWriter.create(path / "below", plan)


def test_what_an_interrupted_creation_left_is_made_anew(path, plan, build_all, tree):
    build_all(path, plan, {"manifest.jsonl": b"{}"})
    whole = tree(path)
    for kept in ("cams.zarr/.zarr.json.x.partial", "cams.zarr/zarr.json"):
        shutil.rmtree(path)
        (path / kept).parent.mkdir(parents=True)
        (path / kept).write_bytes(whole["cams.zarr/zarr.json"])
        build_all(path, plan, {"manifest.jsonl": b"{}"})
        (path / "cams.zarr/.zarr.json.x.partial").unlink(missing_ok=True)
        assert tree(path) == whole


def test_an_empty_folder_becomes_the_cache(path, plan):
    path.mkdir()
    CamWriter.create(path, plan)
    assert len(CamCache.open(path).missing()) == 4


BAD = {
    "cams: got shape": {"cams": np.zeros((5, 4, 7), np.float16)},
    "got float32, expected float16": {"cams": np.zeros((5, 4, 6), np.float32)},
    "cams: NaN": {"cams": np.full((5, 4, 6), np.nan, np.float16)},
    "from 0.0 to 1.5": {"cams": np.linspace(0, 1.5, 120).reshape(5, 4, 6).astype(np.float16)},
    "from -1.0 to": {"cams": np.linspace(-1, 1, 120).reshape(5, 4, 6).astype(np.float16)},
    "raw_min: got shape": {"raw_min": np.zeros(4, np.float32)},
    "raw_max: NaN": {"raw_max": np.full(5, np.inf, np.float32)},
    "flat: got shape": {"flat": np.zeros((5, 1), bool)},
    "logits: got shape \\(5, 2\\), expected \\(5, 3\\)": {"logits": np.zeros((5, 2), np.float32)},
}


@pytest.mark.parametrize("message", BAD)
def test_numbers_that_no_cache_holds_are_refused(path, plan, cams_of, message):
    writer, shot = CamWriter.create(path, plan), plan.shots[0]
    with pytest.raises(CacheError, match=message):
        writer.write(shot.id, replace(cams_of(shot), **BAD[message]))
    assert shot.id in ids(writer.pending())


def test_all_faults_of_a_shot_are_listed_at_once(path, plan, cams_of):
    shot = plan.shots[0]
    bad = {"cams": np.ones((3, 4, 6)) * 2, "logits": np.full((5, 3), np.nan, np.float32)}
    with pytest.raises(CacheError, match=shot.id) as caught:
        CamWriter.create(path, plan).write(shot.id, replace(cams_of(shot), **bad))
    assert len(caught.value.offenders) == 4


def test_a_shot_outside_the_plan_is_refused(path, plan, cams_of):
    with pytest.raises(CacheError, match="no shot 'dog/1'"):
        CamWriter.create(path, plan).write("dog/1", cams_of(plan.shots[0]))


def test_a_cache_without_logits_holds_none_and_refuses_them(path, plan_of, cams_of):
    plan = plan_of((5,), logits=False)
    writer, shot = CamWriter.create(path, plan), plan.shots[0]
    with pytest.raises(CacheError) as caught:
        writer.write(shot.id, cams_of(shot))
    assert caught.value.offenders == ("logits: got shape (5, 3), expected (5, 0)",)
    given = replace(cams_of(shot), logits=np.zeros((5, 0), np.float32))
    writer.write(shot.id, given)
    cache = CamCache.open(path)
    assert cache.verify() == () and cache.classes == plan.classes
    assert cache.stats(shot.id).logits.shape == (5, 0)
    assert np.array_equal(cache.stats(shot.id).raw_max, given.raw_max)
    assert cache.statistics()["bird"].agreement is None
    cache.to_h5(path.parent / "x.h5")
    assert CamCache.open(path.parent / "x.h5").stats(shot.id).logits.shape == (5, 0)


def test_two_writers_of_one_shot_with_other_numbers_leave_the_numbers_of_one(path, plan, cams_of):
    shot = plan.shots[2]
    theirs = replace(cams_of(shot), raw_min=cams_of(shot).raw_min - 1)
    first, second = (CamWriter.create(path, plan) for _ in range(2))
    write = first._arrays.write
    started, others = threading.Event(), []

    def slow(*rows):
        write(*rows)
        started.set()
        # The other one has asked for its turn by now, or would have written between chunks and record.
        others[0].join(timeout=0.5)

    first._arrays.write = slow
    others.append(threading.Thread(target=lambda: started.wait() and second.write(shot.id, theirs)))
    others[0].start()
    first.write(shot.id, cams_of(shot))
    others[0].join()
    cache = CamCache.open(path)
    assert cache.verify() == ()
    assert np.array_equal(cache.stats(shot.id).raw_min, cams_of(shot).raw_min)
    assert not list(path.glob("commits/.*"))


def test_a_writer_that_is_killed_in_its_turn_gives_it_up(path, plan, cams_of):
    writer, shot = CamWriter.create(path, plan), plan.shots[0]
    child = os.fork()
    if not child:
        writer._arrays.write = lambda *rows: os._exit(9)
        writer.write(shot.id, cams_of(shot))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    writer.write(shot.id, cams_of(shot))
    assert CamCache.open(path).verify() == ()
