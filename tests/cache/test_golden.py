"""Tests of a cache of format version 1 that stays in the repository: every later version must read it.

`golden/` was made once, by the first version of the writer (zarr 3.1.6), with `made_anew` below, and is never
made again: should one of these tests fail, the code is wrong, or the format needs another version number.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tcam_cache.cache import CachePlan, CamCache, CamWriter
from tcam_cache.errors import CacheError
from tcam_cache.records import Shot, ShotCams

GOLDEN = Path(__file__).with_name("golden")
CLASSES = ("bird", "cat", "dog")
SHOTS = (
    Shot("cat/0001/001", "cat", "cat/0001", "train", "cat/0001/001", ("a.jpg", "b.jpg", "c.jpg")),
    Shot("bird/übung/001", "bird", "bird/übung", "test", "bird/übung/001", ("1.jpg", "2.jpg")),
)
SETTINGS = {"method": "layercam", "every": 1, "input": {"size": 224}}
ATTACHED = {"notes.txt": b"first line\nsecond line\r\n\x00\xff"}


def golden_cams(position):
    """Return what was stored of a shot: multiples of 1/8, exact in float16; the last frame is flat."""
    length = len(SHOTS[position])
    t, y, x = np.mgrid[:length, :2, :3]
    cams = ((7 * position + 5 * t + 3 * y + x) % 9 / 8).astype(np.float16)
    cams[-1] = 0
    raw_min = np.arange(length, dtype=np.float32) / 4 - position
    logits = (np.arange(length)[:, None] - np.arange(3) / 2).astype(np.float32)
    return ShotCams(cams, raw_min, raw_min + 2, np.arange(length) == length - 1, logits)


def made_anew(path):
    """Write the golden cache with today's writer, and return its plan."""
    plan = CachePlan(CLASSES, SHOTS, (2, 3), SETTINGS, {"made_for": "the tests"})
    writer = CamWriter.create(path, plan, ATTACHED)
    for position, shot in enumerate(SHOTS):
        writer.write(shot.id, golden_cams(position))
    return plan


@pytest.fixture
def copy(tmp_path):
    return shutil.copytree(GOLDEN, tmp_path / "cache")


def test_it_tells_what_it_holds():
    cache = CamCache.open(GOLDEN)
    assert (cache.classes, cache.map_size) == (CLASSES, (2, 3))
    assert (dict(cache.settings), dict(cache.recorded)) == (SETTINGS, {"made_for": "the tests"})
    assert cache.fingerprint == "44ecba20081af4c1a903e74c60d0fc22ab346153e9fcec97486f368677078456"
    assert cache.digest() == "77c58c9cc97018d59e14b7f9ad3c62c0563b24b09483a81f80752f4aa7b56931"
    assert cache.attachment("notes.txt") == ATTACHED["notes.txt"]
    told = [(shot.id, shot.tag, shot.video, shot.split, shot.length, shot.complete) for shot in cache.shots()]
    assert told == [
        ("cat/0001/001", "cat", "cat/0001", "train", 3, True),
        ("bird/übung/001", "bird", "bird/übung", "test", 2, True),
    ]


def test_its_numbers_are_those_that_were_stored():
    cache = CamCache.open(GOLDEN)
    assert cache.cams("cat/0001/001").tolist() == [
        [[0.0, 0.125, 0.25], [0.375, 0.5, 0.625]],
        [[0.625, 0.75, 0.875], [1.0, 0.0, 0.125]],
        [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]],
    ]
    assert cache.window("bird/übung/001", t=1, n=1).tolist() == [
        [[0.875, 1.0, 0.0], [0.125, 0.25, 0.375]],
        [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]],
    ]
    stats = cache.stats("bird/übung/001")
    assert (stats.raw_min.tolist(), stats.raw_max.tolist()) == ([-1.0, -0.75], [1.0, 1.25])
    assert stats.flat.tolist() == [False, True]
    assert stats.logits.tolist() == [[0.0, -0.5, -1.0], [1.0, 0.5, 0.0]]


def test_verify_finds_nothing_and_the_pack_holds_the_same_maps(copy):
    cache = CamCache.open(copy)
    assert cache.verify() == ()
    packed = cache.pack()
    for position, shot in enumerate(SHOTS):
        assert np.array_equal(packed.cams(shot.id), golden_cams(position).cams)
    assert cache.verify() == ()


def test_the_writer_goes_on_with_it_and_changes_no_byte(copy, tree):
    plan = made_anew(copy)
    assert CamWriter.create(copy, plan).pending() == ()
    assert tree(copy) == tree(GOLDEN)


def test_a_writer_of_today_stores_the_same_numbers_under_the_same_names(tmp_path, tree):
    made_anew(tmp_path / "cache")
    assert CamCache.open(tmp_path / "cache").digest() == CamCache.open(GOLDEN).digest()
    assert tree(tmp_path / "cache").keys() == tree(GOLDEN).keys()


@pytest.mark.parametrize("version", [2, 10])
def test_a_version_newer_than_this_one_is_refused_by_name(copy, version):
    marker = json.loads((copy / "cache.json").read_text())
    (copy / "cache.json").write_text(json.dumps(marker | {"format_version": version, "new": 1}))
    for use in (CamCache.open, made_anew):
        with pytest.raises(CacheError, match=rf"format version {version}; .* reads version 1\. Use a"):
            use(copy)
