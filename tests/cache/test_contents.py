"""Tests of reading every finished shot, compared with its commit."""

import numpy as np
import pytest

from tcam_cache.cache import CamCache
from tcam_cache.cache import contents as checked
from tcam_cache.cache.contents import Contents, finished_shots, iter_verified_shots
from tcam_cache.errors import CacheError


@pytest.mark.parametrize("batch_bytes", [0, 20_000, 10**9])
def test_shots_are_read_in_batches_of_any_size(cache, plan, cams_of, monkeypatch, batch_bytes):
    monkeypatch.setattr(checked, "BATCH_BYTES", batch_bytes)
    contents = Contents.open(cache.path)
    found = list(iter_verified_shots(contents, finished_shots(contents)))
    assert [position for position, _, _ in found] == [0, 1, 2, 3]
    for shot, (_, maps, stats) in zip(plan.shots, found, strict=True):
        assert np.array_equal(maps, cams_of(shot).cams)
        assert np.array_equal(stats[:, 3:], cams_of(shot).logits)


def test_a_shot_that_is_not_what_was_committed_is_named(cache, plan):
    record = cache.path / "commits/000001.json"
    record.write_text(record.read_text().replace('"sha256": "', '"sha256": "0'))
    contents = Contents.open(cache.path)
    with pytest.raises(CacheError, match=r"'boat/0001/001' .* is not what was committed"):
        list(iter_verified_shots(contents, finished_shots(contents)))


def test_only_finished_shots_are_read(path, plan, build_all):
    build_all(path, plan, limit=2)
    contents = Contents.open(CamCache.open(path).path)
    assert [position for position, *_ in iter_verified_shots(contents, finished_shots(contents))] == [0, 1]
