"""Tests of `tcam-cache demo`: the config that its stage is given."""

from pathlib import Path

from tcam_cache.config import DemoConfig


def test_what_is_not_said_is_left_to_the_config(config_of):
    assert config_of("demo", "out") == DemoConfig(out=Path("out"))


def test_seed_and_device_reach_their_settings(config_of):
    config = config_of("demo", "out", "--seed", 3, "--device", "cpu")
    assert config == DemoConfig(out=Path("out"), seed=3, device="cpu")
