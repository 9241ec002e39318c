"""Tests of boxes for new frames: a folder, one image, and what is no image."""

import csv
import dataclasses
import json
import re
import shutil
import time
from functools import partial
from threading import Thread

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.filters import threshold_otsu

from tcam_cache.config import EvaluateConfig, ManifestConfig, PredictConfig
from tcam_cache.config.evaluate import MAP_SIZE
from tcam_cache.datasets import read_manifest
from tcam_cache.errors import ConfigError, FrameError, RunError
from tcam_cache.inference import Localizer, clip_boxes
from tcam_cache.inference.boxes_folder import write_table
from tcam_cache.inference.tracks import PRESENCE_RADIUS, presence_over
from tcam_cache.stages.classifier import fit_folder
from tcam_cache.stages.evaluate import evaluate
from tcam_cache.stages.manifest import index_dataset
from tcam_cache.stages.predict import PredictReport, predict


@pytest.fixture
def config(small_run, small_data, tmp_path):
    defaults = {"run": small_run, "source": small_data / "dog", "out": tmp_path / "out", "workers": 0}
    return lambda **given: PredictConfig(**{**defaults, **given})


def rows_of(config):
    with (config.out / "boxes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{**row, "path": f"{row['video']}/{row['name']}".removeprefix("/")} for row in rows]


def test_every_image_of_a_folder_gets_a_row_and_a_picture(config):
    report = predict(config())
    rows = rows_of(config())
    assert [row["path"] for row in rows] == [
        *(f"0001/frame{t:04d}.jpg" for t in range(1, 5)),
        *(f"0002/frame{t:04d}.jpg" for t in range(1, 4)),
    ]
    assert report.frames == 7 and report.boxes == sum(row["xmin"] != "" for row in rows)
    for row in rows:
        assert row["tag"] in ("bird", "car", "dog") and 1 / 3 <= float(row["probability"]) <= 1
        assert (row["width"], row["height"], row["time"]) == ("64", "48", "")
        if row["xmin"]:
            assert 0 <= float(row["xmin"]) < float(row["xmax"]) <= 64
            assert 0 <= float(row["ymin"]) < float(row["ymax"]) <= 48
        with Image.open(config().out / "overlays" / row["path"]) as picture:
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
    ours = {f"dog/{row['path']}": row for row in rows_of(config())}
    assert {"dog/0002/frame0001.jpg", "dog/0002/frame0003.jpg"} <= ours.keys() & scored.keys()
    for name in ours.keys() & scored.keys():
        for side in ("xmin", "ymin", "xmax", "ymax"):
            one, other = ours[name][side], scored[name][side]
            assert (one == other == "") or float(one) == pytest.approx(float(other), abs=0.01)
        assert ours[name]["tag"] == scored[name]["predicted_class"]


def test_one_image_is_enough_and_pictures_can_be_left_out(config, small_data):
    one = config(source=small_data / "car/0002/frame0002.jpg", overlays=False)
    assert predict(one).frames == 1
    assert [row["path"] for row in rows_of(one)] == ["frame0002.jpg"]
    assert sorted(path.name for path in one.out.iterdir()) == [
        "boxes.csv",
        "found.csv",
        "frames.jsonl",
        "predict.json",
    ]


def test_a_higher_threshold_gives_a_smaller_box(config):
    areas = []
    for tau in (0.2, 0.999):
        assert predict(config(threshold=tau, overwrite=True)).threshold == tau
        corners = [
            [float(row[side]) for side in ("xmin", "ymin", "xmax", "ymax")] for row in rows_of(config())
        ]
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
    with pytest.raises(FrameError, match=r"2 frame.*cannot be read.*of all others are in") as caught:
        predict(config(source=data_copy / "dog"))
    assert [offender.split("/", 1)[-1] for offender in caught.value.offenders] == [
        "0001/frame0002.jpg: empty file",
        "0002/frame0003.jpg: not an image",
    ]
    assert [row["path"] for row in rows_of(config())] == [
        "0001/frame0001.jpg", "0001/frame0003.jpg", "0001/frame0004.jpg", "0002/frame0001.jpg",
        "0002/frame0002.jpg",
    ]  # fmt: skip


def test_a_file_that_is_no_image_is_named(config, small_data):
    with pytest.raises(FrameError, match=r"annotations\.csv: not an image"):
        predict(config(source=small_data / "annotations.csv"))


def test_a_run_without_a_threshold_takes_boxes_at_one_half(config, small_run, tmp_path):
    run = shutil.copytree(small_run, tmp_path / "run")
    (run / "threshold.json").unlink()
    assert predict(config(run=run)).threshold == 0.5


def test_a_threshold_of_an_earlier_checkpoint_is_not_that_of_a_later_one(
    config, evaluate_config, small_run, tmp_path
):
    run = shutil.copytree(small_run, tmp_path / "run")
    chosen = json.loads((run / "threshold.json").read_text())
    (run / "threshold.json").write_text(json.dumps({**chosen, "epoch": chosen["epoch"] + 1, "value": 0.999}))
    assert predict(config(run=run)).threshold == 0.5
    again = evaluate(evaluate_config(run=run, map_size=MAP_SIZE)).metrics.threshold
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


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("stop", [0, 1, 4])
def test_an_interrupted_call_keeps_its_rows_and_goes_on_to_the_same_files(
    config, monkeypatch, tmp_path, stop
):
    whole = config(out=tmp_path / "whole", batch_size=2)
    predict(whole)
    half = config(out=tmp_path / "half", batch_size=2)
    draw, seen = clip_boxes.frame_confidence, []

    def interrupted(*given):
        if len(seen) == stop:
            raise KeyboardInterrupt
        seen.append(draw(*given))
        return seen[-1]

    def counted(*given):
        again.append(draw(*given))
        return again[-1]

    monkeypatch.setattr(clip_boxes, "frame_confidence", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predict(half)
    assert len(rows_of(half)) == stop
    again = []
    monkeypatch.setattr(clip_boxes, "frame_confidence", counted)
    assert predict(half).frames == 7
    assert len(again) == 7 - stop
    assert files_of(half.out) == files_of(whole.out)


def test_a_row_that_was_cut_in_the_middle_is_made_again(config):
    predict(config())
    whole = files_of(config().out)
    rows = config().out / "boxes.csv"
    rows.write_bytes(rows.read_bytes()[:-9])
    predict(config())
    assert files_of(config().out) == whole


def test_a_frame_whose_file_has_changed_is_looked_at_again(config, data_copy):
    ours = config(source=data_copy / "dog")
    predict(ours)
    before = rows_of(ours)
    shutil.copy(data_copy / "car/0002/frame0001.jpg", data_copy / "dog/0001/frame0003.jpg")
    predict(ours)
    after = rows_of(ours)
    assert [row["path"] for row in after] == [row["path"] for row in before]
    assert [one != other for one, other in zip(before, after, strict=True)] == [n == 2 for n in range(7)]


def test_boxes_of_another_input_are_refused_or_cleared_on_request(config, small_data):
    predict(config())
    (config().out / "mine.txt").write_text("keep")
    (config().out / "overlays/mine.jpg").write_text("keep")
    other = config(source=small_data / "car")
    with pytest.raises(RunError, match="--overwrite") as caught:
        predict(other)
    assert [text.split(":")[0] for text in caught.value.offenders] == ["input"]
    assert len(rows_of(config())) == 7
    predict(config(source=small_data / "car", overwrite=True))
    assert all(row["path"].startswith("000") for row in rows_of(config())) and len(rows_of(config())) == 14
    assert (config().out / "mine.txt").read_text() == "keep"
    assert (config().out / "overlays/mine.jpg").read_text() == "keep"
    assert not (config().out / "overlays/0001/frame0004.jpg").exists()


def test_scales_are_a_setting_of_the_boxes(config):
    given = {"mix": "geometric", "threshold": 0.5, "overlays": False}
    predict(config(**given, out=config().out / "one"))
    averaged = config(**given, scales="1,2,3")
    predict(averaged)
    own = rows_of(config(**given, out=config().out / "one"))
    assert [row["path"] for row in rows_of(averaged)] == [row["path"] for row in own]
    assert rows_of(averaged) != own
    assert predict(averaged).frames == 7
    with pytest.raises(RunError, match="scales"):
        predict(config(**given))


def test_boxes_of_before_that_say_nothing_of_their_input_are_not_overwritten(config):
    config().out.mkdir()
    (config().out / "boxes.csv").write_text("frame,predicted_class\nmine.jpg,bird\n")
    with pytest.raises(RunError, match="--overwrite"):
        predict(config())
    assert "mine.jpg" in (config().out / "boxes.csv").read_text()


@pytest.mark.parametrize("inside", ["out", "deep/er", "."])
def test_what_it_wrote_below_its_input_is_no_input(config, data_copy, inside):
    ours = config(source=data_copy / "dog", out=data_copy / "dog" / inside)
    for _ in range(2):
        assert predict(ours).frames == 7
    assert predict(config(source=data_copy / "dog")).frames == 7


def test_a_film_in_a_picture_has_a_row_a_frame(config, tmp_path):
    frames = [Image.new("RGB", (64, 48), (90 + 20 * n, 60, 30)) for n in range(6)]
    frames[0].save(tmp_path / "clip.gif", save_all=True, append_images=frames[1:], duration=40)
    assert predict(config(source=tmp_path / "clip.gif")).frames == 6


def test_long_names_keep_their_rows_and_their_pictures(config, tmp_path):
    (tmp_path / "in").mkdir()
    names = ["a" * 250 + ".png", "ü" * 120 + ".png", "b.png", "b.png.jpg", "=cmd.png"]
    for name in names:
        Image.new("RGB", (64, 48), (90, 60, 30)).save(tmp_path / "in" / name)
    ours = config(source=tmp_path / "in")
    assert predict(ours).frames == 5
    assert {row["path"] for row in rows_of(ours)} == {*names[:4], "'=cmd.png"}
    assert len([path for path in (ours.out / "overlays").iterdir() if path.suffix == ".jpg"]) == 5
    assert predict(ours).frames == 5


def as_before(config):
    """Rewrite boxes.csv as earlier versions wrote it."""
    names = ("tag", "probability", "xmin", "ymin", "xmax", "ymax", "score")
    rows = [",".join([row["path"], *(row[name] for name in names)]) for row in rows_of(config)]
    header = "frame,predicted_class,probability,x0,y0,x1,y1,score"
    (config.out / "boxes.csv").write_text("\n".join([header, *rows]) + "\n")
    (config.out / "found.csv").unlink(missing_ok=True)


def test_boxes_of_an_earlier_version_are_taken_over_and_not_found_again(config, monkeypatch):
    predict(config())
    whole = rows_of(config())
    as_before(config())
    monkeypatch.setattr(clip_boxes, "frame_confidence", lambda *given: pytest.fail("found again"))
    assert predict(config()).frames == 7
    # They did not say how sure their boxes are.
    assert rows_of(config()) == [{**row, "confidence": ""} for row in whole]


EVERY = "csv,coco,yolo,cvat,label-studio,voc"


def test_every_format_stands_beside_the_boxes_and_is_the_same_after_an_interruption(
    config, monkeypatch, tmp_path
):
    whole = config(out=tmp_path / "whole", batch_size=2, format=EVERY)
    report = predict(whole)
    assert set(report.files) == {
        "coco.json", "coco_results.json", "yolo/data.yaml", "cvat.xml", "label-studio.json",
        "label-studio.xml", "voc/",
    }  # fmt: skip
    assert "beside it: coco.json" in report.to_text()
    half, draw, seen = (
        config(out=tmp_path / "half", batch_size=2, format=EVERY),
        clip_boxes.frame_confidence,
        [],
    )

    def interrupted(*given):
        if len(seen) == 3:
            raise KeyboardInterrupt
        seen.append(draw(*given))
        return seen[-1]

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(clip_boxes, "frame_confidence", interrupted)
        predict(half)
    predict(half)
    assert files_of(half.out) == files_of(whole.out)
    assert len(list((whole.out / "yolo/images").rglob("*.jpg"))) == 7


@pytest.mark.parametrize("read", ["boxes.csv", "coco.json", "yolo", "cvat.xml", "label-studio.json", "voc"])
def test_boxes_that_were_found_come_back_as_annotations_of_a_data_set(config, small_data, tmp_path, read):
    """The tag is set to the true one, as a person would who corrects the boxes."""
    ours = config(format=EVERY, overlays=False)
    predict(ours)
    for name in ("boxes.csv", "coco.json", "cvat.xml", "label-studio.json", "yolo/data.yaml"):
        text = (ours.out / name).read_text()
        (ours.out / name).write_text(re.sub(r"\b(bird|car)\b", "dog", text))
    for path in (ours.out / "voc").rglob("*.xml"):
        path.write_text(re.sub(r"<name>\w+</name>", "<name>dog</name>", path.read_text()))
    manifest = ManifestConfig(
        source=small_data, layout="folders", annotations=ours.out / read, out=tmp_path / "m.jsonl"
    )
    index_dataset(manifest)
    read_back = {
        shot.path(t).removeprefix("dog/"): box
        for shot in read_manifest(tmp_path / "m.jsonl").shots
        for t, (box,) in shot.boxes.items()
    }
    rows = {row["path"]: row for row in rows_of(ours) if row["xmin"]}
    assert read_back.keys() == rows.keys() and rows
    for path, box in read_back.items():
        corners = [float(rows[path][side]) for side in ("xmin", "ymin", "xmax", "ymax")]
        assert box == pytest.approx(corners, abs=1.01 if read == "voc" else 0.01)


def write_clip(path, images):
    av = pytest.importorskip("av")
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_image(Image.open(image))))
        container.mux(stream.encode())
    return path


