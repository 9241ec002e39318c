"""Tests of stage 1: the CAMs it stores, resuming, sharing the work, and what it refuses."""

import numpy as np
import pytest
import torch
from PIL import Image

from tcam_cache.cache import CamCache
from tcam_cache.config import ManifestConfig
from tcam_cache.config.build import METHODS
from tcam_cache.config.sharing import parse_shard
from tcam_cache.datasets import read_manifest
from tcam_cache.errors import CacheError, ConfigError, FrameError
from tcam_cache.models import read_classifier_file
from tcam_cache.stages.build import build_cache
from tcam_cache.stages.manifest import index_dataset


def layercam_by_gradient(classifier, path, tag):
    """Return the normalised LayerCAM of one frame from its definition: autograd, no closed form."""
    with Image.open(path) as image:
        pixels = np.array(image.convert("RGB").resize((64, 64), Image.Resampling.BILINEAR))
    images = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    activations = classifier.features(images)[-1].requires_grad_()
    logits = classifier.logits(activations)
    (gradient,) = torch.autograd.grad(logits[0, tag], activations)
    raw = (gradient.relu() * activations).sum(1).relu()[0].detach()
    low, high = raw.min().item(), raw.max().item()
    return (raw - low) / (high - low), low, high, logits[0].detach()


def test_the_stored_cams_are_the_layercams_of_the_video_s_tag(small_manifest, small_classifier, small_cache):
    cache, manifest = CamCache.open(small_cache), read_manifest(small_manifest)
    classifier = read_classifier_file(small_classifier).classifier("best_localization")
    for shot in manifest.shots:
        cams, stats = cache.cams(shot.id), cache.stats(shot.id)
        assert cams.shape == (len(shot), 7, 7) and not stats.flat.any()
        for t in range(len(shot)):
            tag = classifier.classes.index(shot.tag)
            wanted, low, high, logits = layercam_by_gradient(classifier, manifest.root / shot.path(t), tag)
            assert np.abs(cams[t] - wanted.numpy()).max() < 1e-3
            assert (stats.raw_min[t], stats.raw_max[t]) == pytest.approx((low, high), rel=1e-4)
            assert stats.logits[t] == pytest.approx(logits.numpy(), abs=1e-4)


def test_the_cache_carries_its_classifier_and_its_manifest(small_manifest, small_classifier, small_cache):
    cache = CamCache.open(small_cache)
    copied = read_manifest(small_cache / "manifest.jsonl")
    assert copied.digest() == read_manifest(small_manifest).digest() == cache.settings["manifest"]
    hashes = read_classifier_file(small_cache / "classifier.pt").hashes()
    assert hashes == read_classifier_file(small_classifier).hashes()
    assert cache.settings["classifier"]["weights"] == hashes["best_localization"]


def test_building_again_does_nothing(build_config):
    first = build_cache(build_config())
    written = {path: path.stat().st_mtime_ns for path in build_config().out.rglob("*") if path.is_file()}
    again = build_cache(build_config())
    assert (first.built_frames, again.built_frames) == (35, 0)
    assert (again.shots, again.frames, again.frames_per_second) == (11, 35, 0.0)
    assert written == {path: path.stat().st_mtime_ns for path in written}
    assert "35 frames built" in first.to_text() and "0 frames built" in again.to_text()


def test_two_shards_together_equal_one_build(build_config, small_cache, same_arrays):
    first = build_cache(build_config(shard="0/2"))
    missing = CamCache.open(build_config().out).missing()
    second = build_cache(build_config(shard="1/2"))
    assert len(missing) == 5 and first.built_frames + second.built_frames == 35
    same_arrays(build_config().out, small_cache)


def test_the_order_in_which_shots_are_finished_changes_no_number(build_config, small_cache, same_arrays):
    for shard in ("2/3", "0/3", "1/3"):
        build_cache(build_config(shard=shard))
    same_arrays(build_config().out, small_cache)


def test_jobs_resolve_relative_paths_from_where_the_caller_is_now(build_config, tmp_path, monkeypatch):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        assert build_cache(build_config(jobs=2, out="cache")).built_frames == 35
        assert CamCache.open(tmp_path / name / "cache").missing() == ()


@pytest.mark.parametrize("workers", [0, 2])
def test_several_jobs_equal_one_whoever_decodes(build_config, small_cache, same_arrays, workers):
    assert build_cache(build_config(jobs=2, workers=workers)).built_frames == 35
    same_arrays(build_config().out, small_cache)


