"""Tests of verifying a cache: every byte counts."""

import json
import shutil

import pytest

from tcam_cache.config import VerifyConfig
from tcam_cache.errors import CacheError
from tcam_cache.stages.build import build_cache
from tcam_cache.stages.verify import verify_cache


@pytest.fixture
def cache_copy(small_cache, tmp_path):
    return shutil.copytree(small_cache, tmp_path / "cache")


def test_a_sound_cache_is_counted(small_cache):
    report = verify_cache(VerifyConfig(cache=small_cache))
    assert json.loads(json.dumps(report.to_json())) == {"cache": str(small_cache), "shots": 11, "missing": 0}
    assert "11 shots, each as it was written" in report.to_text()


def test_unfinished_shots_are_no_damage_and_are_counted(build_config):
    build_cache(build_config(shard="0/2"))
    report = verify_cache(VerifyConfig(cache=build_config().out))
    assert (report.shots, report.missing) == (6, 5) and "5 are not finished" in report.to_text()


@pytest.mark.parametrize(
    "name",
    ["cams.zarr/cam/c.0.0.0", "cams.zarr/cam/c.10.0.0", "cams.zarr/frame_stats/c.4.0", "cams.zarr/shot/c.0",
     "cams.zarr/shot_start/c.0", "commits/000003.json", "classifier.pt", "manifest.jsonl"],
)  # fmt: skip
def test_one_flipped_byte_is_found(cache_copy, name):
    sound = (cache_copy / name).read_bytes()
    middle = len(sound) // 2
    damaged = sound[:middle] + bytes([sound[middle] ^ 1]) + sound[middle + 1 :]
    (cache_copy / name).write_bytes(damaged)
    with pytest.raises(CacheError) as caught:
        verify_cache(VerifyConfig(cache=cache_copy))
    assert caught.value.offenders


def test_a_chunk_that_is_gone_is_found_with_its_shot(cache_copy):
    (cache_copy / "cams.zarr/cam/c.0.0.0").unlink()
    with pytest.raises(CacheError) as caught:
        verify_cache(VerifyConfig(cache=cache_copy))
    assert "bird/0001/001" in caught.value.offenders[0]


def test_other_frames_under_the_same_names_are_found_on_request_and_built_again(
    build_config, data_copy, caplog
):
    config = build_config(root=data_copy)
    build_cache(config)
    frame = data_copy / "bird/0003/frame0002.jpg"
    shutil.copy(data_copy / "car/0002/frame0001.jpg", frame)
    assert verify_cache(VerifyConfig(cache=config.out)).shots == 11
    with pytest.raises(CacheError) as caught:
        verify_cache(VerifyConfig(cache=config.out, sources=True, root=data_copy))
    assert [text.split(":")[0] for text in caught.value.offenders] == ["bird/0003"]
    report = build_cache(config)
    assert (report.rebuilt_shots, report.built_frames) == (1, 4)
    assert "1 shot(s) are built again: their frames have changed" in caplog.text
    assert verify_cache(VerifyConfig(cache=config.out, sources=True, root=data_copy)).shots == 11
    assert build_cache(config).built_frames == 0


def test_a_cache_of_before_tells_no_files_which_is_said(small_cache, cache_copy, caplog):
    for record in (cache_copy / "commits").iterdir():
        values = json.loads(record.read_text())
        record.write_text(
            json.dumps({name: values[name] for name in values if name not in ("stamp", "content")})
        )
    verify_cache(VerifyConfig(cache=cache_copy, sources=True))
    assert "11 shot(s) were built by a version that kept nothing of their files" in caplog.text


def test_finished_shots_stay_when_their_frames_are_gone(build_config, data_copy, caplog):
    config = build_config(root=data_copy)
    build_cache(config)
    before = {record.name: record.read_bytes() for record in (config.out / "commits").iterdir()}
    (data_copy / "bird/0003/frame0002.jpg").unlink()
    report = build_cache(config)
    assert (report.built_frames, report.rebuilt_shots) == (0, 0)
    assert "are kept, though files of theirs are gone, such as bird/0003" in caplog.text
    assert {record.name: record.read_bytes() for record in (config.out / "commits").iterdir()} == before
    with pytest.raises(CacheError) as caught:
        verify_cache(VerifyConfig(cache=config.out, sources=True, root=data_copy))
    assert caught.value.offenders == (
        "bird/0003: files that it was built from are gone; put them back, its CAMs stay",
    )
