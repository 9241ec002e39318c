"""The method's versions: what the paper says, what its authors ran, what works best on real video."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from tcam_cache.config import SearchConfig, TrainConfig
from tcam_cache.errors import ConfigError

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "recommended": {},
    "paper": {"fg_top": 1.0, "bg_low": None, "pixels": 1, "dilate": False, "cross_entropy": "frame-sum"},
    "authors": {"fg_top": 0.6, "bg_low": 0.1, "pixels": 1, "dilate": True, "cross_entropy": "batch-mean"},
}


def train_config(preset: str = "recommended", **given: Any) -> TrainConfig:
    """Return a preset's settings with the given ones laid over them.

    >>> train_config("paper", manifest="m", cache="c", out="r", pixels=5).fg_top
    1.0
    """
    return TrainConfig(preset=preset, **{**preset_values(preset), **given})


def preset_values(preset: str) -> dict[str, Any]:
    """Return every setting that some preset is about as this one has it, or raise `ConfigError`."""
    if preset not in PRESETS:
        raise ConfigError(f"there is no preset {preset!r}. Those that exist: {', '.join(PRESETS)}.")
    about = {name for values in PRESETS.values() for name in values}
    defaults = {spec.name: spec.default for spec in fields(TrainConfig) if spec.name in about}
    return {**defaults, **PRESETS[preset]}


def with_preset(settings: Mapping[str, Any], preset: str) -> dict[str, Any]:
    """Return settings under another preset; what their own preset did not set stays as it is.

    >>> with_preset({"preset": "paper", **preset_values("paper"), "pixels": 5}, "recommended")["pixels"]
    5
    """
    own = preset_values(settings["preset"])
    given = {name: value for name, value in settings.items() if name not in own or value != own[name]}
    return {**preset_values(preset), **given, "preset": preset}


def search_config(preset: str = "recommended", **given: Any) -> SearchConfig:
    """Return a search around a preset's settings, with the given ones laid over them."""
    return SearchConfig(preset=preset, **{**preset_values(preset), **given})
