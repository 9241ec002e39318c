"""Systems side by side: metrics over seeds, bootstrap intervals over videos, paired differences."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tcam_cache.evaluation.metrics import DECIMALS, frame_values
from tcam_cache.evaluation.systems import Spread, System
from tcam_cache.evaluation.thresholds import by_class

LEVEL = 95
# Resamples whose sums are held in memory at a time.
_BLOCK = 500

Interval = tuple[float, float]


@dataclass(frozen=True)
class Measure:
    """A metric that is compared.

    Attributes:
        title: of its column.
        over_classes: the metric is the unweighted mean of the classes' means, else the mean over frames.
        scale: 100 for a share in percent, 1 for a number in 0..1.
    """

    title: str
    over_classes: bool = False
    scale: int = 100

    @property
    def decimals(self) -> int:
        """Decimals that are shown."""
        return 1 if self.scale == 100 else 3


# By the names that `frame_values` gives.
MEASURES = {
    "corloc_0.3": Measure("CorLoc 0.3", over_classes=True),
    "corloc_0.5": Measure("CorLoc 0.5", over_classes=True),
    "corloc_0.7": Measure("CorLoc 0.7", over_classes=True),
    "max_box_acc_v2": Measure("MaxBoxAccV2"),
    "mean_iou": Measure("mean IoU", scale=1),
    "cl_accuracy": Measure("CL"),
    "top1_localization": Measure("top-1 loc."),
}
HEADLINE = "corloc_0.5"


@dataclass(frozen=True)
class Estimate:
    """A metric of a system.

    Attributes:
        value: over its runs.
        interval: of the mean over its runs, over videos; None where there is one video.
        difference: from the baseline; None for the baseline itself and without one.
        difference_interval: of the difference, each resample the same for both systems.
    """

    value: Spread
    interval: Interval | None
    difference: float | None = None
    difference_interval: Interval | None = None

    @property
    def outside_chance(self) -> bool | None:
        """Whether the interval of the difference leaves 0 out; None without an interval."""
        if self.difference_interval is None:
            return None
        low, high = self.difference_interval
        return low > 0 or high < 0


@dataclass(frozen=True)
class SystemScores:
    """The scores of one system.

    Attributes:
        name: of the system.
        reports: names of its reports.
        method: that made the maps.
        threshold: policy of the headline numbers.
        measures: by name, those of `MEASURES` that every run has.
        per_class: CorLoc at IoU 0.5 by class, in percent.
        per_video: the same by video.
        ms_per_frame: None where a report has none.
    """

    name: str
    reports: tuple[str, ...]
    method: str
    threshold: str
    measures: Mapping[str, Estimate]
    per_class: Mapping[str, Spread]
    per_video: Mapping[str, Spread]
    ms_per_frame: Spread | None


@dataclass(frozen=True)
class Comparison:
    """Systems side by side on the same frames.

    Attributes:
        split: the evaluated split.
        boxes: how boxes are taken, "components" or "wsol".
        frames: number of annotated frames.
        videos: number of videos they come from.
        baseline: name of the system that differences are taken from; None where there is one system.
        resamples: of the videos.
        seed: of the resamples.
        systems: in the order given.
    """

    split: str
    boxes: str
    frames: int
    videos: int
    baseline: str | None
    resamples: int
    seed: int
    systems: tuple[SystemScores, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as JSON values, rounded, with `outside_chance` beside each difference."""
        values = asdict(self)
        for system, scores in zip(values["systems"], self.systems, strict=True):
            for name, estimate in scores.measures.items():
                system["measures"][name]["outside_chance"] = estimate.outside_chance
        return _rounded(values)


def compare_systems(
    systems: Sequence[System], baseline: str | None = None, resamples: int = 10_000, seed: int = 0
) -> Comparison:
    """Score systems side by side.

    Args:
        systems: at least one, all of the same frames.
        baseline: name of the system that differences are taken from; default: the first of several.
        resamples: of the videos, with replacement.
        seed: of the resamples; the same ones serve every system and metric.
    """
    if baseline is None and len(systems) > 1:
        baseline = systems[0].name
    first = systems[0].reports[0]
    rows = sorted(first.rows, key=lambda row: row.path)
    tags, videos = [row.tag for row in rows], [row.video for row in rows]
    values = {system.name: _run_values(system) for system in systems}
    measures: dict[str, dict[str, Estimate]] = {system.name: {} for system in systems}
    for name, measure in MEASURES.items():
        of = {system: runs[name] for system, runs in values.items() if name in runs}
        groups = tags if measure.over_classes else [""] * len(rows)
        draws = bootstrap_means([runs.mean(axis=0) for runs in of.values()], videos, groups, resamples, seed)
        for system, estimate in _estimates(of, groups, draws, baseline).items():
            measures[system][name] = estimate
    return Comparison(
        split=first.metrics.split,
        boxes=first.metrics.boxes,
        frames=len(rows),
        videos=len(set(videos)),
        baseline=baseline,
        resamples=resamples,
        seed=seed,
        systems=tuple(
            SystemScores(
                name=system.name,
                reports=tuple(report.name for report in system.reports),
                method=system.reports[0].metrics.method,
                threshold=system.reports[0].metrics.threshold["policy"],
                measures=measures[system.name],
                per_class=_spreads(values[system.name][HEADLINE], tags),
                per_video=_spreads(values[system.name][HEADLINE], videos),
                ms_per_frame=_ms_per_frame(system),
            )
            for system in systems
        ),
    )


