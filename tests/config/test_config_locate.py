"""Tests of the settings of `locate`: options of its stages, and what an effort decides."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcam_cache.config import BuildConfig, ClassifierConfig, LocateConfig, TrainConfig
from tcam_cache.config.locate import CACHED, DRAWN, EFFORTS, OF_A_SHOT, OWN
from tcam_cache.config.stages import STAGE_CONFIGS
from tcam_cache.errors import ConfigError

FOOTAGE = {"source": "videos", "out": "found"}


def test_options_of_stages_are_read_with_their_types_and_win_over_the_effort():
    config = LocateConfig(
        **FOOTAGE, effort="quick", build="scales=1,2 flip=true", train="--steps=9 bg-low=none",
        predict="batch-size=4",
    )  # fmt: skip
    assert config.stage("build") == {"scales": "1,2", "flip": True, "image_size": 160}
    assert config.stage("train") == {"steps": 9, "bg_low": None, "image_size": 160, "fg_top": 0.1}
    assert config.stage("predict") == {"batch_size": 4}


def test_from_python_they_may_be_mappings_and_survive_json():
    config = LocateConfig(**FOOTAGE, classifier={"weights": "my file.pth", "dilated": True})
    assert config.stage("classifier") == {"weights": "my file.pth", "dilated": True}
    assert LocateConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_all_options_that_cannot_be_read_are_named_at_once():
    with pytest.raises(ConfigError) as caught:
        LocateConfig(**FOOTAGE, train="stp=1 out=x lr=fast", build="flip", predict="'open")
    assert caught.value.offenders == (
        "build: flip: expected NAME=VALUE",
        "train: stp=1: `train` has no option 'stp'",
        "train: out=x: `locate` decides it",
        "train: lr=fast: expected float, got 'fast'",
        "predict: 'open: No closing quotation",
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"map": True, "overlays": False},
        {"format": "bmp"},
        {"threshold": 1.0},
        {"effort": "max"},
        {"source": "m.jsonl", "layout": "videos"},
        {"source": "m.jsonl", "annotations": "boxes.csv"},
    ],
)
def test_what_cannot_be_combined_or_is_out_of_range_is_refused(wrong):
    with pytest.raises(ConfigError):
        LocateConfig(**{**FOOTAGE, **wrong})


@pytest.mark.parametrize("effort", EFFORTS)
def test_every_effort_is_valid_settings_of_the_stages(effort):
    config = LocateConfig(**FOOTAGE, effort=effort)
    places = {"manifest": "m", "out": "o", "preset": "recommended"}
    ClassifierConfig(**places, **config.stage("classifier"))
    BuildConfig(**places, classifier="g.pt", **config.stage("build"))
    TrainConfig(**places, cache="c", **config.stage("train"))
    assert not any(set(values) & OWN for values in EFFORTS[effort].values())
    assert set(EFFORTS[effort]) <= set(STAGE_CONFIGS)


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=50), st.sampled_from(sorted(EFFORTS)))
def test_about_as_many_frames_are_cached_as_the_effort_says(lengths, effort):
    every = LocateConfig(**FOOTAGE, effort=effort).cached_every(sum(lengths), shots=len(lengths))
    cached = sum(-(-length // every) for length in lengths)
    budget = max(CACHED[effort], OF_A_SHOT * len(lengths))
    assert min(sum(lengths), 0.75 * budget) <= cached <= 1.5 * budget + len(lengths)


@pytest.mark.parametrize("effort", EFFORTS)
def test_of_many_shots_no_more_frames_are_cached_than_training_draws(effort):
    every = LocateConfig(**FOOTAGE, effort=effort).cached_every(1_000_000, shots=20_000)
    assert every == round(1_000_000 / DRAWN[effort])


def test_a_given_distance_between_frames_is_kept():
    assert LocateConfig(**FOOTAGE, every=7).cached_every(10, shots=1) == 7
