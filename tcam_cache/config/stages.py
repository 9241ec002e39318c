"""Options of stages, given to a command that runs several of them."""

import shlex
from collections.abc import Collection, Mapping
from typing import Any, ClassVar

from tcam_cache.config.base import Config, Settings, config, setting, setting_types
from tcam_cache.config.grid import parse_value
from tcam_cache.config.predict import PredictConfig
from tcam_cache.config.presets import PRESET_STAGES
from tcam_cache.errors import ConfigError

# By the name of the stage, which is that of its table in a file.
STAGE_CONFIGS: Mapping[str, type[Settings]] = {**PRESET_STAGES, "predict": PredictConfig}


@config
class StagesConfig(Config):
    """The settings of every command that runs the stages of a recipe in turn; mappings become texts."""

    command: ClassVar[str]
    # What the command itself decides: where things lie, and what its own options say.
    decided: ClassVar[Collection[str]]

    classifier: str = setting(default="", help="options of `classifier`, such as 'arch=resnet50 fit=sgd'")
    build: str = setting(default="", help="options of `build`, such as 'scales=0.7,1,1.4 flip=true'")
    train: str = setting(default="", help="options of `train`, such as 'steps=600 dropout=0.2'")
    dry_run: bool = setting(default=False, help="say the plan, write nothing")
    workers: int | None = setting(
        default=None, help="processes that decode frames; default: cores - 1", minimum=0
    )

    def __post_init__(self) -> None:
        stages = [name for name in STAGE_CONFIGS if hasattr(self, name)]
        for stage in stages:
            if isinstance(settings := getattr(self, stage), Mapping):
                object.__setattr__(self, stage, settings_text(settings))
        super().__post_init__()
        wrong = [fault for stage in stages for fault in self._parsed(stage)[1]]
        if wrong:
            raise ConfigError(f"{len(wrong)} option(s) of stages cannot be read.", wrong)

    def given(self, stage: str) -> dict[str, Any]:
        """Return the settings of a stage that were given."""
        return self._parsed(stage)[0]

    def _parsed(self, stage: str) -> tuple[dict[str, Any], list[str]]:
        kind, decided = STAGE_CONFIGS[stage], dict.fromkeys(self.decided, f"`{self.command}` decides it")
        return parse_settings(getattr(self, stage), kind, stage, decided)


def settings_text(values: Mapping[str, Any]) -> str:
    """Return settings as `parse_settings` reads them.

    >>> settings_text({"steps": 600, "weights": "my file.pth"})
    "steps=600 'weights=my file.pth'"
    """
    return shlex.join(f"{key}={value}" for key, value in values.items())


def parse_settings(
    text: str, kind: type[Settings], stage: str, refused: Mapping[str, str]
) -> tuple[dict[str, Any], list[str]]:
    """Return the settings that a text names, NAME=VALUE with spaces between, and its faults, one text each.

    Args:
        text: to read.
        kind: the config class whose settings they are.
        stage: its name in the faults.
        refused: settings that may not be given, and why.

    >>> parse_settings("batch-size=16 epohcs=3", PredictConfig, "predict", {})
    ({'batch_size': 16}, ["predict: epohcs=3: `predict` has no option 'epohcs'"])
    """
    types = setting_types(kind)
    values: dict[str, Any] = {}
    faults: list[str] = []
    try:
        words = shlex.split(text)
    except ValueError as error:
        return {}, [f"{stage}: {text}: {error}"]
    for word in words:
        option, equals, value = word.partition("=")
        name = option.lstrip("-").replace("-", "_")
        if name not in types:
            faults.append(f"{stage}: {word}: `{stage}` has no option {option!r}")
        elif name in refused:
            faults.append(f"{stage}: {word}: {refused[name]}")
        elif not equals:
            faults.append(f"{stage}: {word}: expected NAME=VALUE")
        else:
            try:
                values[name] = parse_value(types[name], value)
            except ValueError as error:
                faults.append(f"{stage}: {word}: {error}")
    return values, faults