def bootstrap_means(
    values: Sequence[np.ndarray], videos: Sequence[str], classes: Sequence[str], resamples: int, seed: int
) -> np.ndarray:
    """Return the mean over classes of each system in resamples of the videos.

    Each resample draws as many videos as there are, with replacement, and takes all frames of each; a class
    without a frame in it is in no mean.

    Args:
        values: (F,) of each of S systems, of the same frames.
        videos: (F,) the video of each frame.
        classes: (F,) the class of each frame; all equal for the mean over frames.
        resamples: B.
        seed: same seed, same resamples.

    Returns:
        (S, B) float64; (S, 0) where there is one video.

    >>> draws = bootstrap_means([np.array([0.0, 1.0])], ["a", "b"], ["", ""], 100, seed=0)
    >>> np.unique(draws).tolist()
    [0.0, 0.5, 1.0]
    """
    (names, video), (tags, tag) = (np.unique(labels, return_inverse=True) for labels in (videos, classes))
    if not len(values) or len(names) == 1:
        return np.zeros((len(values), 0))
    cells, shape = video * len(tags) + tag, (len(names), len(tags))

    def per_cell(weights: np.ndarray) -> np.ndarray:
        """Return (V, C) sums of (F,) weights over the frames of each video and class."""
        return np.bincount(cells, weights, minlength=shape[0] * shape[1]).reshape(shape)

    counts, sums = per_cell(np.ones(len(cells))), np.stack([per_cell(one) for one in values])
    rng, blocks = np.random.default_rng(seed), []
    for start in range(0, resamples, _BLOCK):
        size = min(_BLOCK, resamples - start)
        drawn = rng.multinomial(shape[0], np.full(shape[0], 1 / shape[0]), size).astype(float)
        frames = drawn @ counts
        means = np.divide(drawn @ sums, frames, out=np.zeros((len(sums), *frames.shape)), where=frames > 0)
        blocks.append(means.sum(axis=2) / (frames > 0).sum(axis=1))
    return np.concatenate(blocks, axis=1)


def _run_values(system: System) -> dict[str, np.ndarray]:
    """Return (R, F) values by measure of the runs of a system, frames in the order of their paths."""
    runs = [
        frame_values(sorted(report.rows, key=lambda row: row.path), report.metrics.boxes)
        for report in system.reports
    ]
    return {
        name: measure.scale * np.stack([run[name] for run in runs])
        for name, measure in MEASURES.items()
        if all(name in run for run in runs)
    }


def _estimates(
    values: Mapping[str, np.ndarray], groups: Sequence[str], draws: np.ndarray, baseline: str | None
) -> dict[str, Estimate]:
    """Return the estimate of one metric by system, from (R, F) values of its runs and its (B,) draws."""
    spreads = {
        name: Spread.of(float(np.mean(list(by_class(run, groups).values()))) for run in runs)
        for name, runs in values.items()
    }
    draws_of = dict(zip(values, draws, strict=True))
    estimates = {}
    for name, spread in spreads.items():
        estimates[name] = Estimate(spread, _interval(draws_of[name]))
        if baseline in spreads and name != baseline:
            estimates[name] = Estimate(
                spread,
                _interval(draws_of[name]),
                spread.mean - spreads[baseline].mean,
                _interval(draws_of[name] - draws_of[baseline]),
            )
    return estimates


def _interval(draws: np.ndarray) -> Interval | None:
    if not len(draws):
        return None
    tail = (100 - LEVEL) / 2
    # Rounded as the metrics are: sums in another order shall not decide whether 0 lies inside.
    low, high = np.round(np.percentile(draws, [tail, 100 - tail]), DECIMALS) + 0.0
    return float(low), float(high)


def _spreads(values: np.ndarray, labels: Sequence[str]) -> dict[str, Spread]:
    runs = [by_class(run, labels) for run in values]
    return {name: Spread.of(float(run[name]) for run in runs) for name in runs[0]}


def _ms_per_frame(system: System) -> Spread | None:
    times = [report.metrics.ms_per_frame for report in system.reports]
    known = [time for time in times if time is not None]
    return Spread.of(known) if len(known) == len(times) else None


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, DECIMALS)
    if isinstance(value, Mapping):
        return {key: _rounded(one) for key, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list | tuple) else value
