"""The method's versions: what the paper says, what its authors ran, what works best on real video."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from tcam_cache.config import PRESET_NAMES, SearchConfig, TrainConfig
from tcam_cache.errors import ConfigError
from tcam_cache.settings import ByPreset

# All that presets set, by preset; the fields of `TrainConfig` own the numbers.
PRESETS: Mapping[str, Mapping[str, Any]] = {
    preset: {
        spec.name: spec.default.under(preset)
        for spec in fields(TrainConfig)
        if isinstance(spec.default, ByPreset)
    }
    for preset in PRESET_NAMES
}


def train_config(preset: str = "recommended", **given: Any) -> TrainConfig:
    """Return a preset's settings with the given ones laid over them.

    >>> train_config("paper", manifest="m", cache="c", out="r", pixels=5).fg_top
    1.0
    """
    return TrainConfig(preset=preset, **given)


def with_preset(settings: Mapping[str, Any], preset: str) -> dict[str, Any]:
    """Return settings under another preset; what their own preset did not set stays as it is.

    Raises:
        ConfigError: there is no such preset.

    >>> with_preset({"preset": "paper", **PRESETS["paper"], "pixels": 5}, "recommended")["pixels"]
    5
    """
    if preset not in PRESETS:
        raise ConfigError(f"there is no preset {preset!r}. Those that exist: {', '.join(PRESETS)}.")
    own = PRESETS[settings["preset"]]
    given = {name: value for name, value in settings.items() if name not in own or value != own[name]}
    return {**PRESETS[preset], **given, "preset": preset}


def search_config(preset: str = "recommended", **given: Any) -> SearchConfig:
    """Return a search around a preset's settings, with the given ones laid over them."""
    return SearchConfig(preset=preset, **given)