@pytest.fixture
def clip(tmp_path, small_data):
    return write_clip(tmp_path / "in/my clip ü.mp4", sorted((small_data / "dog").rglob("*.jpg")))


def test_a_clip_is_written_again_with_its_boxes_and_a_light_map(config, clip):
    from tcam_cache.datasets import frame_times

    ours = config(source=clip, video=True, overlays=False, format=EVERY)
    assert predict(ours).files[-1] == "boxes.mp4"
    rows = rows_of(ours)
    assert [(row["video"], row["frame"], row["time"]) for row in rows[:2]] == [
        ("my clip ü.mp4", "0", "0.0"),
        ("my clip ü.mp4", "1", "0.04"),
    ]
    assert frame_times(ours.out / "boxes.mp4") == tuple(row["name"] for row in rows)
    assert len(list((ours.out / "pictures").rglob("*.jpg"))) == 7
    encoded, without = (ours.out / "boxes.mp4").read_bytes(), pictures_of(ours.out / "boxes.mp4")
    predict(config(source=clip, video=True, map=True, overlays=False))
    assert np.abs(pictures_of(ours.out / "boxes.mp4") - without).mean() > 2
    predict(config(source=clip, video=True, overlays=False))
    assert (ours.out / "boxes.mp4").read_bytes() == encoded


