"""Settings of `locate`, which runs every stage on tagged footage, and what each effort means."""

from collections.abc import Mapping
from typing import Any

from tcam_cache.config.base import OptionalPathSetting, PathSetting, config, setting
from tcam_cache.config.data import LAYOUTS
from tcam_cache.config.predict import BoxFilesConfig
from tcam_cache.config.sharing import SharesConfig, parse_shard
from tcam_cache.config.stages import StagesConfig
from tcam_cache.errors import ConfigError

MANIFEST_SUFFIX = ".jsonl"
# What `locate` decides in its stages.
OWN = {
    "manifest", "root", "out", "cache", "classifier", "run", "source", "resume", "device", "seed", "workers",
    "train_split", "val_split", "every", "dry_run", "shard", "overwrite", "format", "video", "map",
    "overlays", "threshold", "tag", "report", "embed",
    "frames", "frame_size", "cached_frames", "jobs", "backend", "scheduler",
}  # fmt: skip
# Stricter seeds than the preset's suit videos that are learned from: see docs/real_video.md.
_TRAIN: Mapping[str, Any] = {"fg_top": 0.1}
# What differs from the preset `recommended` in each stage.
EFFORTS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "quick": {
        "classifier": {"image_size": 160},
        "build": {"scales": "1,1.4", "image_size": 160},
        "train": {**_TRAIN, "steps": 150, "image_size": 160},
    },
    "standard": {"train": _TRAIN},
    "full": {"build": {"flip": True}, "train": {**_TRAIN, "steps": 600}},
}
# Frames that are cached where there are more, about: training draws each several times, and neighbours say
# the same. Where shots are many, so many of each; but in all no more than training draws, and one of each.
CACHED = {"quick": 400, "standard": 1000, "full": 4000}
DRAWN = {"quick": 4000, "standard": 5000, "full": 10_000}
OF_A_SHOT = 8


@config
class LocateConfig(BoxFilesConfig, SharesConfig, StagesConfig):
    """From tagged footage to a box in every frame, by every stage in turn."""

    command = "locate"
    decided = OWN

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
    wait: float = setting(
        default=0, help="minutes that a shard waits for what other shards make; then it stops", minimum=0
    )
    predict: str = setting(default="", help="options of `predict`, such as 'batch-size=16'")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.source.suffix == MANIFEST_SUFFIX and (self.annotations or self.layout):
            raise ConfigError(
                "a manifest says its layout and its boxes: leave --layout and --annotations out."
            )
        if self.wait and self.shard is None:
            raise ConfigError("--wait is for what other shards make: give --shard, too.")

    @property
    def is_first(self) -> bool:
        """Whether this machine does what is not shared out: it indexes, fits, trains and scores."""
        return parse_shard(self.shard)[0] == 0

    def stage(self, name: str) -> dict[str, Any]:
        """Return the settings of a stage that differ from its preset, by effort and as given."""
        return {**EFFORTS[self.effort].get(name, {}), **self.given(name)}

    def cached_every(self, frames: int, shots: int) -> int:
        """Return K, of every K-th frame of a shot that is learned from, for the frames of so many shots.

        >>> LocateConfig(source="videos", out="out").cached_every(12_000, shots=2)
        12
        """
        wanted = max(CACHED[self.effort], min(OF_A_SHOT * shots, DRAWN[self.effort]))
        return self.every or max(1, round(frames / wanted))
