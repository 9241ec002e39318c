"""The plan of a published table: frames, time and disk of every run that is left."""

from collections.abc import Mapping
from dataclasses import dataclass

from tcam_cache.building.plan import BUILD, PREDICT, READ, START, TRAIN, Trial, time_text
from tcam_cache.cams.extractor import SMOOTH, SMOOTH_RUNS
from tcam_cache.config import BuildConfig, ClassifierConfig
from tcam_cache.config.build import parse_scales
from tcam_cache.config.reproduce import Point, Runs
from tcam_cache.datasets import Manifest
from tcam_cache.datasets.sampling import spread
from tcam_cache.training.schedule import planned

# Forward and backward through the whole network, in forward passes.
FIT = 3.0
# A decoder of full width for ResNet-50; a run keeps it twice, and the momentum once.
DECODER_MEGABYTES, DECODER_COPIES = 36.0, 3
# Networks that a classifier file holds, and its fit beside it: two checkpoints, the last state with momentum.
FILE_COPIES, FIT_COPIES = 2, 4


@dataclass(frozen=True)
class Load:
    """What a run takes.

    Attributes:
        name: of the run.
        what: the work, a few words.
        frames: that go through a network, each as often as it does.
        hours: here, an estimate.
        megabytes: on disk, an estimate.
    """

    name: str
    what: str
    frames: int
    hours: float
    megabytes: float


@dataclass(frozen=True)
class TablePlan:
    """What is left to compute for a table.

    Attributes:
        table: its name.
        loads: of the runs that are left, in order.
        finished: number of those that are not.
        jobs: decoders that are trained at a time.
    """

    table: str
    loads: tuple[Load, ...]
    finished: int
    jobs: int

    def to_text(self) -> str:
        """Return the plan as a few lines."""
        hours, megabytes = (
            sum(getattr(load, name) for load in self.loads) for name in ("hours", "megabytes")
        )
        frames = sum(load.frames for load in self.loads)
        at_a_time = f", {self.jobs} decoders at a time" if self.jobs > 1 else ""
        lines = [
            f"{self.table}: {len(self.loads)} run(s) left, {self.finished} finished; {frames:,} frames "
            f"through networks, about {time_text(60 * hours)} here one after another{at_a_time}, "
            f"{megabytes:,.0f} MB"
        ]
        width = max((len(load.name) for load in self.loads), default=0)
        lines += [
            f"  {load.name:{width}}  {load.what:34} {time_text(60 * load.hours):>7} {load.megabytes:8,.0f} MB"
            for load in self.loads
        ]
        return "\n".join(lines)


def plan_table(
    table: str, runs: Runs, manifest: Manifest, done: frozenset[str], trial: Trial, jobs: int
) -> TablePlan:
    """Return the plan of a table.

    Args:
        table: its name.
        runs: that it needs.
        manifest: of the data set.
        done: names of the runs that are finished or not needed: "classifier", `cache_name`, `point_title`.
        trial: of the classifier's backbone.
        jobs: decoders that are trained at a time.
    """
    scored = {name: _boxed(manifest, name) for name in ("train", "val", "test")}
    scored["all"] = sum(scored.values())
    loads = [_classifier_load(runs.classifier, manifest, scored, trial)]
    loads += [_build_load(method, build, manifest, trial) for method, build in runs.builds.items()]
    loads += [_point_load(point, manifest, scored, trial) for point in runs.points]
    left = tuple(load for load in loads if load.name not in done)
    return TablePlan(table, left, len(loads) - len(left), jobs)


def cache_name(method: str) -> str:
    """Return the name of a cache's build in a plan."""
    return f"cache {method}"


def point_title(point: Point) -> str:
    """Return the name of a point in a plan: its row and its report."""
    return f"{point.system} ({point.evaluate.out.name})"


def _boxed(manifest: Manifest, split: str) -> int:
    return sum(len(shot.boxes) for shot in manifest.split(split))


def _lengths(manifest: Manifest, split: str) -> list[int]:
    return [len(shot) for shot in manifest.split(split)]


def _load(name: str, what: str, frames: int, passes: float, trial: Trial, megabytes: float) -> Load:
    """Return the load of a run of so many forward passes, each over `frames` that are read."""
    hours = (START + passes * trial.seconds + frames * READ) / 3600
    return Load(name, what, frames, round(hours, 4), round(megabytes, 1))


def _classifier_load(
    config: ClassifierConfig, manifest: Manifest, scored: Mapping[str, int], trial: Trial
) -> Load:
    lengths = _lengths(manifest, config.train_split)
    if config.fit == "probe":
        shots = list(manifest.split(config.train_split))
        frames = sum(map(len, spread(shots, config.probe_frames, config.probe_total)))
        return _load("classifier", f"{frames:,} frames", frames, frames, trial, FILE_COPIES * trial.megabytes)
    drawn = sum(min(length, config.frames_per_shot) for length in lengths)
    validated = config.epochs // config.validate_every * scored[config.val_split]
    passes = config.epochs * drawn * (1 if config.freeze_backbone else FIT) + BUILD * validated
    what = f"{config.epochs} epochs of {drawn:,} frames"
    megabytes = (FILE_COPIES + FIT_COPIES) * trial.megabytes
    return _load("classifier", what, config.epochs * drawn + validated, passes, trial, megabytes)


def _build_load(method: str, config: BuildConfig, manifest: Manifest, trial: Trial) -> Load:
    frames = manifest.sampled(config.every).frame_count
    repeats = sum(scale**2 for scale in parse_scales(config.scales)) * (2 if config.flip else 1)
    repeats *= 1 + SMOOTH_RUNS * FIT / BUILD if method == SMOOTH else 1
    megabytes = FILE_COPIES * trial.megabytes
    megabytes += frames * 1e-6 * (2 * trial.positions + 4 * (3 + len(manifest.classes)))
    return _load(cache_name(method), f"{frames:,} frames", frames, frames * BUILD * repeats, trial, megabytes)


def _point_load(point: Point, manifest: Manifest, scored: Mapping[str, int], trial: Trial) -> Load:
    reported = scored[point.evaluate.split]
    if point.train is None:
        return _load(point_title(point), f"{reported:,} annotated frames", reported, 0, trial, 0)
    lengths = _lengths(manifest, point.train.train_split)
    config = planned(point.train, lengths)
    drawn = sum(min(length, config.frames_per_shot) for length in lengths)
    steps = config.epochs * -(-drawn // config.batch_size)
    validated = config.epochs // config.validate_every * scored[config.val_split] + reported
    trained = steps * config.batch_size
    megabytes = FILE_COPIES * trial.megabytes
    megabytes += DECODER_COPIES * DECODER_MEGABYTES * config.decoder_width**2
    what = f"{config.epochs} epochs of {drawn:,} frames"
    passes = TRAIN * trained + PREDICT * validated
    return _load(point_title(point), what, trained + validated, passes, trial, megabytes)
