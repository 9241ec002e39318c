"""A published table made again: classifier, caches, decoders and reports, beside the published numbers."""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from tcam_cache.building.plan import Trial, forward_trial
from tcam_cache.building.table_plan import TablePlan, cache_name, plan_table, point_title
from tcam_cache.cache import CamCache
from tcam_cache.cells import csv_line
from tcam_cache.config import BuildConfig, CompareConfig, ReproduceConfig
from tcam_cache.config.presets import PRESET_STAGES
from tcam_cache.config.reproduce import Point, Runs, runs_of
from tcam_cache.config.tables import TABLES
from tcam_cache.datasets import Manifest, read_manifest
from tcam_cache.errors import CacheError, ConfigError, EvaluationError, ManifestError
from tcam_cache.evaluation import Comparison, Table, tables_beside, to_latex, to_markdown, to_text
from tcam_cache.files import write_json, write_text
from tcam_cache.inference.maps import annotated_frames
from tcam_cache.processes import in_processes
from tcam_cache.provenance import provenance, sha256_of
from tcam_cache.stages.build import build_cache
from tcam_cache.stages.classifier import fit_classifier, fit_folder
from tcam_cache.stages.compare import compare
from tcam_cache.stages.evaluate import evaluate
from tcam_cache.stages.search import one_of, train_point
from tcam_cache.training import RunFolder

logger = logging.getLogger(__name__)

# Settings of the folder that may change between two calls: which table, and how the work is done.
FREE = ("table", "seeds", "jobs", "dry_run", "workers", "device", "root", "out", "manifest", "preset")