def test_loading_in_worker_processes_changes_no_number(build_config, small_cache, same_arrays):
    build_cache(build_config(workers=1))
    same_arrays(build_config().out, small_cache)


def test_every_third_frame_and_all_annotated_ones_are_kept(build_config, small_manifest, small_cache):
    report = build_cache(build_config(every=3))
    cache, whole = CamCache.open(build_config().out), CamCache.open(small_cache)
    frames = 0
    for shot in read_manifest(small_manifest).shots:
        kept = sorted({*range(0, len(shot), 3), *shot.boxes})
        assert np.abs(cache.cams(shot.id) - whole.cams(shot.id)[kept]).max() < 2e-3
        frames += len(kept)
    assert report.frames == report.built_frames == frames
    assert 35 // 3 < frames < 35
    assert {2, 4} <= set(read_manifest(small_manifest).shot("bird/0001/001").boxes)


def test_a_dry_run_says_frames_bytes_and_hours_and_writes_nothing(build_config):
    report = build_cache(build_config(dry_run=True))
    assert not build_config().out.exists()
    assert (report.shots, report.frames, report.dry_run) == (11, 35, True)
    # 7 x 7 half floats; minimum, maximum, flag and three logits in single floats.
    assert report.bytes == 35 * (2 * 49 + 4 * 6)
    assert report.seconds > 0 and "would hold 11 shots, 35 frames" in report.to_text()


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"image_size": 96}, "input.size: 96, not 64"),
        ({"every": 2}, "every: 2, not 1"),
        ({"method": "xgradcam"}, "method: xgradcam, not layercam"),
        ({"layers": "features.7"}, "layers: ['features.7'], not ['features.12']"),
        ({"target": "prediction"}, "target: prediction, not tag"),
        ({"amp": "bf16"}, "numerics.amp: bf16, not none"),
    ],
)
def test_another_setting_in_the_same_folder_is_refused_by_name(build_config, given, field):
    build_cache(build_config(shard="0/4"))
    before = CamCache.open(build_config().out).digest()
    with pytest.raises(CacheError) as caught:
        build_cache(build_config(**given))
    assert field in caught.value.offenders
    assert CamCache.open(build_config().out).digest() == before


def test_another_classifier_in_the_same_folder_is_refused_by_name(build_config, small_classifier, tmp_path):
    build_cache(build_config(shard="0/4"))
    file = read_classifier_file(small_classifier)
    file.checkpoints["best_localization"]["head.bias"].add_(1)
    file.save(tmp_path / "other.pt")
    with pytest.raises(CacheError, match=r"classifier\.weights: "):
        build_cache(build_config(classifier=tmp_path / "other.pt"))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_builds_a_cache_of_its_own(build_config, small_cache, method):
    build_cache(build_config(method=method, shard="0/4"))
    cache, layercam = CamCache.open(build_config().out), CamCache.open(small_cache)
    assert cache.settings["method"] == method
    different = [
        not np.array_equal(cache.cams(shot.id), layercam.cams(shot.id))
        for shot in cache.shots()
        if shot.complete
    ]
    assert len(different) == 3 and all(different) == (method != "layercam")


def test_several_layers_are_built_at_the_finest_resolution(build_config):
    build_cache(build_config(layers="features.4, last", shard="0/4", batch_size=2))
    cache = CamCache.open(build_config().out)
    assert cache.settings["layers"] == ["features.4", "features.12"]
    assert cache.map_size == (15, 15) and cache.verify() == ()


def test_the_network_is_compiled_when_that_is_asked_for(build_config, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda module, dynamic: compiled.append(dynamic) or module)
    build_cache(build_config(compile=True, shard="0/4"))
    assert compiled == [True]
    assert CamCache.open(build_config().out).settings["numerics"]["compile"] is True


def test_the_number_of_threads_holds_for_the_build_alone(build_config):
    before = torch.get_num_threads()
    build_cache(build_config(threads=2, shard="0/4"))
    assert torch.get_num_threads() == before
    assert CamCache.open(build_config().out).recorded["threads"] == 2


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"layers": "layer9"}, "(?s)features.0, features.1.*layer9: no such layer"),
        ({"layers": "head"}, "not spatial"),
        ({"layers": ""}, "an empty name"),
        ({"method": "cam", "layers": "features.4"}, "cam is made of the head's weights"),
    ],
)
def test_a_layer_that_gives_no_map_is_refused_before_anything_is_written(build_config, given, said):
    with pytest.raises(ConfigError, match=said):
        build_cache(build_config(**given))
    assert not build_config().out.exists()


