"""Tests of a cache built of a run's own maps: its numbers, what tells it apart, and what it is good for."""

import json
import shutil

import numpy as np
import pytest
import torch

from tcam_cache.cache import CamCache
from tcam_cache.config import BuildConfig, ManifestConfig
from tcam_cache.datasets import frame_source, read_manifest
from tcam_cache.errors import CacheError, ConfigError, RunError
from tcam_cache.inference import Localizer
from tcam_cache.models import read_classifier_file, weights_hash
from tcam_cache.stages.build import build_cache
from tcam_cache.stages.manifest import index_dataset
from tcam_cache.stages.train import train_decoder


@pytest.fixture
def round_config(small_manifest, small_run, tmp_path):
    """Return a maker of configs that build the maps of the small run into a new folder."""
    places = {"manifest": small_manifest, "run": small_run, "out": tmp_path / "cache2"}
    return lambda **given: BuildConfig(**{**places, "workers": 0, "map_size": 16, **given})


@pytest.fixture(scope="module")
def round_cache(small_manifest, small_run, tmp_path_factory):
    """The complete cache of the small run's maps, 16 x 16."""
    out = tmp_path_factory.mktemp("round") / "cache2"
    build_cache(BuildConfig(manifest=small_manifest, run=small_run, out=out, workers=0, map_size=16))
    return out


def test_the_stored_maps_are_the_decoder_s_averaged_and_scaled(small_manifest, small_run, round_cache):
    cache, manifest = CamCache.open(round_cache), read_manifest(small_manifest)
    localizer = Localizer.open(small_run, "cpu")
    source = frame_source(manifest)
    assert cache.map_size == (16, 16) and cache.missing() == ()
    for shot in manifest.shots:
        frames = [(shot, t) for t in range(len(shot))]
        cams, stats = cache.cams(shot.id), cache.stats(shot.id)
        sizes = {"map_size": 64, "batch_size": 32, "workers": 0}
        for t, said in enumerate(localizer.maps(frames, source, **sizes)):
            cells = said.scores.reshape(16, 4, 16, 4).mean((1, 3))
            low, high = cells.min(), cells.max()
            assert (stats.raw_min[t], stats.raw_max[t]) == pytest.approx((low, high), rel=1e-5)
            assert np.abs(cams[t] - (cells - low) / (high - low)).max() < 1e-3
            assert stats.logits[t] == pytest.approx(said.logits, abs=1e-5)
        assert not stats.flat.any()


def test_the_cache_says_which_decoder_and_which_encoder_it_is_of(small_run, round_cache):
    settings = CamCache.open(round_cache).settings
    file = read_classifier_file(small_run / "classifier.pt")
    assert settings["method"] == "decoder" and settings["input"]["size"] == 64
    assert settings["classifier"]["weights"] == file.hashes()["best_classification"]
    assert settings["decoder"]["weights"] == weights_hash(torch.load(small_run / "best.pt")["model"])
    assert not {"layers", "target"} & set(settings)
    assert read_classifier_file(round_cache / "classifier.pt").hashes() == file.hashes()


def test_other_decoder_weights_make_another_cache(round_config, round_cache, small_run, tmp_path):
    build_cache(round_config(shard="0/4"))
    assert CamCache.open(round_config().out).fingerprint == CamCache.open(round_cache).fingerprint
    other = shutil.copytree(small_run, tmp_path / "other")
    state = torch.load(other / "best.pt")
    state["model"]["head.bias"][1] += 1e-3
    torch.save(state, other / "best.pt")
    with pytest.raises(CacheError) as caught:
        build_cache(round_config(run=other))
    (offender,) = caught.value.offenders
    assert offender.startswith("decoder.weights: ")


def test_another_encoder_makes_another_cache(round_config, small_run, tmp_path):
    build_cache(round_config(shard="0/4"))
    other = shutil.copytree(small_run, tmp_path / "other")
    file = read_classifier_file(other / "classifier.pt")
    file.checkpoints["best_classification"]["head.bias"].add_(1)
    file.save(other / "classifier.pt")
    with pytest.raises(CacheError) as caught:
        build_cache(round_config(run=other))
    (offender,) = caught.value.offenders
    assert offender.startswith("classifier.weights: ")


@pytest.mark.parametrize(
    ("given", "field"),
    [({"map_size": 8}, "maps.size: [8, 8], not [16, 16]"), ({"every": 2}, "every: 2, not 1")],
)
def test_another_setting_in_the_same_folder_is_refused_by_name(round_config, given, field):
    build_cache(round_config(shard="0/4"))
    with pytest.raises(CacheError) as caught:
        build_cache(round_config(**given))
    assert field in caught.value.offenders


def test_another_image_size_of_the_run_is_another_setting(round_config, small_run, tmp_path):
    build_cache(round_config(shard="0/4"))
    other = shutil.copytree(small_run, tmp_path / "other")
    values = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**values, "image_size": 96}))
    with pytest.raises(CacheError) as caught:
        build_cache(round_config(run=other))
    assert caught.value.offenders == ("input.size: 96, not 64",)


def test_a_cache_of_cams_and_one_of_a_run_are_kept_apart(build_config, round_config):
    build_cache(build_config(shard="0/4"))
    with pytest.raises(CacheError) as caught:
        build_cache(round_config(out=build_config().out))
    assert "method: decoder, not layercam" in caught.value.offenders


def test_no_map_is_finer_than_the_frames_that_the_decoder_sees(round_config):
    report = build_cache(round_config(map_size=500, dry_run=True))
    assert not round_config().out.exists()
    assert (report.shots, report.frames) == (11, 35) and report.seconds > 0
    assert report.bytes == 35 * (2 * 64 * 64 + 4 * 6)


def test_building_in_shares_and_again_equals_one_build(round_config, round_cache, same_arrays):
    first = build_cache(round_config(shard="1/2"))
    second = build_cache(round_config())
    assert first.built_frames + second.built_frames == 35 and first.built_frames
    assert build_cache(round_config()).built_frames == 0
    same_arrays(round_config().out, round_cache)


def test_several_jobs_equal_one(round_config, round_cache, same_arrays):
    assert build_cache(round_config(jobs=2)).built_frames == 35
    same_arrays(round_config().out, round_cache)


def test_a_second_round_learns_from_it_and_goes_on_with_it_alone(decoder_config, round_cache, small_cache):
    assert train_decoder(decoder_config(cache=round_cache)).epochs == 1
    inputs = json.loads((decoder_config().out / "config.json").read_text())["inputs"]
    assert inputs["cache"]["method"] == "decoder"
    with pytest.raises(RunError, match="other settings"):
        train_decoder(decoder_config(cache=small_cache, epochs=2, resume=True))
    assert train_decoder(decoder_config(cache=round_cache, epochs=2, resume=True)).epochs == 2


def test_a_folder_without_a_run_is_refused_before_anything_is_written(round_config, tmp_path):
    with pytest.raises(RunError, match="there is no run in"):
        build_cache(round_config(run=tmp_path / "nothing"))
    assert not round_config().out.exists()


def test_a_run_that_does_not_know_a_class_is_refused(round_config, data_copy, tmp_path):
    (data_copy / "car").rename(data_copy / "boat")
    index_dataset(ManifestConfig(source=data_copy, layout="folders", out=tmp_path / "m.jsonl"))
    with pytest.raises(ConfigError) as caught:
        build_cache(round_config(manifest=tmp_path / "m.jsonl"))
    assert caught.value.offenders == ("boat",)
