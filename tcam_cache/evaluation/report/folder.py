"""Write and read a report: metrics.json, frames.csv, table.md, index.html and its pictures."""

import csv
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from tcam_cache.cells import markdown_text
from tcam_cache.errors import EvaluationError
from tcam_cache.evaluation.metrics import Evaluation, Metrics, frame_values
from tcam_cache.evaluation.report.page import Picture, html_page
from tcam_cache.evaluation.report.pictures import Panel, draw_panel, save_image
from tcam_cache.evaluation.report.tables import report_tables, to_markdown
from tcam_cache.evaluation.rows import FrameRow, from_csv, to_csv
from tcam_cache.files import make_folder, storage_errors, write_json, write_text

METRICS_NAME, ROWS_NAME = "metrics.json", "frames.csv"
# Metrics are rounded to six decimals.
_TOLERANCE = 1e-5

T = TypeVar("T")


def write_report(
    folder: Path | str,
    evaluation: Evaluation,
    panels: Iterable[Panel] = (),
    beside: Mapping[str, Evaluation] | None = None,
    title: str | None = None,
    unshown: str = "",
) -> None:
    """Write a report into a folder; index.html is written last and marks it as complete.

    Args:
        folder: created if missing; files of an earlier report are replaced.
        evaluation: the evaluation to report.
        panels: frames to show, in order; may be an iterator, one is held in memory at a time.
        beside: other evaluations of the same frames, such as of the cached CAMs, by display name.
        title: of the page; default: method and split.
        unshown: a sentence on what the images do not show, and why.

    Raises:
        EvaluationError: an evaluation beside this one is of other frames, or has its name.
        StorageError: the file system refuses a write.
    """
    beside, metrics = dict(beside or {}), evaluation.metrics
    _require_same_frames(evaluation, beside)
    folder = make_folder(folder)
    title = title or f"{metrics.method} on {metrics.split}"
    index = folder / "index.html"
    with storage_errors(index):
        index.unlink(missing_ok=True)
    write_json(folder / METRICS_NAME, metrics.to_json())
    write_text(folder / ROWS_NAME, to_csv(evaluation.rows))
    write_text(
        folder / "table.md", f"# {markdown_text(title)}\n\n{to_markdown(report_tables(evaluation, beside))}"
    )
    pictures = _write_pictures(folder, panels)
    write_text(index, html_page(evaluation, pictures, beside, title, unshown))


def read_report(folder: Path | str) -> tuple[Metrics, tuple[FrameRow, ...]]:
    """Return the content of metrics.json and of frames.csv of a report.

    Raises:
        EvaluationError: the folder holds no report, a damaged one, or files of two reports.
    """
    folder = Path(folder)
    lacking = [name for name in (METRICS_NAME, ROWS_NAME) if not (folder / name).is_file()]
    if lacking:
        raise EvaluationError(
            f"{folder} is no report: it lacks {' and '.join(lacking)}. "
            f"Make one with `tcam-cache evaluate --out {folder}`."
        )
    metrics = _parsed(folder / METRICS_NAME, lambda text: Metrics.from_json(json.loads(text)))
    return metrics, _parsed(folder / ROWS_NAME, lambda text: _rows_of(metrics, text))


def _parsed(path: Path, parse: Callable[[str], T]) -> T:
    try:
        return parse(path.read_bytes().decode())
    except EvaluationError as error:
        raise EvaluationError(f"{path}: {error.message}", error.offenders) from error
    except OSError as error:
        raise EvaluationError(f"cannot read {path}: {error.strerror}. Make it readable.") from error
    except KeyError as error:
        reason = f"it lacks {error}"
    except (TypeError, AttributeError):
        reason = "a line is cut"
    except (ValueError, csv.Error) as error:
        reason = str(error)
    raise EvaluationError(f"{path} is damaged: {reason}. Run `tcam-cache evaluate` again.")


def _rows_of(metrics: Metrics, text: str) -> tuple[FrameRow, ...]:
    """Return the rows of frames.csv, which must give the numbers of metrics.json."""
    rows = from_csv(text)
    values = frame_values(rows, metrics.boxes)
    averages = {
        "corloc_0.5": metrics.corloc["mean_over_frames"] / 100,
        "max_box_acc_v2": metrics.max_box_acc_v2 / 100,
        "mean_iou": metrics.mean_iou,
    }
    alike = len(rows) == len({row.path for row in rows}) == metrics.frames > 0
    if not alike or any(abs(values[name].mean() - value) > _TOLERANCE for name, value in averages.items()):
        raise EvaluationError(
            "its rows do not give the numbers of metrics.json. Run `tcam-cache evaluate` again."
        )
    return rows


def _require_same_frames(evaluation: Evaluation, beside: Mapping[str, Evaluation]) -> None:
    paths = {row.path for row in evaluation.rows}
    wrong = [
        f"{name}: other frames" for name, other in beside.items() if {row.path for row in other.rows} != paths
    ]
    wrong += [
        f"{name}: the name of the report's own method" for name in beside if name == evaluation.metrics.method
    ]
    if wrong:
        raise EvaluationError(
            f"{len(wrong)} evaluation(s) cannot stand beside {evaluation.metrics.method}. "
            "Score the same frames, and give each its own name.",
            wrong,
        )


def _write_pictures(folder: Path, panels: Iterable[Panel]) -> list[Picture]:
    pictures = []
    for number, panel in enumerate(panels):
        file = f"overlays/{number:03d}.jpg"
        save_image(folder / file, draw_panel(panel))
        pictures.append(Picture(file, panel.path, panel.tag, panel.iou, panel.hit))
    stale = set((folder / "overlays").glob("[0-9][0-9][0-9].jpg")) - {folder / p.file for p in pictures}
    with storage_errors(folder / "overlays"):
        for file in stale:
            file.unlink()
    return pictures
