"""Stage 2 for every point of a grid: train, score on val, choose the best; a seed is never ranked."""

import json
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, NamedTuple

import joblib

from tcam_cache.cells import markdown_line, markdown_text
from tcam_cache.config import SearchConfig, TrainConfig
from tcam_cache.config.grid import RUNS_NAME, grid_runs, parse_grid, point_name
from tcam_cache.devices import computing_threads
from tcam_cache.errors import ConfigError, RunError
from tcam_cache.evaluation import Spread, grouped
from tcam_cache.files import write_bytes, write_json, write_text
from tcam_cache.processes import affordable, from_here, worker_errors
from tcam_cache.progress import QUIET
from tcam_cache.provenance import canonical_json
from tcam_cache.stages.train import train_decoder
from tcam_cache.torchrun import require_alone
from tcam_cache.training import VAL_LOSS, RunFolder, draw_search

logger = logging.getLogger(__name__)

RESULTS_NAME = "search.json"
_SEED = "seed"


class _Score(NamedTuple):
    name: str
    label: str
    sign: int
    decimals: int


_SCORES = (_Score("corloc", "CorLoc on val", 1, 1), _Score(VAL_LOSS, "loss on val", -1, 4))
# Of runs that true boxes gave no tau.
_BY_CAMS = _SCORES[0]._replace(label="CorLoc on val by boxes of its CAMs")


@dataclass(frozen=True)
class _Point:
    """Runs that differ in the seed alone; `spread` is of their scores, None where one has none."""

    settings: Mapping[str, Any]
    rows: tuple[Mapping[str, Any], ...]
    spread: Spread | None


@dataclass(frozen=True)
class SearchReport:
    """The result of a search.

    Attributes:
        search: its folder.
        rows: one mapping per run: its name, settings, and either scores, epoch and tau, or its error.
        best: the row with the best score on val, the first of equals; None without a score. Where the grid
            names seeds, the settings without the seed whose mean over all their seeds is best: "run" is the
            first of its "runs", the score is the mean, "std" its standard deviation.
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
        tables = _tables(self.rows)
        if self.best is None:
            return f"{tables}\nNo point has a score on val of every run: nothing was chosen."
        runs = self.best.get("runs", [self.best["run"]])
        name = point_name(self.best["settings"]) or "any seed"
        chosen = self.best["run"] if len(runs) == 1 else f"{name}, the mean of {len(runs)} seeds"
        return "\n".join(
            [tables, f"best on val: {chosen}", *(f"  {self.search}/{RUNS_NAME}/{run}" for run in runs)]
        )


def search(config: SearchConfig) -> SearchReport:
    """Train a run for every point of the grid, write table and plot, and choose the best point on val.

    Points that differ in the seed alone are ranked by the mean of their scores; one of which a run has no
    score is not ranked.

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
    begin = joblib.delayed(from_here(train_point))
    tasks = (begin(name, *runs[name], config.jobs) for name in left)
    jobs = max(1, affordable(config.jobs)) if config.jobs > 1 else 1
    with worker_errors():
        # joblib's annotation includes None, which this mode does not return.
        results: Iterable[dict[str, Any]] = joblib.Parallel(  # pyright: ignore[reportAssignmentType]
            n_jobs=jobs, return_as="generator_unordered", max_nbytes=None
        )(tasks)
        for row in results:
            rows[row["run"]] = row
            logger.info("%s: %s", row["run"], _outcome(row))
            _write(folder, [rows[name] for name in runs if name in rows])
    ordered = [rows[name] for name in runs]
    _write(folder, ordered)
    return SearchReport(str(config.out), tuple(ordered), _best(ordered), time.perf_counter() - began)


def train_point(name: str, point: Mapping[str, Any], config: TrainConfig, jobs: int) -> dict[str, Any]:
    """Train a run, or go on with it, and return its row: scores, epoch and tau, or its error.

    Args:
        name: of the run in the row.
        point: what the row says of its settings.
        config: the run.
        jobs: runs that this machine trains at a time.
    """
    begun = (config.out / "config.json").is_file()
    # In parallel jobs every process decodes its own frames: the cores are busy already.
    workers = config.workers if jobs == 1 else 0
    row: dict[str, Any] = {"run": name, "settings": dict(point)}
    try:
        with one_of(jobs):
            report = train_decoder(replace(config, resume=begun, workers=workers))
    except (ConfigError, RunError) as error:
        return {**row, "error": " ".join([error.message, *error.offenders])}
    names = ("epoch", *(score.name for score in _SCORES))
    scores = {key: report.best[key] for key in names if key in report.best}
    return {
        **row,
        **scores,
        "epochs": report.epochs,
        "tau": report.threshold,
        "seconds": round(report.seconds, 1),
    }


