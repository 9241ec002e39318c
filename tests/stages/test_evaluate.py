"""Tests of stage 3: runs and caches under every policy, metrics that follow from frames.csv."""

import csv
import itertools
import json
import operator
from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage.measure import label, regionprops

from tcam_cache.cache import CamCache
from tcam_cache.config.evaluate import MAP_SIZE, THRESHOLDS
from tcam_cache.datasets import read_manifest, write_manifest
from tcam_cache.errors import CacheError, ConfigError, EvaluationError, FrameError, RunError
from tcam_cache.evaluation import sweep_frame
from tcam_cache.inference import scoring
from tcam_cache.stages import evaluate as stage
from tcam_cache.stages.evaluate import evaluate

KEYS = {
    "split", "method", "frames", "boxes", "threshold", "corloc", "corloc_at", "max_box_acc_v2", "mean_iou",
    "cl_accuracy", "flat_maps", "ms_per_frame", "provenance",
}  # fmt: skip
COLUMNS = ["frame", "class", "predicted_class", "xmin", "ymin", "xmax", "ymax", "iou", "hit", "flat"]


# Two processes are needed to see them differ; a machine of one core is warned of them.
more_workers_than_cores = pytest.mark.filterwarnings("ignore:This DataLoader will create")


@pytest.fixture(params=["run", "cache"])
def subject(request, small_run, small_cache):
    """Either way to say what is scored."""
    return {request.param: {"run": small_run, "cache": small_cache}[request.param]}