def pictures_of(path):
    """Return the (T, H, W, 3) float pictures of a clip."""
    import av

    with av.open(path) as container:
        return np.stack([one.to_ndarray(format="rgb24").astype(float) for one in container.decode(video=0)])


def test_pictures_are_no_clip_and_a_clip_is_not_written_over_itself(config, clip):
    with pytest.raises(ConfigError, match="is no video: --video"):
        predict(config(video=True))
    source = clip.rename(clip.with_name("boxes.mp4"))
    with pytest.raises(ConfigError, match="would be written over"):
        predict(config(source=source, out=source.parent, video=True))


def test_other_formats_below_the_input_are_no_input(config, data_copy):
    ours = config(source=data_copy / "dog", out=data_copy / "dog", format="yolo", overlays=False)
    for _ in range(2):
        assert predict(ours).frames == 7
    assert predict(config(source=data_copy / "dog")).frames == 7


def test_a_table_of_another_program_is_never_cleared(config):
    config().out.mkdir()
    (config().out / "boxes.csv").write_text("image,label\nmine.jpg,bird\n")
    with pytest.raises(RunError, match=r"boxes\.csv is not of this program"):
        predict(config(overwrite=True))
    assert "mine.jpg" in (config().out / "boxes.csv").read_text()


def test_names_of_a_folder_from_elsewhere_lead_nowhere_else(config, tmp_path, small_data):
    predict(config())
    (tmp_path / "victim.jpg").write_text("mine")
    with (config().out / "frames.jsonl").open("a") as file:
        file.write(
            json.dumps(["../../victim.jpg", "0"])
            + "\n"
            + json.dumps([str(tmp_path / "victim.jpg"), "0"])
            + "\n"
        )
    predict(config(source=small_data / "car", overwrite=True))
    assert (tmp_path / "victim.jpg").read_text() == "mine"


