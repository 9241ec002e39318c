"""Tests of what an evaluation is about: which CAMs are shown beside a map."""

import html
import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tcam_cache.cache import CamCache
from tcam_cache.config import train_config
from tcam_cache.config.evaluate import MAP_SIZE
from tcam_cache.datasets import frame_source, read_manifest, write_manifest
from tcam_cache.inference.maps import FrameMap
from tcam_cache.inference.targets import PSEUDO_FRAMES, open_target, pseudo_annotated
from tcam_cache.records import Box, Shot
from tcam_cache.stages.build import build_cache
from tcam_cache.stages.evaluate import evaluate
from tcam_cache.stages.train import train_decoder

SHOT, FRAME = "bird/0001/001", 3


@pytest.fixture
def subject_of(evaluate_config, small_manifest):
    """Return a function that finds what an evaluation with given options is about."""
    manifest = read_manifest(small_manifest)
    return lambda **given: open_target(evaluate_config(**given), manifest, frame_source(manifest), 0)[0]


def test_a_cache_shows_the_cam_that_it_scores_alone(subject_of, small_cache):
    cam, temporal = subject_of(cache=small_cache).cams_of(SHOT, FRAME)
    np.testing.assert_array_equal(cam, CamCache.open(small_cache).window(SHOT, FRAME, 0)[0])
    assert temporal is None


def test_a_run_shows_the_cams_it_learned_from_and_their_maximum_over_its_window(
    subject_of, decoder_config, small_cache
):
    train_decoder(decoder_config(neighbours=2))
    cam, temporal = subject_of(run=decoder_config().out).cams_of(SHOT, FRAME)
    window = CamCache.open(small_cache).window(SHOT, FRAME, 2)
    assert len(window) == 3
    np.testing.assert_array_equal(cam, window[-1])
    np.testing.assert_array_equal(temporal, window.max(0))


def test_a_run_whose_cache_is_gone_shows_no_cam_and_says_where_it_was_looked_for(
    subject_of, evaluate_config, small_run, tmp_path, caplog
):
    run, cache = shutil.copytree(small_run, tmp_path / "run"), tmp_path / "cache"
    values = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**values, "cache": str(cache), "out": str(run)}))
    assert subject_of(run=run).cams_of(SHOT, FRAME) == (None, None)
    evaluate(evaluate_config(run=run, overlays=3))
    page = html.unescape((tmp_path / "report/index.html").read_text())
    for told in (caplog.text, page):
        assert f"not shown: the run's cache was looked for at {cache}: there is no folder {cache}" in told


def test_shots_that_the_cache_lacks_are_named(subject_of, small_run, small_manifest, small_cache):
    subject, shots = subject_of(run=small_run), read_manifest(small_manifest).shots
    assert subject.unshown(shots) == ""
    lacking = replace(subject, cache=Lacking(small_cache, shots[0].id))
    assert lacking.unshown(shots) == (
        f"The CAMs of 1 shot(s) are not shown: {small_cache} lacks {shots[0].id}. "
        "Finish it with `tcam-cache build`."
    )
    assert lacking.cams_of(shots[0].id, 0) == (None, None)


class Lacking:
    """A cache without one shot."""

    def __init__(self, path, lacks):
        self.path, self.lacks = path, lacks

    def shot(self, shot_id):
        return SimpleNamespace(complete=shot_id != self.lacks)


@pytest.fixture(scope="module")
def trained_there(tmp_path_factory, small_manifest, small_cache, quick, many_seeds):
    """A folder with a cache and a run that was trained on it with relative paths."""
    folder = tmp_path_factory.mktemp("there")
    shutil.copytree(small_cache, folder / "caches/layercam")
    settings = {"epochs": 1, "batch_size": 4, "decoder_width": 0.125, "landmarks": 16, **quick, **many_seeds}
    places = {"cache": Path("caches/layercam"), "out": Path("runs/one")}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train_decoder(train_config(manifest=small_manifest, **places, **settings))
    return folder


