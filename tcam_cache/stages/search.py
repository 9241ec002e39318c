"""Stage 2 for every point of a grid: train, score on val, choose the best."""

import json
import logging
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import joblib

from tcam_cache.cells import markdown_line, markdown_text
from tcam_cache.config import SearchConfig, TrainConfig
from tcam_cache.config.grid import RUNS_NAME, grid_runs, parse_grid
from tcam_cache.devices import computing_threads
from tcam_cache.errors import ConfigError, RunError
from tcam_cache.files import write_bytes, write_json, write_text
from tcam_cache.processes import affordable, from_here, worker_errors
from tcam_cache.progress import QUIET
from tcam_cache.stages.train import train_decoder
from tcam_cache.torchrun import require_alone
from tcam_cache.training import VAL_LOSS, RunFolder, draw_search

logger = logging.getLogger(__name__)

RESULTS_NAME = "search.json"
_SCORES = {"corloc": ("CorLoc on val", 1), VAL_LOSS: ("loss on val", -1)}


@dataclass(frozen=True)
class SearchReport:
    """The result of a search.

    Attributes:
        search: its folder.
        rows: one mapping per point: its run, settings, and either scores, epoch and tau, or its error.
        best: the row with the best score on val, the first of equals; None without a score.
        seconds: taken by this call.
    """

    search: str
    rows: tuple[Mapping[str, Any], ...]
    best: Mapping[str, Any] | None
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON-able values."""
        return asdict(self)

    def to_text(self) -> str:
        """Return the report as a table and the best point."""
        if self.best is None:
            return f"{_table(self.rows)}\nNo run has a score on val: nothing was chosen."
        run = f"{self.search}/{RUNS_NAME}/{self.best['run']}"
        return f"{_table(self.rows)}\nbest on val: {self.best['run']}\n  {run}"


def search(config: SearchConfig) -> SearchReport:
    """Train a run for every point of the grid, write table and plot, and choose the best point on val.

    With `resume`, finished points are kept, unfinished ones continue, and failed ones are tried again.

    Raises:
        ConfigError: the grid cannot be read, or has values out of range. Or torchrun started several
            processes. Points that cannot be trained are rows of their own, with the reason.
        RunError: the folder holds a search and `resume` is not set, or one around other settings.
    """
    began = time.perf_counter()
    require_alone("search")
    runs = grid_runs(config)
    settings = config.to_json(absolute=True)
    around = {spec.name: settings[spec.name] for spec in fields(TrainConfig)}
    folder = RunFolder.begin(config.out, {**around, **dict.fromkeys(parse_grid(config.grid))}, config.resume)
    rows = {name: row for name, row in _earlier(folder).items() if name in runs}
    left = [name for name in runs if not _is_done(rows.get(name), config.epochs)]
    train_point = joblib.delayed(from_here(_train_point))
    tasks = (train_point(name, *runs[name], config.jobs) for name in left)
    jobs = max(1, affordable(config.jobs)) if config.jobs > 1 else 1
    with worker_errors():
        # joblib's annotation includes None, which this mode does not return.
        results: Iterable[dict[str, Any]] = joblib.Parallel(  # pyright: ignore[reportAssignmentType]
            n_jobs=jobs, return_as="generator_unordered"
        )(tasks)
        for row in results:
            rows[row["run"]] = row
            logger.info("%s: %s", row["run"], _outcome(row))
            _write(folder, [rows[name] for name in runs if name in rows])
    ordered = [rows[name] for name in runs]
    _write(folder, ordered)
    return SearchReport(str(config.out), tuple(ordered), _best(ordered), time.perf_counter() - began)


def _train_point(name: str, point: Mapping[str, Any], config: TrainConfig, jobs: int) -> dict[str, Any]:
    begun = (config.out / "config.json").is_file()
    # In parallel jobs every process decodes its own frames: the cores are busy already.
    workers = config.workers if jobs == 1 else 0
    threads = None if jobs == 1 else max(1, (os.cpu_count() or 1) // jobs)
    row: dict[str, Any] = {"run": name, "settings": dict(point)}
    loudness = QUIET.set(QUIET.get() or jobs > 1)
    try:
        with computing_threads(threads):
            report = train_decoder(replace(config, resume=begun, workers=workers))
    except (ConfigError, RunError) as error:
        return {**row, "error": " ".join([error.message, *error.offenders])}
    finally:
        QUIET.reset(loudness)
    scores = {key: report.best[key] for key in ("epoch", *_SCORES) if key in report.best}
    return {
        **row,
        **scores,
        "epochs": report.epochs,
        "tau": report.threshold,
        "seconds": round(report.seconds, 1),
    }


def _earlier(folder: RunFolder) -> dict[str, dict[str, Any]]:
    path = folder.path / RESULTS_NAME
    if not path.is_file():
        return {}
    try:
        return {row["run"]: row for row in json.loads(path.read_text())["rows"]}
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{path} is damaged. Delete it: finished runs are then only looked at again."
        ) from error


def _is_done(row: Mapping[str, Any] | None, epochs: int) -> bool:
    return row is not None and "error" not in row and row["epochs"] >= epochs


def _best(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    score, _, sign = _score_of(rows)
    return max((row for row in rows if score in row), key=lambda row: sign * row[score], default=None)


def _score_of(rows: Sequence[Mapping[str, Any]]) -> tuple[str, str, int]:
    score = next((name for name in _SCORES if any(name in row for row in rows)), "corloc")
    return score, *_SCORES[score]


def _write(folder: RunFolder, rows: Sequence[Mapping[str, Any]]) -> None:
    write_json(folder.path / RESULTS_NAME, {"rows": list(rows), "best": _best(rows)})
    write_text(folder.path / "table.md", _table(rows) + "\n")
    score, label, _ = _score_of(rows)
    points = [(row["settings"], row[score]) for row in rows if score in row]
    if points:
        write_bytes(folder.path / "search.png", draw_search(points, label))


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    names = list(rows[0]["settings"])
    head = [*names, "result", "epoch", "tau", "seconds"]
    lines = []
    for row in rows:
        tau = "" if row.get("tau") is None else f"{row['tau']:.3f}"
        columns = [str(row.get("epoch", "")), tau, str(row.get("seconds", ""))]
        lines.append([*(str(row["settings"][name]) for name in names), _outcome(row), *columns])
    escaped = ([markdown_text(cell) for cell in line] for line in [head, *lines])
    first, *others = map(markdown_line, escaped)
    return "\n".join([first, markdown_line(["---"] * len(head)), *others])


def _outcome(row: Mapping[str, Any]) -> str:
    if "error" in row:
        return row["error"]
    score, label, _ = _score_of([row])
    return f"{label} {row[score]:.4g}" if score in row else "no score"
