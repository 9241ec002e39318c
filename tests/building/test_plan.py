"""Tests of the plan of `locate`: its counts by hand, and times that follow from a trial."""

import pytest

from tcam_cache.building import plan as plan_module
from tcam_cache.building.plan import Trial, plan_of
from tcam_cache.config import BuildConfig, ClassifierConfig, TrainConfig
from tcam_cache.datasets import read_manifest


@pytest.fixture
def planned_for(small_manifest, monkeypatch):
    """Return a function that plans the small data set, on a machine whose forward pass takes a second."""
    monkeypatch.setattr(plan_module, "forward_trial", lambda config: Trial(1.0, 49, 10.0))
    manifest = read_manifest(small_manifest)
    places = {"manifest": small_manifest, "out": "out", "preset": "recommended"}

    def plan(every=1, **build):
        return plan_of(
            manifest,
            every,
            ClassifierConfig(**places, probe_frames=2),
            BuildConfig(**places, classifier="g.pt", **build),
            TrainConfig(**places, cache="cache", steps=20, batch_size=4),
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


def test_scales_and_mirrors_cost_what_their_pixels_do(planned_for):
    one, two, mirrored = (
        planned_for(scales="1"),
        planned_for(scales="1,2"),
        planned_for(scales="1,2", flip=True),
    )
    assert two.minutes["build"] == pytest.approx(5 * one.minutes["build"], rel=0.02)
    assert mirrored.minutes["build"] == pytest.approx(10 * one.minutes["build"], rel=0.02)
    assert two.minutes["predict"] == one.minutes["predict"]


def test_its_text_names_every_stage_with_its_frames_and_time(planned_for):
    plan = planned_for(every=2)
    text = plan.to_text()
    assert text.startswith(f"effort test: 8 videos, 11 shots, {plan.frames:,} frames; about ")
    assert f"CAMs of {plan.cached} frames, one in 2 of each shot" in text
    assert [line.split()[0] for line in text.splitlines()[1:]] == ["classifier", "build", "train", "predict"]
