"""Tests of the summary of a cache."""

import json

from tcam_cache.cache import CamCache, Tally


def test_the_summary_counts_shots_frames_and_flat_maps(path, plan, build_all):
    build_all(path, plan, limit=3)
    info = CamCache.open(path).info()
    assert info.total == Tally(shots=4, committed=3, frames=136, flat=2)
    assert info.per_class == {
        "bird": Tally(2, 1, 5, 1),
        "boat": Tally(1, 1, 1, 0),
        "cat": Tally(1, 1, 130, 1),
    }
    assert info.per_split == {
        "test": Tally(1, 1, 130, 1),
        "train": Tally(2, 1, 5, 1),
        "val": Tally(1, 1, 1, 0),
    }
    assert not info.complete
    sizes = [file.stat().st_size for file in path.rglob("*") if file.is_file()]
    assert (info.bytes, info.files) == (sum(sizes), len(sizes))


def test_a_class_without_shots_counts_nothing(path, plan_of, build_all):
    build_all(path, plan_of((3,)))
    info = CamCache.open(path).info()
    assert info.per_class["cat"] == Tally()
    assert info.complete


def test_the_summary_is_json(cache):
    info = cache.info()
    read = json.loads(json.dumps(info.to_json()))
    assert read["complete"] is True
    assert read["per_class"]["cat"] == {"shots": 1, "committed": 1, "frames": 130, "flat": 1}
    assert read["settings"] == {"method": "layercam"}


def test_the_summary_reads_well(cache, plan):
    text = cache.info().to_text()
    for line in (
        "  shots        4 of 4 finished (complete)",
        "  frames       264, 3 of them flat",
        "  maps         4 x 6, float16",
        f"  fingerprint  {plan.fingerprint}",
        "  method       layercam",
        "  cat                 1         1        130        1",
        "  [train]             2         2        133        2",
    ):
        assert line in text.splitlines()
