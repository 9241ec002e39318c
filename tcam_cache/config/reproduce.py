"""Settings of `reproduce`, and the runs that a published table needs."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tcam_cache.config.base import OptionalPathSetting, PathSetting, config, root_setting, setting
from tcam_cache.config.build import BuildConfig
from tcam_cache.config.classifier import ClassifierConfig
from tcam_cache.config.data import SPLIT_CHOICES
from tcam_cache.config.evaluate import BOX_MODES, EvaluateConfig
from tcam_cache.config.grid import point_name
from tcam_cache.config.presets import preset_settings
from tcam_cache.config.stages import StagesConfig
from tcam_cache.config.tables import CAM, LEARNED, TABLES, VARIED, WHOLE_LOSS, Row
from tcam_cache.config.train import TrainConfig

# Longer than any shot: only annotated frames, and the first of each shot, are cached.
ANNOTATED_ALONE = 10**9


@config
class ReproduceConfig(StagesConfig):
    """Make a published table again."""

    command = "reproduce"
    decided = (
        *VARIED, "manifest", "root", "out", "cache", "classifier", "run", "maps", "resume", "device", "seed",
        "workers", "dry_run", "shard",
    )  # fmt: skip

    table: str = setting(
        help="table1: CorLoc; table2: CL; table3: parts of the loss; fig3: n", choices=tuple(TABLES)
    )
    manifest: PathSetting = setting(help="manifest written by `tcam-cache manifest`, with true boxes")
    out: PathSetting = setting(help="the folder to write; all tables of one recipe share it")
    preset: str = setting(
        default="paper",
        help="of every stage: a name, or a TOML file of your own; rows decide n, --crf and --asc themselves",
    )
    seeds: int = setting(
        default=1, help="train every decoder so often, from --seed on: mean and deviation", minimum=1
    )
    jobs: int = setting(default=1, help="decoders trained at a time, each in a process", minimum=1)
    threshold: str = setting(
        default="oracle-per-class",
        help="tau: val, oracle, oracle-per-class (as published), otsu, or a number in [0, 1)",
    )
    boxes: str = setting(
        default="wsol", help="wsol: as published; components: the largest connected region", choices=BOX_MODES
    )
    split: str = setting(default="test", help="the split that is scored", choices=SPLIT_CHOICES)
    root: OptionalPathSetting = root_setting()

    def __post_init__(self) -> None:
        super().__post_init__()
        # Settings of stages that have no meaning are found before anything is computed.
        runs_of(self)

    def recipe(self, stage: str) -> dict[str, Any]:
        """Return the settings of a stage: the preset's, and over them those given."""
        return {**preset_settings(self.preset, stage), **self.given(stage)}


@dataclass(frozen=True)
class Point:
    """One report of a table.

    Attributes:
        system: the row that it is of.
        method: of the CAMs that it needs.
        train: the decoder's run; None: the cached CAMs are scored.
        evaluate: its evaluation.
    """

    system: str
    method: str
    train: TrainConfig | None
    evaluate: EvaluateConfig


@dataclass(frozen=True)
class Runs:
    """Everything that a table needs, in the order in which it is made.

    Attributes:
        classifier: one for all rows.
        builds: the cache of each CAM method.
        points: the reports, row by row; those of a row differ in the seed of `train` alone.
    """

    classifier: ClassifierConfig
    builds: Mapping[str, BuildConfig]
    points: tuple[Point, ...]


def runs_of(config: ReproduceConfig) -> Runs:
    """Return the runs of a table. What two tables share lies in one place.

    Raises:
        ConfigError: settings of a stage are out of range, or cannot be combined.
    """
    rows = TABLES[config.table].rows
    shared = {name: getattr(config, name) for name in ("manifest", "root", "device", "workers")}
    file = config.out / "g.pt"
    classifier = ClassifierConfig(
        **{**config.recipe("classifier"), **shared, "out": file, "seed": config.seed}
    )
    build = {**config.recipe("build"), **shared, "classifier": file, "seed": config.seed}
    builds = {
        method: BuildConfig(
            **{**build, **_decided(method), "method": method, "out": config.out / "caches" / method}
        )
        for method in dict.fromkeys(row.method for row in rows)
    }
    scored = {**shared, "threshold": config.threshold, "boxes": config.boxes, "split": config.split}
    evaluation = partial(EvaluateConfig, **scored, seed=config.seed, overlays=0)
    points = [point for row in rows for point in _points(config, row, shared, evaluation)]
    return Runs(classifier, builds, tuple(points))


def _decided(method: str) -> dict[str, Any]:
    """Return the settings of a cache that its method decides: CAM is of the last layer alone."""
    layers = {"layers": "last"} if method == CAM else {}
    return layers if method == LEARNED else {"every": ANNOTATED_ALONE, **layers}


def _points(
    config: ReproduceConfig, row: Row, shared: Mapping[str, Any], evaluation: partial[EvaluateConfig]
) -> list[Point]:
    cache: Path = config.out / "caches" / row.method
    reports = config.out / "reports"
    if row.train is None:
        return [Point(row.system, row.method, None, evaluation(cache=cache, out=reports / row.method))]
    preset = row.train.get("preset", config.preset)
    settings = {**preset_settings(preset, "train"), **config.given("train")}
    base = {**settings, **shared, **WHOLE_LOSS, **row.train}
    points = []
    for seed in range(config.seed, config.seed + config.seeds):
        name = point_name({**row.train, "seed": seed})
        run = TrainConfig(**{**base, "seed": seed, "cache": cache, "out": config.out / "runs" / name})
        report = evaluation(run=run.out, out=reports / name)
        points.append(Point(row.system, row.method, run, report))
    return points
