"""A comparison as text, tables, CSV and a picture."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tcam_cache.cells import csv_line
from tcam_cache.evaluation.compare import (
    HEADLINE,
    LEVEL,
    MEASURES,
    Comparison,
    Estimate,
    Interval,
    Measure,
    SystemScores,
)
from tcam_cache.evaluation.report.tables import Cell, Table, to_text
from tcam_cache.evaluation.systems import Spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FIELDS = (
    "system", "runs", "measure", "group", "name", "value", "std", "low", "high", "difference",
    "difference_low", "difference_high", "outside_chance",
)  # fmt: skip
FEW_VIDEOS = 10
_LONGEST_LABEL = 30


def comparison_tables(comparison: Comparison) -> list[Table]:
    """Return every table of a comparison, in reading order."""
    tables = [_systems_table(comparison)]
    if comparison.videos > 1:
        tables.append(_intervals_table(comparison))
        if comparison.baseline is not None:
            tables.append(_differences_table(comparison))
    return [
        *tables,
        _groups_table("class", comparison, lambda system: system.per_class),
        _groups_table("video", comparison, lambda system: system.per_video),
    ]


def comparison_text(comparison: Comparison) -> str:
    """Return the systems, CorLoc with interval and difference, and CorLoc by class, as plain text."""
    systems, *_, classes, _ = comparison_tables(comparison)
    what = f"{comparison.split}: {comparison.frames} frames of {comparison.videos} video(s)"
    parts = [f"{what}, boxes by {comparison.boxes}", to_text(systems), _headline(comparison)]
    return "\n\n".join([*parts, to_text(classes)])


def comparison_csv(comparison: Comparison) -> str:
    """Return every number as CSV, one a line.

    "group" is "all", "class" or "video", "name" which class or video.
    """
    lines = [line for system in comparison.systems for line in _csv_cells(system)]
    return csv_line(FIELDS) + "".join(
        csv_line(["" if cell is None else _plain(cell) for cell in line]) for line in lines
    )


def draw_comparison(comparison: Comparison) -> bytes:
    """Return CorLoc of each system, and its difference from the baseline, with error bars, as a PNG."""
    from tcam_cache.figures import new_figure, png_bytes

    paired = comparison.baseline is not None and comparison.videos > 1
    systems = comparison.systems
    figure = new_figure(10 if paired else 7, 1.5 + 0.42 * len(systems))
    axes = figure.subplots(1, 1 + paired, sharey=True, squeeze=False)[0]
    _draw_values(axes[0], comparison)
    axes[0].set_yticks(range(len(systems)), [_label(one.name, len(one.reports)) for one in systems])
    axes[0].set_ylim(len(systems) - 0.4, -0.6)
    if paired:
        _draw_differences(axes[1], comparison)
    return png_bytes(figure)


def _systems_table(comparison: Comparison) -> Table:
    rows = [
        (
            system.name,
            len(system.reports),
            system.threshold,
            *(_value(system.measures.get(name), measure) for name, measure in MEASURES.items()),
            None if system.ms_per_frame is None else system.ms_per_frame.text(),
        )
        for system in comparison.systems
    ]
    titles = [measure.title for measure in MEASURES.values()]
    notes = ["CorLoc is the mean over classes, the others are means over frames."]
    if any(len(system.reports) > 1 for system in comparison.systems):
        notes.append("Mean ± standard deviation over runs that differ in the seed alone.")
    if len({system.threshold for system in comparison.systems}) > 1:
        notes.append("The threshold policies differ: an oracle is an upper bound.")
    if comparison.videos == 1:
        notes.append("One video: there is no interval.")
    return Table(
        "Systems", ("system", "runs", "threshold", *titles, "ms a frame"), tuple(rows), " ".join(notes)
    )


def _intervals_table(comparison: Comparison) -> Table:
    note = (
        f"{LEVEL} % intervals of the mean over runs: percentiles of {comparison.resamples} bootstrap "
        f"resamples of the {comparison.videos} videos."
    )
    return _measures_table(
        f"Intervals over {comparison.videos} videos",
        comparison.systems,
        lambda estimate, measure: _bracket(estimate.interval, measure.decimals),
        note + _few(comparison),
    )


def _differences_table(comparison: Comparison) -> Table:
    def cell(estimate: Estimate, measure: Measure) -> Cell:
        """Return the difference with its interval, starred where it is outside chance."""
        if estimate.difference is None:
            return None
        bracket = _bracket(estimate.difference_interval, measure.decimals, sign="+")
        star = " *" if estimate.outside_chance else ""
        return f"{estimate.difference:+.{measure.decimals}f} {bracket}{star}"

    return _measures_table(
        f"Differences from {comparison.baseline}",
        [system for system in comparison.systems if system.name != comparison.baseline],
        cell,
        f"Paired: both systems on the same resamples of the videos. * outside chance: the {LEVEL} % interval "
        "leaves 0 out." + _few(comparison),
    )


def _measures_table(
    title: str, systems: Sequence[SystemScores], cell: Callable[[Estimate, Measure], Cell], note: str
) -> Table:
    shown = {name: measure for name, measure in MEASURES.items() if any(name in s.measures for s in systems)}
    rows = [
        (
            system.name,
            *(
                cell(system.measures[name], measure) if name in system.measures else None
                for name, measure in shown.items()
            ),
        )
        for system in systems
    ]
    return Table(title, ("system", *(measure.title for measure in shown.values())), tuple(rows), note)


def _groups_table(
    what: str, comparison: Comparison, spreads: Callable[[SystemScores], Mapping[str, Spread]]
) -> Table:
    names = spreads(comparison.systems[0])
    rows = [(name, *(spreads(system)[name].text() for system in comparison.systems)) for name in names]
    header = (what, *(system.name for system in comparison.systems))
    return Table(f"CorLoc 0.5 by {what}", header, tuple(rows))


def _headline(comparison: Comparison) -> str:
    if comparison.videos == 1:
        return "One video: no interval, and no difference can be told from chance."
    measure = MEASURES[HEADLINE]
    rows = []
    for system in comparison.systems:
        estimate = system.measures[HEADLINE]
        row: list[Cell] = [system.name, estimate.value.text(), _bracket(estimate.interval, measure.decimals)]
        if estimate.difference is None:
            row += [None, None, "baseline"]
        else:
            bracket = _bracket(estimate.difference_interval, measure.decimals, sign="+")
            verdict = "outside chance" if estimate.outside_chance else "within chance"
            row += [f"{estimate.difference:+.1f}", bracket, verdict]
        rows.append(tuple(row if comparison.baseline else row[:3]))
    interval = f"{LEVEL} % interval"
    header = ("system", measure.title, interval)
    if comparison.baseline:
        header += (f"from {comparison.baseline}", interval, "")
    table = to_text(Table(f"{measure.title} over {comparison.videos} videos", header, tuple(rows)))
    return table + (f"\n {_few(comparison)}" if _few(comparison) else "")


def _few(comparison: Comparison) -> str:
    if comparison.videos >= FEW_VIDEOS:
        return ""
    return f" {comparison.videos} videos are few: the true intervals are wider."


def _value(estimate: Estimate | None, measure: Measure) -> str | None:
    return None if estimate is None else estimate.value.text(measure.decimals)


def _bracket(interval: Interval | None, decimals: int, sign: str = "") -> str | None:
    if interval is None:
        return None
    low, high = interval
    return f"[{low:{sign}.{decimals}f}, {high:{sign}.{decimals}f}]"


def _csv_cells(system: SystemScores) -> Iterator[list[str | float | None]]:
    runs = len(system.reports)
    for name, estimate in system.measures.items():
        spread, (low, high) = estimate.value, estimate.interval or (None, None)
        paired = [estimate.difference, *(estimate.difference_interval or (None, None))]
        outside = None if estimate.outside_chance is None else int(estimate.outside_chance)
        yield [system.name, runs, name, "all", "", spread.mean, spread.std, low, high, *paired, outside]
    if system.ms_per_frame is not None:
        time = system.ms_per_frame
        yield [system.name, runs, "ms_per_frame", "all", "", time.mean, time.std, *([None] * 6)]
    for group, spreads in (("class", system.per_class), ("video", system.per_video)):
        for name, spread in spreads.items():
            yield [system.name, runs, HEADLINE, group, name, spread.mean, spread.std, *([None] * 6)]


def _plain(cell: str | float) -> str | float:
    return f"{cell:.6f}" if isinstance(cell, float) else cell


def _label(name: str, runs: int = 1) -> str:
    name = name if len(name) <= _LONGEST_LABEL else f"{name[: _LONGEST_LABEL - 1]}…"
    return f"{name} ({runs} runs)" if runs > 1 else name


def _draw_values(axes: "Axes", comparison: Comparison) -> None:
    from tcam_cache.figures import COLOURS, title_axes

    interval = f" with {LEVEL} % interval over {comparison.videos} videos" if comparison.videos > 1 else ""
    title_axes(axes, f"CorLoc at IoU 0.5{interval}", grid="x")
    for row, system in enumerate(comparison.systems):
        estimate = system.measures[HEADLINE]
        _draw_bar(axes, row, estimate.value.mean, estimate.interval, COLOURS[0], "{:.1f}")


def _draw_differences(axes: "Axes", comparison: Comparison) -> None:
    from tcam_cache.figures import COLOURS, FAINT, INK, title_axes

    title_axes(axes, f"Difference from {_label(str(comparison.baseline))} (grey: within chance)", grid="x")
    axes.axvline(0, color=INK, linewidth=0.8, zorder=1)
    for row, system in enumerate(comparison.systems):
        estimate = system.measures[HEADLINE]
        if estimate.difference is not None:
            colour = COLOURS[1] if estimate.outside_chance else FAINT
            _draw_bar(axes, row, estimate.difference, estimate.difference_interval, colour, "{:+.1f}")
        else:
            axes.annotate("baseline", (0, row), (6, -3), textcoords="offset points", fontsize=8, color=FAINT)


def _draw_bar(
    axes: "Axes", row: int, value: float, interval: Interval | None, colour: str, shown: str
) -> None:
    reach = np.array([[0.0], [0.0]]) if interval is None else np.abs(np.array(interval)[:, None] - value)
    axes.errorbar([value], [row], xerr=reach, fmt="o", color=colour, markersize=5, capsize=3, linewidth=1.5)
    axes.annotate(
        shown.format(value), (value, row), (0, 6), textcoords="offset points", ha="center", fontsize=8
    )
