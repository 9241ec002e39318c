"""Tests of frames stored beside the CAMs: built, resumed, trained on and scored from."""

import numpy as np
import pytest
from PIL import Image

from tcam_cache.cache import CamCache
from tcam_cache.config import EvaluateConfig, train_config
from tcam_cache.datasets import ImageFrames, read_manifest
from tcam_cache.errors import CacheError, FrameError
from tcam_cache.stages.build import build_cache
from tcam_cache.stages.evaluate import evaluate
from tcam_cache.stages.train import train_decoder

SIDE = 73  # what training crops 64 pixels out of


@pytest.fixture
def built(build_config):
    """The settings of a build whose frames are stored."""
    return build_config(frames=True, frame_size=SIDE)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_build_stores_every_frame_within_a_jpeg_s_tolerance(build_config, small_manifest, workers):
    config = build_config(frames=True, frame_size=SIDE, workers=workers)
    build_cache(config)
    manifest, cache = read_manifest(small_manifest), CamCache.open(config.out)
    originals = ImageFrames(manifest.root)
    source = cache.frames(originals, [shot.id for shot in manifest.shots])
    for shot in manifest.shots:
        for t in range(len(shot)):
            ours, theirs = source.read(shot, t, SIDE), originals.read(shot, t, SIDE)
            assert (ours.width, ours.height) == (theirs.width, theirs.height)
            assert 0 < np.abs(ours.pixels.astype(int) - theirs.pixels).mean() < 2
    assert cache.verify() == ()


def test_a_build_again_stores_only_what_is_missing(built, build_config):
    build_cache(build_config(shard="0/2", frames=True, frame_size=SIDE))
    files = {path: path.stat().st_mtime_ns for path in built.out.glob("frames/*.bin")}
    assert len(files) == 6
    build_cache(built)
    assert len(list(built.out.glob("frames/*.bin"))) == 11
    assert files == {path: path.stat().st_mtime_ns for path in files}


def test_frames_can_be_added_to_a_finished_cache_and_change_no_cam(
    built, build_config, small_cache, same_arrays
):
    build_cache(build_config())
    report = build_cache(built)
    assert report.built_frames == 0 and len(list(built.out.glob("frames/*.bin"))) == 11
    same_arrays(built.out, small_cache)


def test_unreadable_frames_are_named_once_and_can_be_mended(build_config, data_copy):
    broken = data_copy / "dog/0002/frame0003.jpg"
    whole = broken.read_bytes()
    broken.write_bytes(b"")
    config = build_config(root=data_copy, frames=True, frame_size=SIDE)
    with pytest.raises(FrameError, match="1 frame") as caught:
        build_cache(config)
    assert len(caught.value.offenders) == 1
    assert len(list(config.out.glob("frames/*.bin"))) == 10
    broken.write_bytes(whole)
    build_cache(config)
    assert len(list(config.out.glob("frames/*.bin"))) == 11


def test_training_and_scoring_need_no_original_of_a_stored_frame(
    built, small_manifest, data_copy, tmp_path, quick
):
    build_cache(built)
    for path in data_copy.rglob("*.jpg"):
        # Only the size of what is no longer looked at is left.
        Image.new("RGB", (64, 48)).save(path)
    settings = {"epochs": 1, "batch_size": 4, "decoder_width": 0.125, "landmarks": 16, "cached_frames": True}
    runs = {}
    for name, root in (("stored", data_copy), ("whole", None)):
        out = tmp_path / name
        given = {"manifest": small_manifest, "root": root, "cache": built.out, "out": out}
        train_decoder(train_config(**given, **settings, **quick))
        report = evaluate(
            EvaluateConfig(manifest=small_manifest, root=root, run=out, out=tmp_path / f"{name}_report",
                           cached_frames=True, overlays=0, workers=0)
        )  # fmt: skip
        runs[name] = [(row.path, row.iou) for row in report.evaluation.rows]
    assert runs["stored"] == runs["whole"]


def test_frames_that_are_asked_for_and_not_stored_are_a_named_error(
    small_manifest, small_cache, tmp_path, quick
):
    with pytest.raises(CacheError, match="build --frames"):
        train_decoder(
            train_config(
                manifest=small_manifest, cache=small_cache, out=tmp_path / "run", cached_frames=True, **quick
            )
        )