def results(out):
    with (out / "frames.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return json.loads((out / "metrics.json").read_text()), rows


def iou(one, other):
    wide = max(0, min(one[2], other[2]) - max(one[0], other[0]))
    high = max(0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return wide * high / (areas - wide * high)


def mean_over_classes(rows, value):
    classes = sorted({row["class"] for row in rows})
    return np.mean([np.mean([value(row) for row in rows if row["class"] == tag]) for tag in classes])


def test_a_report_has_every_promised_file_key_and_column(evaluate_config, subject):
    config = evaluate_config(overlays=5, **subject)
    report, out = evaluate(config), config.out
    metrics, rows = results(out)
    assert set(metrics) >= KEYS
    assert set(metrics["threshold"]) == {"policy", "value"}
    assert set(metrics["corloc"]) == {"mean_over_classes", "mean_over_frames", "per_class", "per_video"}
    assert set(metrics["corloc_at"]) == {"0.3", "0.5", "0.7"}
    assert list(rows[0])[:10] == COLUMNS
    assert (metrics["split"], metrics["frames"], len(rows)) == ("test", 11, 11)
    assert metrics["method"] == ("tcam" if "run" in subject else "layercam")
    assert set(metrics["corloc"]["per_class"]) == {"bird", "car", "dog"}
    assert set(metrics["corloc"]["per_video"]) == {"bird/0003", "car/0003", "dog/0002"}
    assert (out / "table.md").is_file() and "<html" in (out / "index.html").read_text()
    assert len(list((out / "overlays").glob("*.jpg"))) == 3
    assert report.to_json()["corloc"] == metrics["corloc"] and str(out) in report.to_text()


def test_the_time_of_a_frame_is_that_of_its_map_without_the_search_for_boxes(
    evaluate_config, small_run, monkeypatch
):
    seconds = itertools.count()
    monkeypatch.setattr(stage.time, "perf_counter", lambda: float(next(seconds)))

    def slow_sweep(*args, **given):
        for _ in range(100):
            next(seconds)
        return sweep_frame(*args, **given)

    monkeypatch.setattr(scoring, "sweep_frame", slow_sweep)
    report = evaluate(evaluate_config(workers=0, overlays=0, run=small_run))
    assert 0 < report.evaluation.metrics.ms_per_frame < 10_000


def test_a_map_that_is_read_from_a_cache_has_no_time_of_its_making(evaluate_config, small_cache):
    assert evaluate(evaluate_config(overlays=0, cache=small_cache)).evaluation.metrics.ms_per_frame is None


# The policies work on sweeps, which are made by one code of all maps, most quickly of a cache's; a run brings
# a threshold of its own.
@pytest.mark.parametrize(
    ("subject", "threshold", "boxes"),
    [
        *(("cache", *how) for how in itertools.product([*THRESHOLDS, "0.25"], ["components", "wsol"])),
        ("run", "val", "components"),
        ("run", "oracle-per-class", "wsol"),
    ],
    indirect=["subject"],
)
def test_the_numbers_follow_from_frames_csv_under_every_policy(evaluate_config, subject, threshold, boxes):
    config = evaluate_config(threshold=threshold, boxes=boxes, **subject)
    evaluate(config)
    metrics, rows = results(config.out)
    assert (metrics["threshold"]["policy"], metrics["boxes"]) == (threshold, boxes)

    def hit(row):
        return 100 * float(row["hit"])

    assert metrics["corloc"]["mean_over_classes"] == pytest.approx(mean_over_classes(rows, hit), abs=1e-5)
    assert metrics["corloc"]["mean_over_frames"] == pytest.approx(
        np.mean([hit(row) for row in rows]), abs=1e-5
    )
    assert metrics["mean_iou"] == pytest.approx(np.mean([float(row["iou"]) for row in rows]), abs=1e-5)
    right = [row["class"] == row["predicted_class"] for row in rows]
    assert metrics["cl_accuracy"] == pytest.approx(100 * np.mean(right), abs=1e-5)
    counts = operator.ge if boxes == "wsol" else operator.gt
    for at, value in metrics["corloc_at"].items():
        found = mean_over_classes(rows, lambda row, at=at: counts(float(row["iou"]), float(at)))
        assert value == pytest.approx(100 * found, abs=1e-5)


def test_ious_are_those_of_the_boxes_beside_them(evaluate_config, small_run, small_manifest):
    config = evaluate_config(run=small_run)
    evaluate(config)
    manifest = read_manifest(small_manifest)
    truth = {shot.path(t): boxes for shot in manifest.shots for t, boxes in shot.boxes.items()}
    for row in results(config.out)[1]:
        box = [float(row[side] or "nan") for side in ("xmin", "ymin", "xmax", "ymax")]
        wanted = 0.0 if np.isnan(box).any() else max(iou(box, true) for true in truth[row["frame"]])
        assert float(row["iou"]) == pytest.approx(wanted, abs=1e-5)
        assert row["hit"] == str(int(wanted > 0.5))


def test_boxes_of_a_cache_are_those_of_its_upsampled_maps(evaluate_config, small_cache, small_manifest):
    config = evaluate_config(cache=small_cache, threshold="0.3", split="all", map_size=MAP_SIZE)
    evaluate(config)
    cache, manifest = CamCache.open(small_cache), read_manifest(small_manifest)
    cams = {shot.path(t): cache.cams(shot.id)[t] for shot in manifest.shots for t in range(len(shot))}
    rows = results(config.out)[1]
    assert len(rows) == 27
    for row in rows:
        cam = torch.from_numpy(cams[row["frame"]])[None, None]
        scores = torch.nn.functional.interpolate(cam, (224, 224), mode="bilinear")[0, 0].numpy()
        largest = max(
            regionprops(label(scores > 0.3 * scores.max(), connectivity=2)), key=lambda region: region.area
        )
        y0, x0, y1, x1 = largest.bbox
        wanted = [x0 * 64 / 224, y0 * 48 / 224, x1 * 64 / 224, y1 * 48 / 224]
        assert [float(row[side]) for side in ("xmin", "ymin", "xmax", "ymax")] == pytest.approx(
            wanted, abs=1e-4
        )


def test_the_threshold_of_a_run_is_the_one_it_carries(evaluate_config, small_run):
    carried = json.loads((small_run / "threshold.json").read_text())["value"]
    metrics = evaluate(evaluate_config(run=small_run, map_size=MAP_SIZE)).metrics
    assert metrics.threshold["value"] == pytest.approx(carried)


def test_the_threshold_of_a_cache_is_the_best_one_on_val(evaluate_config, small_cache):
    on_val = evaluate(evaluate_config(cache=small_cache, split="val", threshold="oracle")).metrics
    on_test = evaluate(evaluate_config(cache=small_cache, split="test")).metrics
    assert on_test.threshold == {"policy": "val", "value": on_val.threshold["value"]}


def test_split_all_scores_every_annotated_frame(evaluate_config, subject):
    metrics = evaluate(evaluate_config(split="all", **subject)).metrics
    assert (metrics.split, metrics.frames, metrics.true_boxes) == ("all", 27, 27)


@more_workers_than_cores
def test_worker_processes_change_no_number(evaluate_config, subject, tmp_path):
    evaluate(evaluate_config(**subject))
    evaluate(evaluate_config(**subject, workers=2, out=tmp_path / "other"))
    assert (tmp_path / "report/frames.csv").read_text() == (tmp_path / "other/frames.csv").read_text()


@pytest.fixture
def bare_manifest(small_manifest, tmp_path):
    """The manifest without a box in some splits."""

    def without_boxes(*splits):
        manifest = read_manifest(small_manifest)
        shots = tuple(replace(shot, boxes={}) if shot.split in splits else shot for shot in manifest.shots)
        write_manifest(replace(manifest, shots=shots), tmp_path / "bare.jsonl")
        return tmp_path / "bare.jsonl"

    return without_boxes


def test_a_split_without_boxes_is_named(evaluate_config, subject, bare_manifest):
    with pytest.raises(EvaluationError, match="test"):
        evaluate(evaluate_config(manifest=bare_manifest("test"), **subject))


def test_a_threshold_of_val_needs_boxes_on_val_before_any_work_and_another_does_not(
    evaluate_config, small_cache, bare_manifest, monkeypatch
):
    manifest = bare_manifest("val")
    with monkeypatch.context() as patch, pytest.raises(ConfigError, match="val"):
        patch.setattr(stage, "sweep_maps", None)
        evaluate(evaluate_config(manifest=manifest, cache=small_cache))
    assert (
        evaluate(evaluate_config(manifest=manifest, cache=small_cache, threshold="otsu")).metrics.frames == 11
    )


def test_a_cache_of_another_manifest_is_refused(evaluate_config, small_cache, small_manifest, tmp_path):
    manifest = read_manifest(small_manifest)
    write_manifest(replace(manifest, shots=manifest.shots[:-1]), tmp_path / "m.jsonl")
    with pytest.raises(CacheError, match="another manifest") as caught:
        evaluate(evaluate_config(manifest=tmp_path / "m.jsonl", cache=small_cache))
    assert caught.value.offenders == ("dog/0002: no frames in the manifest, 3 in the cache",)


@more_workers_than_cores
@pytest.mark.parametrize("workers", [0, 2])
def test_unreadable_frames_are_all_named(evaluate_config, subject, data_copy, workers):
    for name in ("bird/0003/frame0002.jpg", "dog/0002/frame0003.jpg"):
        (data_copy / name).write_bytes(b"")
    with pytest.raises(FrameError) as caught:
        evaluate(evaluate_config(root=data_copy, workers=workers, **subject))
    assert caught.value.offenders == (
        "bird/0003/frame0002.jpg: empty file", "dog/0002/frame0003.jpg: empty file",
    )  # fmt: skip


def test_a_folder_without_a_run_is_named(evaluate_config, tmp_path):
    with pytest.raises(RunError, match="there is no run in"):
        evaluate(evaluate_config(run=tmp_path))


def test_a_run_is_scored_without_the_cache_it_came_from(evaluate_config, small_run, tmp_path):
    settings = json.loads((small_run / "config.json").read_text())
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in small_run.iterdir():
        (moved / path.name).write_bytes(path.read_bytes())
    (moved / "config.json").write_text(json.dumps({**settings, "cache": str(tmp_path / "gone")}))
    ours = evaluate(evaluate_config(run=moved, overlays=3)).metrics
    assert ours.corloc == evaluate(evaluate_config(run=small_run)).metrics.corloc


def test_a_mix_is_scored_beside_what_it_is_mixed_from(evaluate_config, small_run):
    config = evaluate_config(run=small_run, mix="mean", split="val", threshold="0.5")
    report = evaluate(config)
    assert list(report.parts) == ["decoder alone", "CAM alone"]
    assert all(name in (config.out / "index.html").read_text() for name in report.parts)
    alone = evaluate(evaluate_config(run=small_run, split="val", threshold="0.5"))
    assert alone.parts == {}
    decoder = report.parts["decoder alone"].metrics
    assert decoder.corloc == alone.metrics.corloc and decoder.mean_iou == pytest.approx(
        alone.metrics.mean_iou
    )
    assert "CAM alone: CorLoc" in report.to_text()
    assert set(report.to_json()["parts"]) == set(report.parts)


def test_scales_change_the_cams_that_are_mixed_in_and_not_the_decoder(evaluate_config, small_run):
    given = {"run": small_run, "mix": "mean", "split": "val", "threshold": "0.5"}
    one, averaged = (evaluate(evaluate_config(**given, scales=scales)).parts for scales in ("1", "1,2,3"))
    ious = {name: [[row.iou for row in parts[name].rows] for parts in (one, averaged)] for name in one}
    assert ious["CAM alone"][0] != ious["CAM alone"][1]
    # Frames come at the largest size here, and are made smaller from there.
    assert ious["decoder alone"][0] == pytest.approx(ious["decoder alone"][1], abs=0.25)


def test_scales_that_are_none_or_of_a_cache_are_refused(evaluate_config, small_run, small_cache):
    with pytest.raises(ConfigError, match="got scales '1,x'"):
        evaluate_config(run=small_run, scales="1,x")
    with pytest.raises(ConfigError, match="--cache"):
        evaluate_config(cache=small_cache, scales="1,2")


def test_a_mix_of_a_cache_is_refused(evaluate_config, small_cache):
    with pytest.raises(ConfigError, match="--mix is of a decoder's maps"):
        evaluate_config(cache=small_cache, mix="mean")
