"""The HTML of index.html."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from tcam_cache.evaluation.metrics import Evaluation, Metrics
from tcam_cache.evaluation.report.charts import COLOURS, corloc_chart
from tcam_cache.evaluation.report.style import STYLE
from tcam_cache.evaluation.report.tables import Cell, Table, is_number, report_tables, tau_text, text_of

MODES = {
    "components": "largest connected region above the threshold, IoU over 0.5",
    "wsol": "WSOL protocol: largest contour, boxes in the map's pixels, IoU of 0.5 or more",
}


@dataclass(frozen=True)
class Picture:
    """One picture of the report.

    Attributes:
        file: path relative to the page.
        path: of the frame.
        tag: of the video.
        iou: of the predicted box.
        hit: whether the box counts as correct (CorLoc).
    """

    file: str
    path: str
    tag: str
    iou: float
    hit: bool


def html_page(
    evaluation: Evaluation,
    pictures: Sequence[Picture],
    beside: Mapping[str, Evaluation],
    title: str,
    unshown: str = "",
) -> str:
    """Return the whole page; every text that comes from data is escaped."""
    metrics = evaluation.metrics
    policies, *others, published = report_tables(evaluation, beside)
    sections = [
        _headline(metrics),
        _table(policies),
        _chart({metrics.method: evaluation, **beside}),
        *(_table(table) for table in others),
        _pictures(pictures, unshown),
        _table(published),
        _reading(),
        _provenance(metrics),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body><main>"
        f"<header><h1>{escape(title)}</h1><p>{_summary(metrics)}</p></header>\n"
        + "\n".join(section for section in sections if section)
        + "\n</main></body></html>\n"
    )


def _summary(metrics: Metrics) -> str:
    classes, videos = len(metrics.corloc["per_class"]), len(metrics.corloc["per_video"])
    return (
        f"Maps of <b>{escape(metrics.method)}</b> scored on <b>{metrics.frames}</b> annotated frames "
        f"({metrics.true_boxes} true boxes, {videos} videos, {classes} classes) of the "
        f"<b>{escape(metrics.split)}</b> split. Box: {escape(MODES[metrics.boxes])}."
    )


def _headline(metrics: Metrics) -> str:
    policy, value = metrics.threshold["policy"], metrics.threshold["value"]
    shown = policy if policy == f"{value}" else f"{policy}, tau {tau_text(value)}"
    cards = [
        (metrics.corloc["mean_over_classes"], "CorLoc, mean over classes", f"threshold: {shown}"),
        (metrics.corloc["mean_over_frames"], "CorLoc, mean over frames", "same threshold"),
        (f"{metrics.mean_iou:.3f}", "mean IoU", "over frames; no box counts 0"),
        (metrics.max_box_acc_v2, "MaxBoxAccV2", "any region, IoU 0.3, 0.5, 0.7, best tau each"),
        (metrics.cl_accuracy, "CL, top-1 accuracy", "of the classifier, per frame"),
        (metrics.top1_localization, "top-1 localization", "right class and box found"),
        (metrics.flat_maps, "flat maps, %", f"{text_of(metrics.no_box)} % without a box"),
        (metrics.ms_per_frame, "ms a frame", "its map, reading included"),
    ]
    drawn = "".join(
        f"<div class=card><b>{text_of(number)}</b><span>{escape(name)}</span>"
        f"<small>{escape(hint)}</small></div>"
        for number, name, hint in cards
        if number is not None
    )
    return f"<section><div class=cards>{drawn}</div><p class=note>{_further(metrics)}</p></section>"


def _further(metrics: Metrics) -> str:
    levels = ", ".join(f"{share:.1f} at IoU {level}" for level, share in metrics.corloc_at.items())
    further = f"CorLoc, mean over classes: {levels}."
    if metrics.stability is not None:
        further += f" Boxes of consecutive frames overlap with a mean IoU of {metrics.stability:.3f}."
    return further


def _table(table: Table) -> str:
    numeric = [all(is_number(row[column]) for row in table.rows) for column in range(len(table.header))]
    head = "".join(
        f"<th{_class('n' if numeric[i] and i not in table.bars else '')}>{escape(name)}</th>"
        for i, name in enumerate(table.header)
    )
    body = ""
    # As in the chart: each method has its own.
    colours = {column: COLOURS[i % len(COLOURS)] for i, column in enumerate(sorted(table.bars))}
    for index, row in enumerate(table.rows):
        mean = table.last_is_mean and index == len(table.rows) - 1
        cells = "".join(_cell(cell, colours.get(i), numeric[i]) for i, cell in enumerate(row))
        body += f"<tr{_class('mean' if mean else '')}>{cells}</tr>"
    note = f"<p class=note>{escape(table.note)}</p>" if table.note else ""
    return (
        f"<section><h2>{escape(table.title)}</h2>{note}<div class=scroll><table>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div></section>"
    )


def _cell(cell: Cell, colour: str | None, numeric: bool) -> str:
    text = escape(text_of(cell))
    if colour and isinstance(cell, float):
        style = f"width:{cell:.1f}%;background:{colour}"
        return f"<td class=bar><i><u style='{style}'></u></i><span>{text}</span></td>"
    return f"<td{_class('n' if numeric else '')}>{text}</td>"


def _class(name: str) -> str:
    return f" class={name}" if name else ""


def _chart(named: Mapping[str, Evaluation]) -> str:
    return (
        "<section><h2>CorLoc against the threshold</h2><p class=note>A map is cut at tau times its maximum. "
        "A broad plateau means that the choice of tau matters little. Dots: tau 0.5 and the reported one.</p>"
        f"{corloc_chart(named)}</section>"
    )


def _pictures(pictures: Sequence[Picture], unshown: str) -> str:
    if not pictures:
        return ""
    shown = "".join(map(_figure, pictures))
    hits = sum(picture.hit for picture in pictures)
    lacking = f"<p class=note>{escape(unshown)}</p>" if unshown else ""
    return (
        f"<section><h2>Pictures</h2><p class=note>{hits} hits and {len(pictures) - hits} misses. "
        "<span class='key true'></span> true box <span class='key predicted'></span> predicted box. "
        "The predicted box is drawn on the frame and on the map it was taken from. "
        "Maps: blue is weak, red is strong.</p>"
        f"{lacking}<div class=figures>{shown}</div></section>"
    )


def _figure(picture: Picture) -> str:
    outcome, path = "hit" if picture.hit else "miss", escape(picture.path)
    return (
        f"<figure class={outcome}><figcaption><b>{outcome}</b><span>IoU {picture.iou:.2f}</span>"
        f"<em>{escape(picture.tag)}</em><code>{path}</code></figcaption>"
        f'<img loading=lazy src="{escape(picture.file)}" alt="{path}"></figure>'
    )


def _reading() -> str:
    terms = {
        "CorLoc": "share of annotated frames whose box overlaps a true box of the frame with IoU over 0.5 "
        "(WSOL protocol: 0.5 or more); the mean over classes is what the literature prints as Avg",
        "IoU": "area common to two boxes over the area they cover together",
        "CL": "share of annotated frames whose first predicted class is the video's tag",
        "cached CAM": "the frozen classifier's map of the video's tag, as it lies in the cache",
        "CAM-TMP": "maximum of the cached CAMs of a frame and its neighbours in the shot (TCAM, Eq. 1)",
        "decoder map": "the trained decoder's foreground, from this frame alone",
        "flat map": "a constant map, which says nothing of where the object is",
    }
    items = "".join(f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in terms.items())
    files = (
        "<p class=note>All but the published numbers are in metrics.json "
        "and can be recomputed from frames.csv.</p>"
    )
    return f"<section><h2>How to read this</h2>{files}<dl>{items}</dl></section>"


def _provenance(metrics: Metrics) -> str:
    text = json.dumps(metrics.provenance, indent=2, default=str)
    return f"<section><h2>Provenance</h2><pre>{escape(text)}</pre></section>"
