"""Systems: evaluations of the same frames, those of runs that differ in the seed alone taken together."""

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Self, TypeVar

import numpy as np

from tcam_cache.config.train import NOT_LEARNED
from tcam_cache.errors import EvaluationError
from tcam_cache.evaluation.metrics import Metrics
from tcam_cache.evaluation.rows import FrameRow
from tcam_cache.provenance import canonical_json, differences

# Settings of an evaluation that change a score; the others say where things lie and what is shown.
_SCORING = ("threshold", "boxes", "map_size", "val_split")

T = TypeVar("T")


@dataclass(frozen=True)
class Spread:
    """The mean of a number over runs.

    Attributes:
        mean: over the runs.
        std: sample standard deviation (n - 1 in the denominator); None for one run.
        n: number of runs.
    """

    mean: float
    std: float | None
    n: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """Return the spread of at least one value.

        >>> Spread.of([1.0, 3.0]).text(), Spread.of([2.0]).text()
        ('2.0 ± 1.4', '2.0')
        """
        values = np.array(list(values), float)
        return cls(float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else None, len(values))

    def text(self, decimals: int = 1) -> str:
        """Return the mean, and the standard deviation if there is one."""
        spread = "" if self.std is None else f" ± {self.std:.{decimals}f}"
        return f"{self.mean:.{decimals}f}{spread}"


@dataclass(frozen=True)
class StoredReport:
    """A report as read back from its folder.

    Attributes:
        name: shown in tables.
        metrics: the content of metrics.json.
        rows: the content of frames.csv.
        folder: as given.
        named: whether the user chose the name; reports of two chosen names are never one system.
    """

    name: str
    metrics: Metrics
    rows: tuple[FrameRow, ...]
    folder: str = ""
    named: bool = False


@dataclass(frozen=True)
class System:
    """One or more evaluations that differ in the seed alone.

    Attributes:
        name: shown in tables.
        reports: one per run, of the same frames.
    """

    name: str
    reports: tuple[StoredReport, ...]


def grouped(items: Iterable[tuple[Hashable, T]]) -> list[list[T]]:
    """Return the values of equal keys together, in the order in which the keys come first.

    >>> grouped([("a", 1), ("b", 2), ("a", 3)])
    [[1, 3], [2]]
    """
    groups: dict[Hashable, list[T]] = {}
    for key, item in items:
        groups.setdefault(key, []).append(item)
    return list(groups.values())


def systems_of(reports: Sequence[StoredReport]) -> tuple[System, ...]:
    """Return the systems of reports in the order given; those that differ in the seed alone are one.

    Raises:
        EvaluationError: two reports are of one run, or two systems have one name.
    """
    groups = grouped((canonical_json(_identity(report)), report) for report in reports)
    for group in groups:
        _require_distinct_runs(group)
    systems = tuple(System(_name_of(group), tuple(group)) for group in groups)
    for same in grouped((system.name, system) for system in systems):
        if len(same) > 1:
            _refuse_name(same)
    return systems


def require_same_frames(reports: Sequence[StoredReport]) -> None:
    """Make sure that all reports are of the frames, boxes and split of the first one.

    Raises:
        EvaluationError: some are not; what differs is named.
    """
    first = reports[0]
    wrong = [f"{report.name}: {line}" for report in reports[1:] for line in _frames_differ(first, report)]
    if wrong:
        raise EvaluationError(
            f"not every report is of the same frames as {first.name}. Evaluate the same split of the same "
            "manifest, with the same --boxes.",
            wrong,
        )


def settings_of(metrics: Metrics) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings that a report's numbers depend on without seeds, and what the seeds decide.

    The settings are empty where the report does not store what made its maps. Settings of where and how a
    run is done, such as its folder or device, are left out. Weights of a classifier whose settings are known
    are what its seed decides.
    """
    facts = metrics.provenance
    run, fit, inputs = (dict(facts.get(name) or {}) for name in ("run", "classifier", "inputs"))
    if not (run or inputs or "cache" in facts):
        return {}, {}
    seeds = {name: part["seed"] for name, part in (("run", run), ("classifier", fit)) if "seed" in part}
    cache = dict(inputs.pop("cache", {}))
    if fit and "classifier" in cache:
        network = dict(cache["classifier"])
        seeds["weights"] = [network.pop("weights", None), inputs.pop("encoder", None)]
        cache["classifier"] = network
    settings = {
        "method": metrics.method,
        "evaluate": {name: facts.get("config", {}).get(name) for name in _SCORING},
        "train": _learned(run),
        # Reports of an earlier version say only where the cache lies, or its fingerprint.
        "cache": cache or run.get("cache") or facts.get("cache"),
        "classifier": _learned(fit),
        **inputs,
    }
    return settings, seeds


def _learned(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in NOT_LEARNED | {"seed"}}


def _identity(report: StoredReport) -> dict[str, Any]:
    settings, _ = settings_of(report.metrics)
    # What does not say its settings is like nothing else.
    return {"name": report.name if report.named else None, **(settings or {"report": report.folder})}


def _require_distinct_runs(group: Sequence[StoredReport]) -> None:
    for same in grouped((canonical_json(settings_of(report.metrics)[1]), report) for report in group):
        if len(same) > 1:
            raise EvaluationError(
                "reports are of one run: the same settings and the same seed. Leave one out, or give each a "
                "name of its own: NAME=REPORT.",
                [report.folder or report.name for report in same],
            )


def _name_of(group: Sequence[StoredReport]) -> str:
    """Return the name of a system: what the names of its reports begin with, less what tells the seed.

    A number that is cut goes as a whole: of n0_s1 and n0_s2 "n0" is left, of run10 and run12 "run".
    """
    names = [report.name for report in group]
    if len(set(names)) == 1:
        return names[0]
    columns = zip(*names, strict=False)
    common = "".join(column[0] for column in takewhile(lambda column: len(set(column)) == 1, columns))
    return re.sub(r"[\W_]+(seed|s)?$", "", common.rstrip("0123456789")) or names[0]


def _refuse_name(systems: Sequence[System]) -> None:
    first, *others = systems
    (ours, _), name = settings_of(first.reports[0].metrics), first.name
    lines = [f"{first.reports[0].folder} and {other.reports[0].folder}" for other in others]
    for other in others:
        theirs, _ = settings_of(other.reports[0].metrics)
        lines += [f"{name}: {line}" for line in differences(theirs, ours)]
    raise EvaluationError(
        f"{len(systems)} systems that differ in more than the seed have the name {name}. Give each a name of "
        "its own: NAME=REPORT.",
        lines,
    )


def _frames_differ(first: StoredReport, other: StoredReport) -> list[str]:
    ours, theirs = ({row.path: row for row in report.rows} for report in (first, other))
    lines = [
        f"{name} {their}, not {our}"
        for name, their, our in (
            ("split", other.metrics.split, first.metrics.split),
            ("boxes by", other.metrics.boxes, first.metrics.boxes),
        )
        if their != our
    ]
    same = [path for path in ours if path in theirs]
    kinds = {
        "frame(s) are missing": [path for path in ours if path not in theirs],
        "frame(s) more": [path for path in theirs if path not in ours],
        "frame(s) of another tag or video": [
            path
            for path in same
            if (ours[path].tag, ours[path].video) != (theirs[path].tag, theirs[path].video)
        ],
        "frame(s) with other true boxes": [
            path for path in same if ours[path].true_boxes != theirs[path].true_boxes
        ],
    }
    return lines + [f"{len(paths)} {what}, such as {paths[0]}" for what, paths in kinds.items() if paths]
