"""Settings of `locate`, which runs every stage on tagged footage, and what each effort means."""

import shlex
import typing
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from tcam_cache.config.base import Config, OptionalPathSetting, PathSetting, Settings, config, setting
from tcam_cache.config.build import BuildConfig
from tcam_cache.config.classifier import ClassifierConfig
from tcam_cache.config.data import LAYOUTS
from tcam_cache.config.evaluate import FORMATS, PredictConfig, parse_formats
from tcam_cache.config.grid import parse_value
from tcam_cache.config.train import TrainConfig
from tcam_cache.errors import ConfigError

STAGE_CONFIGS: Mapping[str, type[Settings]] = {
    "classifier": ClassifierConfig,
    "build": BuildConfig,
    "train": TrainConfig,
    "predict": PredictConfig,
}
# What `locate` itself decides: where things lie, and what its own options say.
OWN = {
    "manifest", "root", "out", "cache", "classifier", "run", "source", "resume", "device", "seed", "workers",
    "train_split", "val_split", "every", "dry_run", "shard", "overwrite", "format", "video", "map",
    "overlays", "threshold", "tag", "report", "embed",
}  # fmt: skip
# What differs from the preset `footage` in each stage.
EFFORTS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "quick": {
        "classifier": {"probe_frames": 16, "image_size": 160},
        "build": {"scales": "1,1.4", "image_size": 160},
        "train": {"steps": 150, "image_size": 160},
    },
    "standard": {},
    "full": {"build": {"flip": True}, "train": {"steps": 600}},
}
# Frames that are cached where there are more: as many as training draws, about; and of each shot at least.
CACHED = {"quick": 600, "standard": 2400, "full": 9600}
LEAST_OF_A_SHOT = 8


@config
class LocateConfig(Config):
    """From tagged footage to a box in every frame, by every stage in turn."""

    source: PathSetting = setting(
        help="a folder of tagged videos or frames, a CSV of files and tags, or a manifest", metavar="FOOTAGE"
    )
    out: PathSetting = setting(help="the folder to write")
    effort: str = setting(
        default="standard", help="how much is computed before boxes are taken", choices=tuple(EFFORTS)
    )
    layout: str | None = setting(
        default=None, help="how the folders are laid out; default: looked up", choices=LAYOUTS
    )
    annotations: OptionalPathSetting = setting(
        default=None, help="true boxes, as `manifest` reads them: the boxes are scored, too"
    )
    threshold: float = setting(default=0.5, help="tau of the boxes, in [0, 1)", minimum=0, maximum=0.999)
    every: int | None = setting(
        default=None, help="learn from every K-th frame of a shot; default: by effort", minimum=1
    )
    format: str = setting(
        default="csv", help=f"files beside boxes.csv: some of {','.join(FORMATS)}", metavar="csv,coco,..."
    )
    overlays: bool = setting(default=True, help="draw each box into a copy of its frame")
    video: bool = setting(default=False, help="write each clip again with its boxes and sound")
    embed: bool = setting(default=False, help="put the report's pictures into its page itself")
    map: bool = setting(default=False, help="a light heat map in those videos, too")
    classifier: str = setting(default="", help="options of `classifier`, such as 'arch=resnet50 fit=sgd'")
    build: str = setting(default="", help="options of `build`, such as 'method=gradcam flip=true'")
    train: str = setting(default="", help="options of `train`, such as 'steps=600 dropout=0.2'")
    predict: str = setting(default="", help="options of `predict`, such as 'batch-size=16'")
    dry_run: bool = setting(default=False, help="say the plan, write nothing")
    workers: int | None = setting(
        default=None, help="processes that decode frames; default: cores - 1", minimum=0
    )

    def __post_init__(self) -> None:
        for stage in STAGE_CONFIGS:
            if isinstance(given := getattr(self, stage), Mapping):
                object.__setattr__(self, stage, settings_text(given))
        super().__post_init__()
        wrong = [fault for stage in STAGE_CONFIGS for fault in self._parsed(stage)[1]]
        if wrong:
            raise ConfigError(f"{len(wrong)} option(s) of stages cannot be read.", wrong)
        parse_formats(self.format)
        if self.map and not self.video:
            raise ConfigError("--map draws into the videos: give --video, too.")

    def stage(self, name: str) -> dict[str, Any]:
        """Return the settings of a stage that differ from its preset, by effort and as given."""
        return {**EFFORTS[self.effort].get(name, {}), **self._parsed(name)[0]}

    def cached_every(self, lengths: typing.Sequence[int]) -> int:
        """Return K, of every K-th frame that is learned from, for the lengths of the shots in frames.

        >>> LocateConfig(source="videos", out="out").cached_every([6000, 6000])
        5
        """
        return self.every or max(1, sum(lengths) // max(CACHED[self.effort], LEAST_OF_A_SHOT * len(lengths)))

    def _parsed(self, stage: str) -> tuple[dict[str, Any], list[str]]:
        return parse_settings(getattr(self, stage), STAGE_CONFIGS[stage], stage)


def settings_text(values: Mapping[str, Any]) -> str:
    """Return settings as `parse_settings` reads them.

    >>> settings_text({"steps": 600, "weights": "my file.pth"})
    "steps=600 'weights=my file.pth'"
    """
    return shlex.join(f"{key}={value}" for key, value in values.items())


def parse_settings(text: str, kind: type[Settings], stage: str) -> tuple[dict[str, Any], list[str]]:
    """Return the settings that a text names, NAME=VALUE with spaces between, and its faults, one text each.

    >>> parse_settings("batch-size=16 epohcs=3", TrainConfig, "train")
    ({'batch_size': 16}, ["train: epohcs=3: `train` has no option 'epohcs'"])
    """
    hints = {spec.name: typing.get_type_hints(kind)[spec.name] for spec in fields(kind)}
    values: dict[str, Any] = {}
    faults: list[str] = []
    try:
        words = shlex.split(text)
    except ValueError as error:
        return {}, [f"{stage}: {text}: {error}"]
    for word in words:
        option, equals, value = word.partition("=")
        name = option.lstrip("-").replace("-", "_")
        if name not in hints:
            faults.append(f"{stage}: {word}: `{stage}` has no option {option!r}")
        elif name in OWN:
            faults.append(f"{stage}: {word}: `locate` decides it")
        elif not equals:
            faults.append(f"{stage}: {word}: expected NAME=VALUE")
        else:
            try:
                values[name] = parse_value(hints[name], value)
            except ValueError as error:
                faults.append(f"{stage}: {word}: {error}")
    return values, faults
