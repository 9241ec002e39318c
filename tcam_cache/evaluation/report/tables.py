"""The tables of a report as plain rows and as Markdown; the HTML page shows the same tables."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tcam_cache.cells import latex_text, markdown_line, markdown_text
from tcam_cache.evaluation.metrics import Evaluation, Metrics
from tcam_cache.evaluation.published import TITLES, is_youtube_objects, published
from tcam_cache.evaluation.rows import FrameRow

Cell = str | int | float | None
BESIDE_OURS = ("LayerCAM", "TCAM", "CoLo-CAM")
POLICY_MEANINGS = {
    "val": "tau chosen on validation frames, then carried here",
    "otsu": "each frame's own threshold (Otsu); nothing is chosen",
    "oracle": "tau chosen on these very frames: an upper bound, and what the WSOL protocol reports",
    "oracle-per-class": "the same for each class: a higher bound still",
}


@dataclass(frozen=True)
class Table:
    """A titled table.

    Attributes:
        title: a few words.
        header: one text a column.
        rows: cells; floats are shown with one decimal, None as a dash.
        note: one or two sentences below the title.
        bars: columns in 0..100 that the page draws as bars.
        last_is_mean: the last row sums up the others.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    bars: frozenset[int] = frozenset()
    last_is_mean: bool = False


def text_of(cell: Cell) -> str:
    """Return a cell as text.

    >>> [text_of(cell) for cell in ("bird", 12, 58.04, None)]
    ['bird', '12', '58.0', '–']
    """
    if cell is None:
        return "–"
    return f"{cell:.1f}" if isinstance(cell, float) else str(cell)


def is_number(cell: Cell) -> bool:
    """Return whether a cell stands in a column of numbers.

    >>> [is_number(cell) for cell in ("0.514", 3, None, "bird")]
    [True, True, True, False]
    """
    return not isinstance(cell, str) or cell.replace(".", "", 1).isdigit()


def to_markdown(tables: Sequence[Table]) -> str:
    """Return the tables as Markdown."""
    return "\n".join(_markdown(table) for table in tables)