def test_a_classifier_that_does_not_know_a_class_is_refused(build_config, data_copy, tmp_path):
    (data_copy / "car").rename(data_copy / "boat")
    index_dataset(ManifestConfig(source=data_copy, layout="folders", out=tmp_path / "m.jsonl"))
    with pytest.raises(ConfigError) as caught:
        build_cache(build_config(manifest=tmp_path / "m.jsonl"))
    assert caught.value.offenders == ("boat",)
    assert not build_config().out.exists()


@pytest.mark.parametrize("jobs", [1, 2])
def test_unreadable_frames_leave_their_shots_out_are_all_named_and_can_be_mended(
    build_config, data_copy, small_cache, same_arrays, jobs
):
    broken = {
        "bird/0001/001/frame0002.jpg": b"",
        "bird/0001/001/frame0005.jpg": b"x",
        "dog/0002/frame0003.jpg": b"",
    }
    whole = {name: (data_copy / name).read_bytes() for name in broken}
    for name, data in broken.items():
        (data_copy / name).write_bytes(data)
    with pytest.raises(FrameError, match="3 frame") as caught:
        build_cache(build_config(root=data_copy, jobs=jobs))
    assert sorted(offender.partition(":")[0] for offender in caught.value.offenders) == sorted(broken)
    assert CamCache.open(build_config().out).missing() == ("bird/0001/001", "dog/0002")
    for name, data in whole.items():
        (data_copy / name).write_bytes(data)
    assert build_cache(build_config(root=data_copy, jobs=jobs)).built_frames == 6 + 3
    same_arrays(build_config().out, small_cache)


def test_flat_maps_are_counted_and_said(build_config, small_classifier, tmp_path, caplog):
    file = read_classifier_file(small_classifier)
    file.checkpoints["best_localization"]["head.weight"].copy_(-torch.ones(3, 512))
    file.save(tmp_path / "blind.pt")
    report = build_cache(build_config(classifier=tmp_path / "blind.pt"))
    assert report.flat_maps == 35 and "35 of 35 new maps are flat" in caplog.text
    assert CamCache.open(build_config().out).stats("dog/0001").flat.all()


@pytest.mark.parametrize("text", ["1", "2/2", "-1/2", "a/b", "1/2/3", ""])
def test_a_share_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="expected i/N"):
        parse_shard(text)


def test_a_shot_of_frames_of_different_sizes_is_built_and_counted(
    build_config, data_copy, small_cache, caplog
):
    frame = data_copy / "dog/0002/frame0002.jpg"
    with Image.open(frame) as image:
        image.resize((32, 48)).save(frame)
    build_cache(build_config(root=data_copy))
    assert "1 new shot(s) hold frames of different sizes" in caplog.text
    ours, theirs = CamCache.open(build_config().out), CamCache.open(small_cache)
    assert np.array_equal(ours.cams("dog/0002")[[0, 2]], theirs.cams("dog/0002")[[0, 2]])


def test_the_fingerprint_holds_exactly_what_changes_a_number(small_cache):
    """A key more or less makes other fingerprints: caches that people have can then not be resumed."""

    def keys(settings):
        return {key: keys(value) if isinstance(value, dict) else ... for key, value in settings.items()}

    assert keys(dict(CamCache.open(small_cache).settings)) == {
        "algorithm": ...,
        "method": ...,
        "layers": ...,
        "target": ...,
        "classifier": {"arch": ..., "output_stride": ..., "dilated": ..., "classes": ..., "weights": ...},
        "input": {"size": ..., "resize": ..., "colour": ...},
        "maps": {"size": ..., "scaling": ..., "dtype": ...},
        "numerics": {"amp": ..., "compile": ..., "batch_size": ...},
        "manifest": ...,
        "every": ...,
    }


def test_another_batch_size_is_another_setting(build_config):
    build_cache(build_config(shard="0/4"))
    with pytest.raises(CacheError) as caught:
        build_cache(build_config(batch_size=3))
    assert caught.value.offenders == ("numerics.batch_size: 3, not 32",)