@pytest.fixture
def trained_in(monkeypatch, tmp_path, trained_there):
    """Return a function that makes a folder as if the run had been trained in it, and returns it."""

    def copied(name):
        folder = shutil.copytree(trained_there, tmp_path / name)
        config = folder / "runs/one/config.json"
        config.write_text(config.read_text().replace(str(trained_there), str(folder)))
        monkeypatch.chdir(tmp_path)
        return folder

    return copied


def test_a_run_trained_with_relative_paths_shows_its_cams_from_any_folder(
    subject_of, evaluate_config, trained_in, caplog
):
    folder = trained_in("here")
    kept = json.loads((folder / "runs/one/config.json").read_text())
    assert (kept["cache"], kept["out"]) == (str(folder / "caches/layercam"), str(folder / "runs/one"))
    assert subject_of(run=folder / "runs/one").cams_of(SHOT, FRAME)[0] is not None
    report = evaluate_config(run=Path("here/runs/one"), overlays=1)
    evaluate(report)
    with Image.open(report.out / "overlays/000.jpg") as picture:
        assert picture.width > 4 * 300
    assert "not shown" not in caplog.text + (report.out / "index.html").read_text()


def test_a_run_moved_with_its_cache_shows_its_cams(subject_of, trained_in, tmp_path):
    folder = trained_in("here").rename(tmp_path / "there")
    assert subject_of(run=folder / "runs/one").cams_of(SHOT, FRAME)[0] is not None


@pytest.mark.parametrize("base", ["here", "."])
def test_a_run_of_before_with_relative_paths_opens_from_any_folder(
    subject_of, trained_in, tmp_path, monkeypatch, base
):
    folder = trained_in("here")
    path = folder / "runs/one/config.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "cache": "caches/layercam", "out": "runs/one"}))
    # A cache of the same name beside whoever looks is another one.
    (tmp_path / "caches/layercam").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / base)
    subject = subject_of(run=folder / "runs/one")
    assert subject.cache.path == folder / "caches/layercam"


def test_another_cache_in_the_place_of_the_runs_is_not_shown(subject_of, trained_in, build_config):
    folder = trained_in("here")
    shutil.rmtree(folder / "caches/layercam")
    build_cache(build_config(out=folder / "caches/layercam", method="activation", layers="features.4"))
    subject = subject_of(run=folder / "runs/one")
    assert subject.cache is None
    assert "another cache than the run was trained on" in subject.out_of_reach


def test_boxes_of_cams_are_what_an_evaluation_of_them_at_otsu_s_threshold_finds(
    small_cache, small_manifest, evaluate_config, tmp_path
):
    manifest = read_manifest(small_manifest)
    shots = pseudo_annotated(CamCache.open(small_cache), manifest.shots, frame_source(manifest), 0)
    assert sum(len(shot.boxes) for shot in shots) > len(shots)
    write_manifest(replace(manifest, shots=tuple(shots)), tmp_path / "m.jsonl")
    given = {"manifest": tmp_path / "m.jsonl", "cache": small_cache, "split": "all", "threshold": "otsu"}
    report = evaluate(evaluate_config(**given, root=manifest.root, map_size=MAP_SIZE))
    assert report.metrics.policies["otsu"]["mean_iou"] == pytest.approx(1, abs=1e-3)


def test_few_frames_of_a_long_shot_have_boxes_of_cams_and_flat_maps_none(monkeypatch):
    def maps(cache, frames, source, **how):
        for shot, t in frames:
            scores = np.zeros((56, 56), np.float32)
            scores[7:14, 28:42] = t > 0  # the first map is flat
            yield FrameMap(shot, t, scores, np.zeros(0), 112, 56)

    monkeypatch.setattr("tcam_cache.inference.targets.cached_maps", maps)
    shot = Shot("a/1", "a", "a/1", "val", "a/1", tuple(f"{t}.jpg" for t in range(100)))
    cache = SimpleNamespace(require_complete=lambda shots: None)
    (found,) = pseudo_annotated(cache, [shot], None, 0)
    assert len(found.boxes) == PSEUDO_FRAMES - 1 and 0 not in found.boxes and 99 in found.boxes
    assert set(found.boxes.values()) == {(Box(56, 7, 84, 14),)}