@pytest.fixture
def footage(tmp_path, small_data):
    """Two videos and a folder of pictures, of two tags."""
    dogs = sorted((small_data / "dog").rglob("*.jpg"))
    write_clip(tmp_path / "in/dog/a b.mp4", dogs)
    write_clip(tmp_path / "in/car/ü.mp4", sorted((small_data / "car").rglob("*.jpg"))[:3])
    shutil.copytree(small_data / "dog/0001", tmp_path / "in/dog/0001")
    return tmp_path / "in"


CLIPS = {"car/ü.mp4": 3, "dog/a b.mp4": 7, "dog/0001": 4}


def test_every_clip_has_a_folder_as_it_would_alone_and_one_table_holds_all(config, footage, tmp_path):
    many = config(source=footage, format="coco")
    report = predict(many)
    assert (report.clips, report.frames) == (3, 14) and report.frames_per_second > 0
    counts = {}
    for row in rows_of(many):
        counts[row["video"]] = counts.get(row["video"], 0) + 1
    assert counts == CLIPS
    alone = config(source=footage / "dog/a b.mp4", out=tmp_path / "alone", format="coco")
    predict(alone)
    own = files_of(many.out / "dog/a b.mp4.boxes")
    assert own.pop("clip.json") and own == files_of(alone.out)
    assert {"dog/a b.mp4.boxes/coco.json", "dog/0001.boxes/coco.json"} <= set(report.files)


