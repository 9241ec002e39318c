"""Tests of what shards wait for: other shards' products, for so long, with a text that says what is next."""

import logging

import pytest

from tcam_cache.building import turns
from tcam_cache.building.turns import is_trained, is_whole_cache, wait_for
from tcam_cache.datasets import read_manifest
from tcam_cache.errors import RunError
from tcam_cache.stages.build import build_cache


def test_what_is_there_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(turns.time, "sleep", lambda seconds: pytest.fail("waited"))
    wait_for(lambda: True, "the classifier", "1/2", 0)


def test_it_looks_again_until_it_is_there_and_says_so_once(monkeypatch, caplog):
    looks, slept = iter([False, False, True]), []
    monkeypatch.setattr(turns.time, "sleep", slept.append)
    with caplog.at_level(logging.INFO, "tcam_cache"):
        wait_for(lambda: next(looks), "the classifier", "1/2", 1)
    assert len(slept) == 2 and min(slept) >= turns.LOOK
    assert caplog.text.count("waiting for the classifier") == 1


@pytest.mark.parametrize(("shard", "others"), [("1/3", "shard 0/3"), ("0/3", "the other shards")])
def test_after_its_time_it_says_who_makes_it_and_what_to_do(shard, others):
    with pytest.raises(RunError, match=rf"shard {shard} .*: the maps comes from {others}\. .*--wait"):
        wait_for(lambda: False, "the maps", shard, 0)


def test_a_cache_is_whole_with_every_shot_and_every_frame(build_config, small_manifest):
    manifest, given = read_manifest(small_manifest), {"frame_size": 64}
    out = build_config().out
    assert not is_whole_cache(out, manifest)
    build_cache(build_config(frames=True, shard="0/2", **given))
    assert not is_whole_cache(out, manifest)
    build_cache(build_config(shard="1/2"))
    assert not is_whole_cache(out, manifest)
    build_cache(build_config(frames=True, jobs=2, **given))
    assert is_whole_cache(out, manifest)


def test_a_run_is_trained_when_its_last_epoch_is_logged(small_run, tmp_path):
    assert is_trained(small_run) and not is_trained(tmp_path)
    (tmp_path / "config.json").write_bytes((small_run / "config.json").read_bytes())
    assert not is_trained(tmp_path)
    lines = (small_run / "log.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "log.jsonl").write_text(lines[0])
    assert not is_trained(tmp_path)
