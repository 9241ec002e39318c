"""Presets as files: written from what the configs declare, and read."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from tcam_cache.config.base import PRESET_NAMES, ByPreset, Settings, setting_faults
from tcam_cache.config.build import BuildConfig
from tcam_cache.config.classifier import ClassifierConfig
from tcam_cache.config.train import TrainConfig
from tcam_cache.errors import ConfigError
from tcam_cache.files import decoded_text

# The stages that have a preset, by the table of a file.
PRESET_STAGES: Mapping[str, type[Settings]] = {
    "classifier": ClassifierConfig,
    "build": BuildConfig,
    "train": TrainConfig,
}
SUFFIX = ".toml"


def preset_text(name: str) -> str:
    """Return a preset as TOML: a table for each stage with all that the preset decides.

    Raises:
        ConfigError: there is no such preset.

    >>> "fg_top = 1.0" in preset_text("paper").splitlines()
    True
    """
    if name not in PRESET_NAMES:
        raise ConfigError(f"there is no preset {name!r}. Those that exist: {', '.join(PRESET_NAMES)}.")
    lines = [f"# What the preset {name} decides. Copy it, change it, and give it: --preset my.toml"]
    for stage, kind in PRESET_STAGES.items():
        lines += ["", f"[{stage}]", "# supplies what is not said below", f'preset = "{name}"']
        for spec in fields(kind):
            if isinstance(spec.default, ByPreset):
                value = spec.default.under(name)
                # TOML has no word for nothing.
                line = f"# {spec.name} is not set" if value is None else f"{spec.name} = {json.dumps(value)}"
                lines += [f"# {spec.metadata['help']}", line]
    return "\n".join(lines) + "\n"


def is_preset_file(preset: str | Path) -> bool:
    """Tell a preset's file from its name.

    >>> is_preset_file("my.toml"), is_preset_file("paper")
    (True, False)
    """
    return Path(preset).suffix == SUFFIX


def preset_settings(preset: str | Path, stage: str) -> dict[str, Any]:
    """Return the settings that a preset gives to a stage.

    Args:
        preset: a name, or a TOML file with a table for each stage; its key `preset` names the preset that
            supplies what the table does not say.
        stage: "classifier", "build" or "train".

    Raises:
        ConfigError: the file cannot be read, has unknown or ill-typed keys (all named), or says nothing of
            the stage.

    >>> preset_settings("paper", "train")
    {'preset': 'paper'}
    """
    if not is_preset_file(preset):
        return {"preset": str(preset)}
    tables = read_preset(Path(preset))
    if stage not in tables:
        raise ConfigError(
            f"{preset} says nothing of `{stage}`. Add a table [{stage}]; an empty one takes the defaults."
        )
    return tables[stage]


def read_preset(path: Path) -> dict[str, dict[str, Any]]:
    """Return the settings by stage that a preset file holds.

    Raises:
        ConfigError: it cannot be read, or has unknown or ill-typed keys (all named).
    """
    try:
        tables = tomllib.loads(decoded_text(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read the preset {path}: {error}. Give a TOML file.") from error
    faults = [fault for stage, table in tables.items() for fault in _faults(stage, table)]
    if faults:
        raise ConfigError(
            f"the preset {path} has {len(faults)} setting(s) that cannot be taken. Correct or remove them; "
            "`tcam-cache train --show-preset paper` prints a preset that is right.",
            faults,
        )
    return tables


def _faults(stage: str, table: Any) -> list[str]:
    if stage not in PRESET_STAGES or not isinstance(table, Mapping):
        return [f"{stage}: expected the tables {', '.join(f'[{name}]' for name in PRESET_STAGES)} alone"]
    return [f"{stage}.{fault}" for fault in setting_faults(PRESET_STAGES[stage], table)]
