"""Tests of a fit's length and learning rate."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcam_cache.config import train_config
from tcam_cache.training.schedule import LEAST_EPOCHS, learning_rate, planned, warmth

PLACES = {"manifest": "m", "cache": "c", "out": "r"}


def test_published_fits_keep_the_numbers_they_were_given():
    for preset in ("paper", "authors", "colocam"):
        config = train_config(preset, **PLACES)
        assert planned(config, [3, 80]) == config


@given(st.lists(st.integers(1, 200), min_size=1, max_size=60), st.integers(1, 4))
def test_a_chosen_length_takes_the_steps_asked_for_and_ten_epochs(lengths, together):
    config = train_config("recommended", **PLACES, frames_together=together, batch_size=4 * together)
    chosen = planned(config, lengths)
    assert 1 <= chosen.frames_per_shot <= max(lengths)
    clips = sum(math.ceil(min(length, chosen.frames_per_shot) / together) for length in lengths)
    steps = chosen.epochs * math.ceil(clips / 4)
    assert chosen.epochs >= LEAST_EPOCHS
    assert steps >= config.steps
    assert chosen.epochs == LEAST_EPOCHS or steps < config.steps + math.ceil(clips / 4)


def test_a_number_that_is_given_is_kept_and_the_other_one_is_chosen():
    chosen = planned(train_config("recommended", **PLACES, epochs=3), [80] * 10)
    assert (chosen.epochs, chosen.frames_per_shot) == (3, 40)
    chosen = planned(train_config("recommended", **PLACES, frames_per_shot=8), [80] * 10)
    assert (chosen.epochs, chosen.frames_per_shot) == (60, 8)


def test_one_cycle_rises_in_a_tenth_of_the_steps_and_ends_at_the_floor():
    config = train_config("recommended", **PLACES, epochs=20, lr=1.0)
    rates = [learning_rate(config, epoch, part / 5) for epoch in range(20) for part in range(5)]
    assert rates[0] == pytest.approx(0.04)
    assert rates[10] == max(rates) == pytest.approx(1.0)
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[55] == pytest.approx(0.5)
    assert learning_rate(config, 20) == config.lr_floor


def test_a_rate_that_falls_in_steps_stands_still_within_an_epoch():
    config = train_config("paper", **PLACES, lr_step=2, lr_decay=0.5)
    assert learning_rate(config, 3, 0.9) == learning_rate(config, 2) == 0.5 * config.lr


def test_frames_left_out_at_the_ends_of_shots_do_not_count():
    chosen = planned(train_config("recommended", **PLACES, middle=0.5, epochs=3), [40] * 4)
    assert (chosen.frames_per_shot, chosen.epochs) == (20, 3)
    short = planned(train_config("recommended", **PLACES), [20] * 4)
    halved = planned(train_config("recommended", **PLACES, middle=0.5), [40] * 4)
    assert (halved.frames_per_shot, halved.epochs) == (short.frames_per_shot, short.epochs)


@given(st.floats(0.01, 1), st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))
def test_a_warm_up_begins_at_nothing_never_falls_and_ends_with_its_share(share, one, other):
    assert warmth(share, 0.0) == 0 and warmth(0.0, one) == 1
    assert warmth(share, min(one, other)) <= warmth(share, max(one, other)) <= 1
    assert warmth(share, share) == 1 and warmth(share, share / 4) == pytest.approx(0.25)
