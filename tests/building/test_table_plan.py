"""Tests of the plan of a table: frames by hand, what is left, how long it takes and how it reads."""

from dataclasses import replace
from pathlib import Path

import pytest

from tcam_cache.building.plan import BUILD, READ, START, Trial
from tcam_cache.building.table_plan import TablePlan, cache_name, plan_table, point_title
from tcam_cache.config import ReproduceConfig
from tcam_cache.config.reproduce import runs_of
from tcam_cache.datasets import Manifest
from tcam_cache.records import Shot

# Two tags, each with a training video of 40 frames, and a val and a test video of 10 with 2 true boxes.
BOXES = {0: ((0.0, 0.0, 1.0, 1.0),), 7: ((0.0, 0.0, 1.0, 1.0),)}
TRIAL = Trial(seconds=0.5, positions=100, megabytes=10.0)


def shot(tag, video, split, length):
    frames = tuple(f"{t}.jpg" for t in range(length))
    boxes = {} if split == "train" else BOXES
    name = f"{tag}/{video}"
    return Shot(id=name, video=name, tag=tag, split=split, folder=name, frames=frames, boxes=boxes)


@pytest.fixture
def manifest():
    shots = [
        shot(tag, video, split, length)
        for tag in ("bird", "car")
        for video, split, length in (("1", "train", 40), ("2", "val", 10), ("3", "test", 10))
    ]
    return Manifest(Path("data"), "folders", ("bird", "car"), tuple(shots))


def planned(manifest, table, done=frozenset(), **given):
    config = ReproduceConfig(table=table, manifest="m", out="tables", **given)
    return plan_table(table, runs_of(config), manifest, done, TRIAL, config.jobs)


def test_frames_of_every_run_are_counted(manifest):
    plan = planned(manifest, "table1", classifier="epochs=3", train="epochs=3 batch-size=4")
    frames = {load.name: load.frames for load in plan.loads}
    # 3 epochs of a frame of each of 2 shots, and after each the 4 annotated frames of val.
    assert frames["classifier"] == 3 * 2 + 3 * 4
    # All 120 frames for the decoder; else the first of each of 6 shots and one more where there are boxes.
    assert (frames["cache layercam"], frames["cache cam"]) == (120, 2 * (1 + 2 + 2))
    assert frames["CAM (cam)"] == 4
    # A whole batch is counted for the two frames that an epoch draws.
    assert frames["TCAM (neighbours=1,seed=0)"] == 3 * 4 + 3 * 4 + 4


def test_hours_and_disk_follow_from_the_trial(manifest):
    loads = {load.name: load for load in planned(manifest, "table1").loads}
    layercam = loads["cache layercam"]
    assert layercam.hours == pytest.approx((START + 120 * (BUILD * 0.5 + READ)) / 3600, abs=1e-4)
    # The classifier's file, then two bytes a position, minimum, maximum, flag and two logits.
    assert layercam.megabytes == pytest.approx(20 + 120 * (200 + 20) * 1e-6, abs=0.1)
    assert loads["cache smooth-gradcam++"].hours > 5 * loads["cache gradcam++"].hours - 5 * START / 3600


def test_what_is_finished_is_not_left(manifest):
    runs = runs_of(ReproduceConfig(table="table2", manifest="m", out="tables"))
    done = frozenset({"classifier", cache_name("layercam"), point_title(runs.points[0])})
    plan = planned(manifest, "table2", done)
    assert [load.name for load in plan.loads] == [point_title(runs.points[1])] and plan.finished == 3
    nothing = planned(manifest, "table2", done | {point_title(runs.points[1])})
    assert nothing.to_text().startswith("table2: 0 run(s) left, 4 finished; 0 frames")


def test_a_probe_and_a_chosen_length_of_training_are_planned_too(manifest):
    plan = planned(
        manifest, "table2", classifier="fit=probe probe-frames=8", train="epochs=0 frames-per-shot=0 steps=9"
    )
    loads = {load.name: load for load in plan.loads}
    assert (loads["classifier"].frames, loads["classifier"].what) == (16, "16 frames")
    assert loads["TCAM (neighbours=1,seed=0)"].what == "10 epochs of 80 frames"


def test_the_text_says_what_there_is_to_do_and_for_how_long(manifest):
    plan = planned(manifest, "table2", jobs=2)
    first, *lines = plan.to_text().splitlines()
    assert first.startswith("table2: 4 run(s) left, 0 finished; ") and "2 decoders at a time" in first
    assert [line.split()[0] for line in lines] == ["classifier", "cache", "LayerCAM", "TCAM"]
    assert all(line.endswith(" MB") for line in lines)
    whole = replace(plan, loads=tuple(replace(load, hours=1.0, megabytes=2.0) for load in plan.loads))
    assert "about 4.0 h here one after another, 2 decoders at a time, 8 MB" in whole.to_text()
    assert isinstance(whole, TablePlan)
