"""Tests of the index of shots, and of the digest in their commit records."""

import hashlib

import numpy as np
import pytest

from tcam_cache.cache.commits import content_digest
from tcam_cache.errors import CacheError


def test_an_unknown_shot_is_answered_with_ids_that_look_alike(plan):
    with pytest.raises(CacheError, match="no shot 'bird/0000/01'") as caught:
        plan.index.position("bird/0000/01")
    assert "bird/0000/001" in caught.value.offenders


def test_an_unknown_shot_unlike_any_other_is_answered_with_an_example(plan):
    with pytest.raises(CacheError, match="look like 'bird/0000/001'"):
        plan.index.position("?")


def test_differences_name_the_shots_that_changed_length_tag_or_place(plan_of):
    ours, theirs = plan_of((5, 1, 130)).index, plan_of((5, 2)).index
    assert ours.differences(theirs) == [
        "shot 1: boat/0001/001 (boat, 1 frames), not boat/0001/001 (boat, 2 frames)",
        "shot 2: cat/0002/001 (cat, 130 frames), not none",
    ]
    assert ours.differences(ours) == []


def test_every_entry_changes_the_digest(plan_of):
    assert plan_of((5, 1)).index.digest != plan_of((5, 2)).index.digest
    assert plan_of((5, 1)).index.digest == plan_of((5, 1), method="cam").index.digest


def test_the_digest_of_a_shot_is_of_its_maps_and_of_its_statistics():
    maps, stats = np.zeros((2, 3, 3), np.float16), np.zeros((2, 4), np.float32)
    digest = content_digest(maps, stats)
    assert digest == hashlib.sha256(bytes(2 * 9 * 2 + 2 * 4 * 4)).hexdigest()
    assert digest != content_digest(maps + np.float16(1), stats)
    assert digest != content_digest(maps, stats + np.float32(1))