def test_the_table_of_all_clips_comes_back_as_annotations_of_their_data_set(config, footage, tmp_path):
    shutil.rmtree(footage / "dog/0001")
    many = config(source=footage, overlays=False)
    predict(many)
    table = many.out / "boxes.csv"
    lines = table.read_text().splitlines()
    true = [re.sub(r"\b(bird|car|dog)\b(?=,[\d.]+,)", line.split("/")[0], line) for line in lines[1:]]
    table.write_text("\n".join([lines[0], *true]) + "\n")
    manifest = ManifestConfig(
        source=footage, layout="videos", annotations=table, out=tmp_path / "m.jsonl", workers=0
    )
    index_dataset(manifest)
    boxes = {shot.video: len(shot.boxes) for shot in read_manifest(tmp_path / "m.jsonl").shots}
    assert sum(boxes.values()) == sum(row["xmin"] != "" for row in rows_of(many)) > 0
    # And its shots, whose tags are known, are an input themselves.
    tagged = config(source=tmp_path / "m.jsonl", out=tmp_path / "tagged", overlays=False)
    predict(tagged)
    assert {row["tag"] == row["video"].split("/")[0] for row in rows_of(tagged)} == {True}


def test_what_is_finished_is_neither_decoded_nor_found_again(config, footage, monkeypatch):
    many = config(source=footage)
    predict(many)
    whole = files_of(many.out)
    monkeypatch.setattr(clip_boxes, "clip_frames", lambda *given, **more: pytest.fail("decoded"))
    report = predict(many)
    assert (report.frames, report.frames_per_second) == (14, 0.0)
    assert files_of(many.out) == whole
    monkeypatch.undo()
    (many.out / "dog/0001.boxes/boxes.csv").unlink()
    predict(many)
    assert files_of(many.out) == whole


