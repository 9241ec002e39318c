"""Evaluations of the same frames side by side: tables, a picture, and what is outside chance."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tcam_cache.config import CompareConfig
from tcam_cache.errors import EvaluationError, near_names
from tcam_cache.evaluation import (
    Comparison,
    StoredReport,
    System,
    compare_systems,
    comparison_csv,
    comparison_tables,
    comparison_text,
    draw_comparison,
    read_report,
    require_same_frames,
    systems_of,
    to_latex,
    to_markdown,
)
from tcam_cache.files import make_folder, write_bytes, write_json, write_text
from tcam_cache.names import left_behind
from tcam_cache.provenance import differences, provenance

RESULTS_NAME = "compare.json"
FILES = (RESULTS_NAME, "compare.csv", "table.md", "table.tex", "compare.png")


@dataclass(frozen=True)
class CompareReport:
    """The result of a comparison.

    Attributes:
        out: the folder with compare.json, compare.csv, table.md, table.tex and compare.png.
        comparison: the numbers.
    """

    out: str
    comparison: Comparison

    def to_json(self) -> dict[str, Any]:
        """Return the numbers, and where the tables are."""
        return {**self.comparison.to_json(), "out": self.out}

    def to_text(self) -> str:
        """Return the tables of all frames and by class; those by video are in the folder."""
        return f"{comparison_text(self.comparison)}\n\n{self.out}/table.md, {self.out}/compare.png"


def compare(config: CompareConfig) -> CompareReport:
    """Set evaluations of the same frames side by side, and write tables and a picture.

    Reports of runs that differ in the seed alone become one system, a mean and a standard deviation.
    Intervals are over videos, and differences from the baseline are paired.

    Raises:
        EvaluationError: a folder holds no report or a damaged one, reports are of different frames (what
            differs is named), two systems have one name, or there is no such baseline.
        EvaluationError: `config.out` holds another comparison and `overwrite` is not set, or something else.
    """
    out = Path(config.out)
    settings = _settings(config)
    _require_own_folder(out, settings, config.overwrite)
    reports = _reports(config.reports)
    require_same_frames(reports)
    systems = systems_of(reports)
    comparison = compare_systems(systems, _baseline(config.baseline, systems), config.resamples, config.seed)
    make_folder(out)
    tables, title = comparison_tables(comparison), f"# Comparison on {comparison.split}"
    write_text(out / "compare.csv", comparison_csv(comparison))
    write_text(out / "table.md", f"{title}\n\n{to_markdown(tables)}")
    write_text(out / "table.tex", to_latex(tables))
    write_bytes(out / "compare.png", draw_comparison(comparison))
    results = {**comparison.to_json(), "settings": settings, "provenance": provenance()}
    write_json(out / RESULTS_NAME, results)
    return CompareReport(str(config.out), comparison)


def _settings(config: CompareConfig) -> dict[str, Any]:
    own = ("out", "overwrite")
    values = {name: value for name, value in config.to_json().items() if name not in own}
    return {**values, "reports": list(config.reports)}


def _reports(arguments: Sequence[str]) -> list[StoredReport]:
    """Read FOLDER or NAME=FOLDER; everything that is no report is named at once."""
    reports, faults = [], []
    for text in arguments:
        name, equals, folder = text.partition("=")
        # A folder may have = in its name, as those of a search have.
        named = bool(name and equals) and not Path(text).exists()
        path = Path(folder if named else text)
        try:
            metrics, rows = read_report(path)
        except EvaluationError as error:
            faults.append(error)
            continue
        reports.append(StoredReport(name if named else path.resolve().name, metrics, rows, str(path), named))
    if len(faults) == 1:
        raise faults[0]
    if faults:
        raise EvaluationError(
            f"{len(faults)} of {len(arguments)} reports cannot be read. Give folders that "
            "`tcam-cache evaluate` wrote.",
            [" ".join([fault.message, *fault.offenders]) for fault in faults],
        )
    return reports


def _baseline(baseline: str | None, systems: Sequence[System]) -> str | None:
    """Return the name of the system that is named, or of which a report is named."""
    if baseline is None:
        return None
    for system in systems:
        names = [system.name, *(report.name for report in system.reports)]
        folders = [Path(report.folder).resolve() for report in system.reports]
        if baseline in names or Path(baseline).resolve() in folders:
            return system.name
    known = [system.name for system in systems]
    raise EvaluationError(
        f"there is no system or report {baseline!r} for a baseline. {near_names(baseline, known)}"
        f"Those that exist: {', '.join(known)}."
    )


def _require_own_folder(out: Path, settings: dict[str, Any], overwrite: bool) -> None:
    there = sorted(entry.name for entry in out.iterdir()) if out.is_dir() else []
    strange = [name for name in there if name not in FILES and not left_behind(name)]
    if strange or out.is_file():
        raise EvaluationError(
            f"{out} holds something that is not a comparison. Give an empty or new folder.", strange
        )
    if RESULTS_NAME not in there or overwrite:
        return
    try:
        before = json.loads((out / RESULTS_NAME).read_text())["settings"]
        changed = differences(settings, before)
    except (ValueError, KeyError, TypeError, AttributeError):
        changed = [f"{RESULTS_NAME} is damaged"]
    if changed:
        raise EvaluationError(
            f"{out} holds another comparison. Give another --out, or --overwrite to replace it.", changed
        )
