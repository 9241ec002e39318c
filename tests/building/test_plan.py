"""Tests of the plan of `locate`: its counts by hand, and times that follow from a trial."""

import pytest

from tcam_cache.building import plan as plan_module
from tcam_cache.building.plan import Trial, plan_of
from tcam_cache.config import BuildConfig, ClassifierConfig, PredictConfig, TrainConfig
from tcam_cache.datasets import read_manifest
from tcam_cache.devices import find_device, frames_at_once


@pytest.fixture
def planned_for(small_manifest, monkeypatch):
    """Return a function that plans the small data set, on a machine whose forward pass takes a second."""
    monkeypatch.setattr(plan_module, "forward_trial", lambda config: Trial(1.0, 49, 10.0, 2.0, 0.005))
    manifest = read_manifest(small_manifest)
    places = {"manifest": small_manifest, "out": "out", "preset": "recommended"}

    def plan(every=1, shares=None, probe_total=10_000, **build):
        return plan_of(
            manifest,
            every,
            ClassifierConfig(**places, probe_frames=2, probe_total=probe_total),
            BuildConfig(**places, classifier="g.pt", **build),
            TrainConfig(**places, cache="cache", steps=20, batch_size=4),
            PredictConfig(run="run", source="videos", out="out", batch_size=8, **(shares or {})),
            "effort test",
        )

    return plan


def test_frames_and_steps_are_those_that_the_stages_will_take(planned_for, small_manifest):
    manifest = read_manifest(small_manifest)
    plan = planned_for()
    assert (plan.videos, plan.shots, plan.frames) == (8, 11, manifest.frame_count)
    assert plan.cached == plan.frames
    assert plan.probed == sum(min(2, len(shot)) for shot in manifest.shots)
    assert plan.steps == 10 * -(-plan.frames // 4)  # ten epochs of all frames, four at a time
    assert planned_for(probe_total=8).probed == 8


def test_scales_and_mirrors_cost_what_their_pixels_do(planned_for):
    one, two, mirrored = (
        planned_for(scales="1"),
        planned_for(scales="1,2"),
        planned_for(scales="1,2", flip=True),
    )
    assert two.minutes["build"] == pytest.approx(5 * one.minutes["build"], rel=0.02)
    assert mirrored.minutes["build"] == pytest.approx(10 * one.minutes["build"], rel=0.02)
    assert two.minutes["predict"] == one.minutes["predict"]


def test_a_share_takes_its_part_of_build_and_predict_and_all_of_the_rest(planned_for):
    whole, quarter = planned_for(), planned_for(shares={"shard": "1/4"})
    assert quarter.minutes["build"] == pytest.approx(whole.minutes["build"] / 4, abs=0.01)
    start = plan_module.START / 60
    assert quarter.minutes["predict"] - start == pytest.approx(
        (whole.minutes["predict"] - start) / 4, abs=0.01
    )
    assert all(quarter.minutes[name] == whole.minutes[name] for name in ("classifier", "train"))
    assert "one share of 4" in quarter.to_text() and "share" not in whole.to_text()


def test_memory_grows_with_batch_largest_scale_and_processes(planned_for):
    program, frames = plan_module.PROGRAM_MB, frames_at_once(64, find_device("auto"))
    one, large = planned_for(scales="1", batch_size=2), planned_for(scales="0.5,10", batch_size=64)
    assert one.memory == pytest.approx(program + plan_module.PREDICT_HELD * 2.0 * 8, abs=2)
    assert large.memory == pytest.approx(program + plan_module.BUILD_HELD * 2.0 * frames * 100, abs=2)
    many = planned_for(shares={"jobs": 3}, scales="0.5,10", batch_size=64)
    assert many.memory == pytest.approx(3 * large.memory, abs=2)
    assert f"{large.memory / 1000:.1f} GB of memory" in large.to_text()


def test_its_text_names_every_stage_with_its_frames_and_time(planned_for):
    plan = planned_for(every=2)
    text = plan.to_text()
    assert text.startswith(f"effort test: 8 videos, 11 shots, {plan.frames:,} frames; about ")
    assert f"CAMs of {plan.cached} frames, one in 2 of each shot" in text
    assert [line.split()[0] for line in text.splitlines()[1:5]] == ["classifier", "build", "train", "predict"]
