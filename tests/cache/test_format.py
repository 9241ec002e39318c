"""Tests of the plan of a cache and of its empty arrays."""

import hashlib
import json
from dataclasses import replace

import pytest

from tcam_cache.cache import CachePlan
from tcam_cache.cache.format import ALIGNMENT, chunk_frames, empty_arrays
from tcam_cache.errors import CacheError
from tcam_cache.records import Shot


def test_every_shot_starts_on_a_chunk_border_and_none_overlap(plan_of):
    index = plan_of(lengths=(1, 127, 128, 129, 300, 2)).index
    assert index.starts == (0, 128, 256, 384, 640, 1024)
    assert index.lengths == (1, 127, 128, 129, 300, 2)


@pytest.mark.parametrize("side", [1, 7, 8, 16, 28, 32, 56, 112, 224, 256, 363, 1000])
def test_chunks_divide_the_alignment_and_stay_within_256_kib_where_one_map_does(side):
    rows = chunk_frames((side, side))
    assert ALIGNMENT % rows == 0
    assert rows == 1 or rows * side * side * 2 <= 256 * 1024
    assert rows == ALIGNMENT or rows * side * side * 4 > 256 * 1024


def test_the_fingerprint_covers_the_settings_and_not_the_provenance(plan_of):
    plan = plan_of()
    assert replace(plan, recorded={"host": "elsewhere"}).fingerprint == plan.fingerprint
    assert plan_of(input_size=224).fingerprint != plan.fingerprint


def test_the_fingerprint_is_the_same_in_every_version_that_writes_format_1():
    shot = Shot("a/1", "a", "a/1", "val", "a/1", ("1.jpg",))
    plan = CachePlan(("a",), (shot,), (7, 7), {"method": "cam", "every": 1}, {"host": "here"})
    told = b'{"every":1,"format_version":1,"method":"cam"}'
    assert plan.fingerprint == hashlib.sha256(told).hexdigest()


def test_a_plan_lists_all_its_faults_at_once(plan):
    first, second, *_ = plan.shots
    shots = (first, first, replace(second, frames=()), replace(second, id="fish/1", tag="fish"))
    with pytest.raises(CacheError) as caught:
        replace(plan, shots=shots)
    assert len(caught.value.offenders) == 3
    assert [word in str(caught.value) for word in ("2 times", "no frames", "'fish'")] == [True] * 3


def test_a_plan_without_shots_is_refused(plan):
    with pytest.raises(CacheError, match="at least one"):
        replace(plan, shots=())


def test_an_empty_store_is_the_same_bytes_every_time_and_names_its_axes(plan):
    objects = empty_arrays(plan)
    assert objects == empty_arrays(plan)
    assert next(iter(objects)) == "cams.zarr/zarr.json"
    named = {
        name.split("/")[1]: json.loads(data)["dimension_names"]
        for name, data in objects.items()
        if name.count("/") == 2 and name.endswith("zarr.json")
    }
    assert named["cam"] == ["frame", "y", "x"]
    assert named["frame_stats"] == ["frame", "stat"]
    assert named["row_size"] == ["shot"]
    chunked = {name.split("/")[1] for name in objects if "/c." in name}
    assert chunked.isdisjoint({"cam", "frame_stats"}), "no chunk of an unwritten shot"