def test_broken_clips_are_listed_after_all_others_are_finished(config, footage):
    data = (footage / "dog/a b.mp4").read_bytes()
    (footage / "dog/cut.mp4").write_bytes(data[: len(data) // 2])
    (footage / "dog/empty.mp4").write_bytes(b"")
    (footage / "dog/0001/frame0002.jpg").write_bytes(b"")
    many = config(source=(footage, footage / "none.mp4"))
    for _ in range(2):
        with pytest.raises(FrameError, match=r"4 frame.*cannot be read") as caught:
            predict(many)
        assert [text.partition(": ")[0].rpartition("/")[2] for text in caught.value.offenders] == [
            "none.mp4", "cut.mp4", "empty.mp4", "frame0002.jpg",
        ]  # fmt: skip
        assert len(rows_of(many)) >= 13


def test_shares_and_processes_give_what_one_process_does(config, footage, tmp_path):
    one = config(source=footage)
    predict(one)
    shared = config(source=footage, out=tmp_path / "shared", shard="0/2")
    assert predict(shared).clips == 2
    assert len(rows_of(shared)) < 14
    predict(config(source=footage, out=tmp_path / "shared", shard="1/2", jobs=2))
    assert files_of(tmp_path / "shared") == files_of(one.out)
    predict(config(source=footage, out=tmp_path / "jobs", jobs=2))
    assert files_of(tmp_path / "jobs") == files_of(one.out)


def test_a_share_that_ends_while_another_joins_the_rows_is_in_the_table(config, footage, monkeypatch):
    share = partial(config, source=footage, overlays=False)
    other = Thread(target=lambda: predict(share(shard="1/2")))

    def join_while_the_other_ends(out, parts, overwrite):
        read = [(above, list(rows)) for above, rows in parts]
        if other.ident is None:
            other.start()
            while len(list(out.glob("**/clip.json"))) < 3:
                assert other.is_alive()
                time.sleep(0.02)
            other.join(timeout=1)
        write_table(out, read, overwrite)

    monkeypatch.setattr("tcam_cache.stages.predict.write_table", join_while_the_other_ends)
    assert predict(share(shard="0/2")).awaited == 0
    other.join()
    assert len(rows_of(share())) == 14


def test_threads_give_what_one_thread_does(config, footage, tmp_path):
    predict(config(source=footage, batch_size=2))
    predict(config(source=footage, batch_size=2, out=tmp_path / "threads", workers=3))
    assert files_of(tmp_path / "threads") == files_of(config().out)


def test_a_tag_that_is_known_is_that_of_the_rows_and_an_unknown_one_is_named(config):
    predict(config(tag="bird"))
    assert {row["tag"] for row in rows_of(config())} == {"bird"}
    assert any(float(row["probability"]) < 0.5 for row in rows_of(config()))
    with pytest.raises(RunError, match="--overwrite"):
        predict(config())
    with pytest.raises(ConfigError, match=r"does not know the tag 'brid'\. Did you mean bird\?"):
        predict(config(tag="brid"))


def test_otsu_takes_the_threshold_of_each_map(config, small_run, small_data):
    report = predict(config(threshold="otsu"))
    assert report.threshold == "otsu" and "at tau otsu" in report.to_text()
    frame = np.asarray(Image.open(small_data / "dog/0001/frame0001.jpg"))
    scores = Localizer.open(small_run).predict(frame).map
    grey = np.rint(255 * scores)
    y, x = np.nonzero(scores > threshold_otsu(grey.astype(np.uint8)) / 255)
    (row,) = [row for row in rows_of(config()) if row["path"] == "0001/frame0001.jpg"]
    box = [float(row[side]) for side in ("xmin", "ymin", "xmax", "ymax")]
    assert x.min() - 1 <= box[0] < box[2] <= x.max() + 2 and y.min() - 1 <= box[1] < box[3] <= y.max() + 2


def test_boxes_of_a_single_input_are_not_mixed_with_those_of_several(config, footage):
    predict(config(source=footage / "dog/a b.mp4"))
    with pytest.raises(RunError, match="--overwrite"):
        predict(config(source=footage))
    predict(config(source=footage, overwrite=True))
    assert len(rows_of(config())) == 14 and not (config().out / "predict.json").exists()


def test_overlays_show_the_frame_and_with_map_a_light_heat_map_too(config, small_data, tmp_path):
    one = {"source": small_data / "car/0002/frame0002.jpg"}
    plain, mapped = (config(**one, out=tmp_path / name, map=name == "map") for name in ("plain", "map"))
    pictures = []
    for ours in (plain, mapped):
        predict(ours)
        with Image.open(next((ours.out / "overlays").iterdir())) as picture:
            pictures.append(np.asarray(picture, int))
    with Image.open(one["source"]) as picture:
        frame = np.asarray(picture, int)
    # Beside what JPEG and the lines of the box change.
    plainly, mapped_too = (float(np.abs(picture - frame).mean()) for picture in pictures)
    assert mapped_too > 1.3 * plainly
    assert rows_of(plain) == rows_of(mapped)


def test_smoothing_is_refused_where_cuts_are_not_known(config, footage):
    with pytest.raises(ConfigError, match="--smooth stays within shots"):
        predict(config(source=footage, smooth=1))


def test_a_video_of_which_a_few_frames_were_found_goes_on_to_the_same_files(
    config, footage, monkeypatch, tmp_path
):
    whole = config(source=footage, out=tmp_path / "whole", batch_size=2, video=True)
    predict(whole)
    half, draw = (
        config(source=footage, out=tmp_path / "half", batch_size=2, video=True),
        clip_boxes.frame_confidence,
    )

    def interrupted(item, box):
        if item.t == 4:
            raise KeyboardInterrupt
        return draw(item, box)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(clip_boxes, "frame_confidence", interrupted)
        predict(half)
    assert not (half.out / "boxes.csv").exists()
    predict(half)
    assert files_of(half.out) == files_of(whole.out)


def test_files_that_every_clip_has_are_named_once():
    files = tuple(f"cat/{clip}.mp4.boxes/{name}" for clip in "ab" for name in ("coco.json", "yolo/data.yaml"))
    text = PredictReport("out", 9, 9, 0.5, 1.0, files, 2).to_text()
    assert "in the folder of each clip: coco.json, yolo/data.yaml" in text and text.count("coco") == 1


def test_the_result_says_how_sure_the_boxes_are_and_which_clips_to_look_at_first(config, footage):
    many = config(source=footage, overlays=False)
    first, again = predict(many), predict(many)
    of_clip = {}
    for row in rows_of(many):
        if row["confidence"]:
            of_clip.setdefault(row["video"], []).append(float(row["confidence"]))
    means = {name: np.mean(values) for name, values in of_clip.items()}
    order = sorted(CLIPS, key=lambda name: means.get(name, 0.0))
    every = [value for values in of_clip.values() for value in values]
    for report in (first, again):
        assert report.confidence == pytest.approx(np.mean(every))
        assert [name for name, _ in report.least_sure] == order
        assert [sure or 0.0 for _, sure in report.least_sure] == pytest.approx(
            [means.get(name, 0.0) for name in order]
        )
    alone = predict(config(source=footage / "dog/0001", out=many.out.parent / "alone", overlays=False))
    assert alone.confidence is not None and alone.least_sure == ()


def test_sureness_is_said_in_a_line_a_clip_without_a_box_by_name():
    report = PredictReport("out", 9, 9, 0.5, 1.0, confidence=0.714, least_sure=(("b", None), ("a", 0.5)))
    line = "confidence of the boxes 0.71 on average; least sure: b (no box), a (0.50)"
    assert line in report.to_text()
    assert "least sure: b (no box)" in dataclasses.replace(report, confidence=None).to_text()
    assert "sure" not in PredictReport("out", 9, 0, 0.5, 1.0).to_text()


class Wavering:
    """A presence that differs widely between frames that are nearly alike."""

    threshold = 0.5

    def of(self, deepest):
        """Return the same for each of three classes."""
        return torch.sigmoid(2 * torch.sin(100 * deepest.float().mean((1, 2, 3))))[:, None].expand(-1, 3)


@pytest.fixture
def with_presence(monkeypatch):
    """Runs tell the presence of an object."""
    opened = Localizer.open

    def telling(*given, **named):
        """Open a run that tells presence."""
        return dataclasses.replace(opened(*given, **named), presence=Wavering())

    monkeypatch.setattr(Localizer, "open", telling)


def test_pictures_of_no_known_shot_say_nothing_of_each_other_frames_of_a_shot_do(
    config, with_presence, small_data, small_manifest, tmp_path
):
    options = {"tag": "dog", "overlays": False, "presence": 0.0}
    folder, shots = config(**options), config(source=small_manifest, out=tmp_path / "shots", **options)
    predict(folder)
    predict(shots)
    together = {row["path"]: float(row["presence"]) for row in rows_of(folder)}
    assert len(set(together.values())) > 1
    for number, (path, presence) in enumerate(together.items()):
        alone = config(source=small_data / "dog" / path, out=tmp_path / str(number), **options)
        predict(alone)
        assert float(rows_of(alone)[0]["presence"]) == pytest.approx(presence, abs=2e-4)
    in_shots = {row["path"].removeprefix("dog/"): float(row["presence"]) for row in rows_of(shots)}
    first = [together[f"0002/frame{t:04d}.jpg"] for t in range(1, 4)]
    expected = presence_over(np.array(first), PRESENCE_RADIUS)
    found = [in_shots[path] for path in sorted(in_shots) if path.startswith("0002/")]
    np.testing.assert_allclose(found, expected, atol=2e-4)