@dataclass(frozen=True)
class ReproduceReport:
    """The result of `reproduce`.

    Attributes:
        out: the folder; the table is in its `TABLE.md`, `.csv`, `.tex` and `.json`, the comparison with
            intervals and picture in its folder `TABLE`.
        plan: what was to be computed.
        tables: the published numbers beside ours; none in a dry run.
        comparison: of our systems; None in a dry run.
        failed: why a system has no number, by its name.
        seconds: taken by this call.
    """

    out: str
    plan: TablePlan
    tables: tuple[Table, ...]
    comparison: Comparison | None
    failed: dict[str, str]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON-able values."""
        return {
            "out": self.out,
            "plan": asdict(self.plan),
            "tables": [{"title": one.title, "header": one.header, "rows": one.rows} for one in self.tables],
            "comparison": self.comparison.to_json() if self.comparison else None,
            "failed": self.failed,
            "seconds": round(self.seconds, 1),
        }

    def to_text(self) -> str:
        """Return the first table, or the plan of a dry run, as plain text."""
        if not self.tables:
            return f"{self.plan.to_text()}\nnothing was written (--dry-run)"
        name = self.plan.table
        first = self.tables[0]
        lines = [to_text(first), first.note, *(f"no number of {one}" for one in _lines(self.failed))]
        where = f"{self.out}/{name}.md, {self.out}/{name}/compare.png"
        return "\n".join([*lines, f"\n{where}, {self.seconds / 60:.1f} minutes"])


def reproduce(config: ReproduceConfig) -> ReproduceReport:
    """Make a published table again, and set the published numbers beside it.

    Classifier, caches, runs and reports lie in `out`; the same call goes on where another was interrupted,
    and another table of the same recipe uses what is there.

    Raises:
        ManifestError: the manifest cannot give the table: no true boxes, or a split is empty.
        RunError: `out` holds tables of another recipe or manifest, or something else.
        EvaluationError: no row could be made; all reasons are named.
        FrameError: frames cannot be read.
    """
    began = time.perf_counter()
    manifest, runs = read_manifest(config.manifest), runs_of(config)
    _require_given(config, runs, manifest)
    if not config.dry_run:
        _begin(config, runs, manifest)
    plan = _plan(config, runs, manifest)
    if config.dry_run:
        return ReproduceReport(str(config.out), plan, (), None, {}, time.perf_counter() - began)
    logger.info("%s", plan.to_text())
    left = [point for point in runs.points if not _is_reported(point)]
    unbuilt: dict[str, str] = {}
    if left:
        _fit(runs)
        unbuilt = _build(runs.builds[method] for method in dict.fromkeys(point.method for point in left))
    failed = {point.system: unbuilt[point.method] for point in left if point.method in unbuilt}
    failed |= _report([point for point in left if point.system not in failed], config.jobs)
    comparison = _compared(config, runs, failed)
    tables = tables_beside(config.table, comparison, manifest.classes, manifest.layout)
    seconds = time.perf_counter() - began
    report = ReproduceReport(str(config.out), plan, tuple(tables), comparison, failed, seconds)
    _write(config, report)
    return report


def _require_given(config: ReproduceConfig, runs: Runs, manifest: Manifest) -> None:
    """Make sure that the manifest can give the table."""
    fits = (runs.classifier, *(point.train for point in runs.points if point.train is not None))
    faults = [
        f"split {split!r} has no shots to learn from"
        for split in dict.fromkeys(fit.train_split for fit in fits)
        if not manifest.split(split)
    ]
    if not annotated_frames(manifest.split(config.split)):
        faults.append(f"split {config.split!r} has no true box to score against")
    if config.threshold == "val" and not annotated_frames(manifest.split("val")):
        faults.append("split 'val' has no true box to choose tau by (--threshold val)")
    if faults:
        raise ManifestError(
            f"{config.manifest} cannot give {config.table}. Give boxes to `tcam-cache manifest "
            "--annotations` and a split to each video, then run this again.",
            faults,
        )


def _begin(config: ReproduceConfig, runs: Runs, manifest: Manifest) -> None:
    """Start the folder, or make sure that it is of the same recipe."""
    settings = {name: value for name, value in config.to_json().items() if name not in FREE}
    settings |= {stage: config.recipe(stage) for stage in PRESET_STAGES}
    again = (config.out / "config.json").is_file()
    known = sha256_of([[shot.id, shot.split, sorted(shot.boxes.items())] for shot in manifest.shots])
    RunFolder.begin(config.out, settings, again, {"manifest": manifest.digest(), "splits and boxes": known})


def _plan(config: ReproduceConfig, runs: Runs, manifest: Manifest) -> TablePlan:
    left = {point.method for point in runs.points if not _is_reported(point)}
    done = {point_title(point) for point in runs.points if _is_reported(point)}
    done |= {cache_name(name) for name, build in runs.builds.items() if name not in left or _is_built(build)}
    done |= {"classifier"} if not left or runs.classifier.out.is_file() else set()
    trial = forward_trial(replace(runs.classifier, weights="none")) if left else Trial(0.0, 0, 0.0)
    return plan_table(config.table, runs, manifest, frozenset(done), trial, config.jobs)


def _is_reported(point: Point) -> bool:
    # Written last.
    return (point.evaluate.out / "index.html").is_file()


def _is_built(config: BuildConfig) -> bool:
    try:
        return not CamCache.open(config.out).missing()
    except CacheError:
        return False


def _fit(runs: Runs) -> None:
    config = runs.classifier
    if config.out.is_file():
        return
    logger.info("\nclassifier, on the tags")
    begun = (fit_folder(config.out) / "config.json").is_file()
    fit_classifier(replace(config, resume=begun))


def _build(builds: Iterator[BuildConfig]) -> dict[str, str]:
    """Build the caches, and return by method why its CAMs cannot be made."""
    unbuilt: dict[str, str] = {}
    for config in builds:
        if not _is_built(config):
            logger.info("\nCAMs by %s, into %s", config.method, config.out)
            try:
                build_cache(config)
            except ConfigError as error:
                logger.warning("%s", error)
                unbuilt[config.method] = str(error)
    return unbuilt


def _report(points: Sequence[Point], jobs: int) -> dict[str, str]:
    """Make the reports, and return by system why it has none."""
    failed: dict[str, str] = {}
    outcomes = in_processes((partial(_point, point, jobs) for point in points), jobs)
    for point, fault in zip(points, outcomes, strict=True):
        logger.info("%s: %s", point_title(point), fault or "done")
        if fault:
            failed[point.system] = fault
    return failed


def _point(point: Point, jobs: int) -> str:
    """Train and score a point, and return why it has no report, or ""."""
    if point.train is not None:
        row = train_point(point.system, {}, point.train, jobs)
        if "error" in row:
            return row["error"]
    with one_of(jobs):
        evaluate(replace(point.evaluate, workers=point.evaluate.workers if jobs == 1 else 0))
    return ""


def _compared(config: ReproduceConfig, runs: Runs, failed: dict[str, str]) -> Comparison:
    """Return the comparison of all rows of which every run has a report."""
    points = [point for point in runs.points if point.system not in failed]
    if not points:
        raise EvaluationError(f"no row of {config.table} could be made.", list(_lines(failed)))
    baseline = TABLES[config.table].baseline
    named = [f"{point.system}={point.evaluate.out}" for point in points]
    systems = {point.system for point in points}
    settings = CompareConfig(
        reports=tuple(named),
        out=config.out / config.table,
        baseline=baseline if baseline in systems and len(systems) > 1 else None,
        seed=config.seed,
        overwrite=True,
    )
    return compare(settings).comparison


def _write(config: ReproduceConfig, report: ReproduceReport) -> None:
    place, title = config.out / config.table, TABLES[config.table].title
    lines = [f"- no number of {line}" for line in _lines(report.failed)]
    text = "\n".join([f"# {config.table}: {title}", "", to_markdown(report.tables), *lines])
    write_text(place.with_suffix(".md"), text.rstrip() + "\n")
    write_text(place.with_suffix(".tex"), to_latex(report.tables))
    first = report.tables[0]
    cells = [["" if cell is None else cell for cell in row] for row in first.rows]
    write_text(place.with_suffix(".csv"), "".join(map(csv_line, [first.header, *cells])))
    write_json(place.with_suffix(".json"), {**report.to_json(), "provenance": provenance()})


def _lines(failed: dict[str, str]) -> Iterator[str]:
    return (f"{system}: {reason}" for system, reason in failed.items())
