"""Tests of boxes for new frames: a folder, one image, and what is no image."""

import csv
import json
import shutil

import pytest
from PIL import Image

from tcam_cache.config import EvaluateConfig, PredictConfig
from tcam_cache.errors import ConfigError, FrameError, RunError
from tcam_cache.stages.evaluate import evaluate
from tcam_cache.stages.fit_classifier import fit_folder
from tcam_cache.stages.predict import predict


@pytest.fixture
def config(small_run, small_data, tmp_path):
    defaults = {"run": small_run, "source": small_data / "dog", "out": tmp_path / "out", "workers": 0}
    return lambda **given: PredictConfig(**{**defaults, **given})


def rows_of(config):
    with (config.out / "boxes.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_image_of_a_folder_gets_a_row_and_a_picture(config):
    report = predict(config())
    rows = rows_of(config())
    assert [row["frame"] for row in rows] == [
        *(f"0001/frame{t:04d}.jpg" for t in range(1, 5)),
        *(f"0002/frame{t:04d}.jpg" for t in range(1, 4)),
    ]
    assert report.frames == 7 and report.boxes == sum(row["x0"] != "" for row in rows)
    for row in rows:
        assert row["predicted_class"] in ("bird", "car", "dog") and 1 / 3 <= float(row["probability"]) <= 1
        if row["x0"]:
            assert 0 <= float(row["x0"]) < float(row["x1"]) <= 64
            assert 0 <= float(row["y0"]) < float(row["y1"]) <= 48
        with Image.open(config().out / "overlays" / row["frame"]) as picture:
            assert picture.size == (64, 48)
    assert json.loads(json.dumps(report.to_json()))["threshold"] == report.threshold
    assert f"{report.boxes} boxes in 7 frames" in report.to_text()


def test_boxes_and_threshold_are_those_of_the_evaluation(config, small_manifest, small_run, tmp_path):
    predict(config())
    evaluate(
        EvaluateConfig(manifest=small_manifest, run=small_run, out=tmp_path / "r", workers=0, overlays=0)
    )
    with (tmp_path / "r/frames.csv").open(newline="") as file:
        scored = {row["frame"]: row for row in csv.DictReader(file)}
    ours = {f"dog/{row['frame']}": row for row in rows_of(config())}
    assert {"dog/0002/frame0001.jpg", "dog/0002/frame0003.jpg"} <= ours.keys() & scored.keys()
    for name in ours.keys() & scored.keys():
        for side in ("x0", "y0", "x1", "y1"):
            one, other = ours[name][side], scored[name][side]
            assert (one == other == "") or float(one) == pytest.approx(float(other), abs=0.01)
        assert ours[name]["predicted_class"] == scored[name]["predicted_class"]


def test_one_image_is_enough_and_pictures_can_be_left_out(config, small_data):
    one = config(source=small_data / "car/0002/frame0002.jpg", overlays=False)
    assert predict(one).frames == 1
    assert [row["frame"] for row in rows_of(one)] == ["frame0002.jpg"]
    assert [path.name for path in one.out.iterdir()] == ["boxes.csv"]


def test_a_higher_threshold_gives_a_smaller_box(config):
    areas = []
    for tau in (0.2, 0.999):
        assert predict(config(threshold=tau)).threshold == tau
        corners = [[float(row[side]) for side in ("x0", "y0", "x1", "y1")] for row in rows_of(config())]
        areas.append([(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in corners])
    assert all(high < low for low, high in zip(*areas, strict=True))


def test_a_threshold_beyond_the_map_is_refused(config):
    with pytest.raises(ConfigError, match=r"1\.5"):
        predict(config(threshold=1.5))


@pytest.mark.parametrize("source", ["empty", "nowhere", "nowhere.jpg"])
def test_without_an_image_there_is_a_frame_error(config, tmp_path, source):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FrameError, match=f"there is no image in .*{source}"):
        predict(config(source=tmp_path / source))


def test_every_unreadable_image_is_named(config, data_copy):
    (data_copy / "dog/0001/frame0002.jpg").write_bytes(b"")
    (data_copy / "dog/0002/frame0003.jpg").write_text("no image")
    with pytest.raises(FrameError) as caught:
        predict(config(source=data_copy / "dog"))
    assert [offender.split("/", 1)[-1] for offender in caught.value.offenders] == [
        "0001/frame0002.jpg: empty file",
        "0002/frame0003.jpg: not an image",
    ]
    assert not (config().out / "boxes.csv").exists()


def test_a_file_that_is_no_image_is_named(config, small_data):
    with pytest.raises(FrameError, match=r"annotations\.csv: not an image"):
        predict(config(source=small_data / "annotations.csv"))


def test_a_run_without_a_threshold_asks_for_one(config, small_run, tmp_path):
    run = shutil.copytree(small_run, tmp_path / "run")
    (run / "threshold.json").unlink()
    with pytest.raises(ConfigError, match="--threshold"):
        predict(config(run=run))
    assert predict(config(run=run, threshold=0.5)).threshold == 0.5


def test_a_threshold_of_an_earlier_checkpoint_is_not_that_of_a_later_one(
    config, evaluate_config, small_run, tmp_path
):
    run = shutil.copytree(small_run, tmp_path / "run")
    chosen = json.loads((run / "threshold.json").read_text())
    (run / "threshold.json").write_text(json.dumps({**chosen, "epoch": chosen["epoch"] + 1, "value": 0.999}))
    with pytest.raises(ConfigError, match="--threshold"):
        predict(config(run=run))
    again = evaluate(evaluate_config(run=run)).metrics.threshold
    assert again == {"policy": "val", "value": pytest.approx(chosen["value"])}


def test_pictures_of_one_name_and_two_kinds_do_not_hide_each_other(config, small_data, tmp_path):
    (tmp_path / "new").mkdir()
    with Image.open(next(small_data.rglob("*.jpg"))) as picture:
        picture.save(tmp_path / "new/a.png")
        picture.save(tmp_path / "new/a.jpg")
    predict(config(source=tmp_path / "new"))
    drawn = sorted(path.name for path in (config().out / "overlays").iterdir())
    assert drawn == ["a.jpg", "a.png.jpg"]


def test_a_folder_without_a_run_is_named(config, tmp_path):
    with pytest.raises(RunError, match="there is no run in"):
        predict(config(run=tmp_path))


def test_a_run_without_a_finished_epoch_is_named(config, small_run, tmp_path):
    run = shutil.copytree(small_run, tmp_path / "run")
    (run / "best.pt").unlink()
    with pytest.raises(RunError, match=r"has no best\.pt"):
        predict(config(run=run))


@pytest.mark.parametrize("content", ["{", "{}", "[1]", '{"value": "high"}', '{"value": 2}'])
def test_a_damaged_threshold_is_named(config, small_run, tmp_path, content):
    run = shutil.copytree(small_run, tmp_path / "run")
    (run / "threshold.json").write_text(content)
    with pytest.raises(RunError, match=r"threshold\.json is damaged"):
        predict(config(run=run))


def test_files_of_two_runs_are_not_mixed(config, small_run, small_classifier, tmp_path):
    run = shutil.copytree(small_run, tmp_path / "run")
    shutil.copy(fit_folder(small_classifier) / "last.pt", run / "best.pt")
    with pytest.raises(RunError, match=r"best\.pt is no decoder on the encoder in classifier\.pt"):
        predict(config(run=run))