def to_text(table: Table) -> str:
    """Return a table as aligned plain text, the first column to the left, the others to the right.

    >>> to_text(Table("Systems", ("system", "CorLoc"), (("tcam", 67.25), ("cam", None))))
    'Systems\\n  system  CorLoc\\n  tcam      67.2\\n  cam          –'
    """
    lines = [table.header, *(tuple(map(text_of, row)) for row in table.rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    shown = [
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip()
        for line in lines
    ]
    return "\n".join([table.title, *(f"  {line}" for line in shown)])


def to_latex(tables: Sequence[Table]) -> str:
    """Return the tables as LaTeX in the style of the package booktabs, notes in the captions."""
    return "% \\usepackage{booktabs}\n" + "\n".join(map(_latex, tables))


def report_tables(evaluation: Evaluation, beside: Mapping[str, Evaluation]) -> list[Table]:
    """Return every table of a report, in reading order.

    Args:
        evaluation: the evaluation to report.
        beside: other evaluations of the same frames, by display name.
    """
    metrics = evaluation.metrics
    tables = [policies_table(metrics)]
    if beside:
        named = {metrics.method: metrics, **{name: other.metrics for name, other in beside.items()}}
        tables.append(comparison_table(named))
    tables += [classes_table(evaluation, beside), videos_table(evaluation, beside), published_table(metrics)]
    return tables


def policies_table(metrics: Metrics) -> Table:
    """Return CorLoc and mean IoU of one method under every threshold policy."""
    rows = [
        (
            f"{name} (reported)" if name == metrics.threshold["policy"] else name,
            tau_text(policy["value"]),
            policy["corloc"],
            f"{policy['mean_iou']:.3f}",
            POLICY_MEANINGS.get(name, "the same tau for every frame; nothing is chosen"),
        )
        for name, policy in metrics.policies.items()
    ]
    return Table(
        "Threshold policies",
        ("policy", "tau", "CorLoc", "mean IoU", "what it is"),
        tuple(rows),
        "CorLoc is the mean over classes at IoU 0.5.",
        bars=frozenset({2}),
    )


def comparison_table(named: Mapping[str, Metrics]) -> Table:
    """Return CorLoc of several methods on the same frames, under each policy that they share."""
    first, *others = named.values()
    shared = [name for name in first.policies if all(name in other.policies for other in others)]
    rows = [
        (
            name,
            *(metrics.policies[policy]["corloc"] for policy in shared),
            *(f"{metrics.policies[policy]['mean_iou']:.3f}" for policy in shared[:1]),
            metrics.max_box_acc_v2,
            metrics.cl_accuracy,
            metrics.ms_per_frame,
        )
        for name, metrics in named.items()
    ]
    header = ("method", *(f"CorLoc, {policy}" for policy in shared))
    return Table(
        "Methods side by side",
        (*header, f"mean IoU, {shared[0]}", "MaxBoxAccV2", "CL", "ms a frame"),
        tuple(rows),
        "The same frames, CorLoc as the mean over classes at IoU 0.5 under each threshold policy.",
    )


def classes_table(evaluation: Evaluation, beside: Mapping[str, Evaluation]) -> Table:
    """Return CorLoc by class, with published rows if the classes are those of YouTube-Objects."""
    metrics = evaluation.metrics
    columns = {"CorLoc": metrics.corloc["per_class"]}
    columns |= {f"CorLoc, {name}": other.metrics.corloc["per_class"] for name, other in beside.items()}
    columns |= _published_columns(metrics)
    counts, ious = _by(evaluation.rows, "tag")
    rows = [(tag, counts[tag], f"{ious[tag]:.3f}", *(c.get(tag) for c in columns.values())) for tag in counts]
    rows += [(tag, 0, None, *(None for _ in columns)) for tag in metrics.classes_without_frames]
    # A published average is shown as published, not recomputed over the classes of this data set.
    means = [
        column.get("", float(np.mean([column[tag] for tag in counts if tag in column] or [np.nan])))
        for column in columns.values()
    ]
    rows.append(("mean over classes", metrics.frames, f"{metrics.mean_iou_over_classes:.3f}", *means))
    absent = ", ".join(metrics.classes_without_frames)
    note = f"No annotated frame of: {absent}. They are in no mean." if absent else ""
    bars = frozenset(range(3, 4 + len(beside)))
    return Table(
        "By class", ("class", "frames", "mean IoU", *columns), tuple(rows), note, bars, last_is_mean=True
    )


def videos_table(evaluation: Evaluation, beside: Mapping[str, Evaluation]) -> Table:
    """Return CorLoc by video."""
    columns = {"CorLoc": evaluation.metrics.corloc["per_video"]}
    columns |= {f"CorLoc, {name}": other.metrics.corloc["per_video"] for name, other in beside.items()}
    counts, ious = _by(evaluation.rows, "video")
    rows = [
        (video, counts[video], f"{ious[video]:.3f}", *(c[video] for c in columns.values()))
        for video in counts
    ]
    bars = frozenset(range(3, 4 + len(beside)))
    return Table("By video", ("video", "frames", "mean IoU", *columns), tuple(rows), bars=bars)


def published_table(metrics: Metrics) -> Table:
    """Return the published averages on YouTube-Objects; for other data sets those of CAM methods only."""
    same_classes = _is_youtube_objects(metrics)
    tables = [
        {row.method: row for row in published(dataset) if same_classes or row.cl or row.method in BESIDE_OURS}
        for dataset in TITLES
    ]
    rows = [
        (
            method,
            next(table[method].reference for table in tables if method in table),
            *(table[method].average if method in table else None for table in tables),
            *(table[method].cl if method in table else None for table in tables),
        )
        for method in dict.fromkeys(itertools.chain(*tables))
    ]
    header = (
        *(f"CorLoc, {title}" for title in TITLES.values()),
        *(f"CL, {title}" for title in TITLES.values()),
    )
    return Table("Published", ("method", "reference", *header), tuple(rows), published_note(same_classes))


def published_note(same_classes: bool) -> str:
    """Return what published numbers say about a data set, which has the classes of YouTube-Objects or not."""
    if same_classes:
        return (
            "Published on the classes of this data set; whether the frames are the same, the manifest says."
        )
    return "Another data set: YouTube-Objects. Context only, not comparable with the numbers made here."


def tau_text(value: float | Mapping[str, float] | None) -> str:
    """Return a policy's value as text.

    >>> tau_text({"bird": 0.25, "cat": 0.5}), tau_text(0.5), tau_text(None)
    ('0.250 to 0.500', '0.500', 'by frame')
    """
    if value is None:
        return "by frame"
    if isinstance(value, Mapping):
        return f"{min(value.values()):.3f} to {max(value.values()):.3f}"
    return f"{value:.3f}"


def _is_youtube_objects(metrics: Metrics) -> bool:
    return is_youtube_objects([*metrics.corloc["per_class"], *metrics.classes_without_frames])


def _published_columns(metrics: Metrics) -> dict[str, Mapping[str, float]]:
    if not _is_youtube_objects(metrics):
        return {}
    return {
        f"{row.method}, {TITLES[dataset]}": {**row.corloc, "": row.average}
        for dataset in TITLES
        for row in published(dataset)
        if row.method in BESIDE_OURS
    }


def _by(rows: Sequence[FrameRow], attribute: str) -> tuple[dict[str, int], dict[str, float]]:
    """Return the number of frames and their mean IoU by tag or video, in alphabetical order."""
    groups: dict[str, list[float]] = {}
    for row in sorted(rows, key=lambda row: getattr(row, attribute)):
        groups.setdefault(getattr(row, attribute), []).append(row.iou)
    return (
        {name: len(ious) for name, ious in groups.items()},
        {name: float(np.mean(ious)) for name, ious in groups.items()},
    )


def _latex(table: Table) -> str:
    rows = [[latex_text(text_of(cell)) for cell in row] for row in table.rows]
    # At the start of a row a bracket or star would be an option of the line break before it.
    lines = [" & ".join(cells) for cells in ([*map(latex_text, table.header)], *rows)]
    head, *body = [f"{'{}' if line.startswith(('[', '*')) else ''}{line} \\\\" for line in lines]
    if table.last_is_mean:
        body.insert(-1, "\\midrule")
    caption = latex_text(f"{table.title}. {table.note}".strip())
    return "\n".join(
        [
            "\\begin{table}",
            "\\centering",
            f"\\caption{{{caption}}}",
            f"\\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}",
            "\\toprule",
            head,
            "\\midrule",
            *body,
            "\\bottomrule",
            "\\end{tabular}",
            "\\end{table}",
            "",
        ]
    )


def _markdown(table: Table) -> str:
    columns = range(1, len(table.header))
    text = (any(isinstance(row[i], str) and not is_number(row[i]) for row in table.rows) for i in columns)
    marks = ["---", *("---" if left else "---:" for left in text)]
    head = [markdown_text(name) for name in table.header]
    rows = [[markdown_text(text_of(cell)) for cell in row] for row in table.rows]
    if table.last_is_mean:
        rows[-1] = [f"**{cell}**" for cell in rows[-1]]
    note = [markdown_text(table.note), ""] if table.note else []
    return "\n".join([f"## {table.title}", "", *note, *map(markdown_line, [head, marks, *rows]), ""])