@contextmanager
def one_of(jobs: int) -> Iterator[None]:
    """Work in silence and with a share of the cores where several jobs run at a time."""
    loudness = QUIET.set(QUIET.get() or jobs > 1)
    try:
        with computing_threads(None if jobs == 1 else max(1, (os.cpu_count() or 1) // jobs)):
            yield
    finally:
        QUIET.reset(loudness)


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


def _points(rows: Sequence[Mapping[str, Any]]) -> list[_Point]:
    """Return the points of the grid, seeds aside, in its order."""
    score = _score_of(rows).name
    settings = [{key: value for key, value in row["settings"].items() if key != _SEED} for row in rows]
    points = grouped((canonical_json(one), (one, row)) for one, row in zip(settings, rows, strict=True))
    return [
        _Point(
            of_point[0][0],
            tuple(row for _, row in of_point),
            Spread.of(row[score] for _, row in of_point)
            if all(score in row for _, row in of_point)
            else None,
        )
        for of_point in points
    ]


def _best(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    score = _score_of(rows)
    ranked = [(point, point.spread.mean) for point in _points(rows) if point.spread is not None]
    point, mean = max(ranked, key=lambda pair: score.sign * pair[1], default=(None, 0.0))
    if point is None or len(point.rows) == 1:
        return point and point.rows[0]
    runs = [row["run"] for row in point.rows]
    std = point.spread and point.spread.std
    return {"run": runs[0], "runs": runs, "settings": point.settings, score.name: mean, "std": std}


def _score_of(rows: Sequence[Mapping[str, Any]]) -> _Score:
    score = next((score for score in _SCORES if any(score.name in row for row in rows)), _SCORES[0])
    scored = [row for row in rows if score.name in row]
    by_cams = score is _SCORES[0] and scored and all(row.get("tau") is None for row in scored)
    return _BY_CAMS if by_cams else score


def _write(folder: RunFolder, rows: Sequence[Mapping[str, Any]]) -> None:
    write_json(folder.path / RESULTS_NAME, {"rows": list(rows), "best": _best(rows)})
    write_text(folder.path / "table.md", _tables(rows) + "\n")
    score = _score_of(rows)
    points = [(point.settings, point.spread) for point in _points(rows) if point.spread is not None]
    if points:
        drawn = [(settings, spread.mean, spread.std) for settings, spread in points]
        write_bytes(folder.path / "search.png", draw_search(drawn, score.label))


def _tables(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return every run as a table, and below it the means over seeds where the grid names seeds."""
    names = list(rows[0]["settings"])
    lines = []
    for row in rows:
        tau = "" if row.get("tau") is None else f"{row['tau']:.3f}"
        columns = [str(row.get("epoch", "")), tau, str(row.get("seconds", ""))]
        lines.append([*(str(row["settings"][name]) for name in names), _outcome(row), *columns])
    runs = _markdown([*names, "result", "epoch", "tau", "seconds"], lines)
    if _SEED not in names:
        return runs
    score, points = _score_of(rows), _points(rows)
    means = [
        [
            *map(str, point.settings.values()),
            "a run has no score" if point.spread is None else point.spread.text(score.decimals),
            str(len(point.rows)),
        ]
        for point in points
    ]
    return f"{runs}\n\n{_markdown([*points[0].settings, score.label, 'seeds'], means)}"


def _markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    escaped = ([markdown_text(cell) for cell in line] for line in [head, *lines])
    first, *others = map(markdown_line, escaped)
    return "\n".join([first, markdown_line(["---"] * len(head)), *others])


def _outcome(row: Mapping[str, Any]) -> str:
    if "error" in row:
        return row["error"]
    score = _score_of([row])
    return f"{score.label} {row[score.name]:.4g}" if score.name in row else "no score"
