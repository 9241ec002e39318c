"""The HTML of index.html."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from tcam_cache.evaluation.metrics import Evaluation, Metrics
from tcam_cache.evaluation.report.charts import corloc_chart
from tcam_cache.evaluation.report.tables import Cell, Table, report_tables, tau_text, text_of

STYLE = """
:root { --ink: #1c2026; --soft: #667085; --line: #e4e7ec; --paper: #fff; --ground: #f6f7f9; --main: #0b6e99;
  --true: #2ecc40; --predicted: #ff5214; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1280px; margin: 0 auto; padding: 32px 24px 64px; }
header p { color: var(--soft); max-width: 80ch; margin: 0; }
header b { color: var(--ink); }
h1 { font-size: 28px; line-height: 1.2; margin: 0 0 6px; }
h2 { font-size: 19px; margin: 0 0 6px; }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 10px; padding: 20px 22px;
  margin-top: 18px; }
.note { color: var(--soft); margin: 0 0 12px; max-width: 100ch; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(250px, 1fr)); gap: 12px;
  margin-bottom: 12px; }
.card { border: 1px solid var(--line); border-radius: 8px; padding: 12px 14px; }
.card b { display: block; font-size: 27px; line-height: 1.15; font-variant-numeric: tabular-nums; }
.card span { display: block; font-weight: 600; font-size: 14px; }
.card small { color: var(--soft); }
.card:first-child { background: var(--main); border-color: var(--main); color: #fff; }
.card:first-child small { color: #d6eaf3; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 14px; }
th { text-align: left; color: var(--soft); font-weight: 600; vertical-align: bottom; }
th, td { padding: 6px 12px 6px 0; border-bottom: 1px solid var(--line); }
td:first-child { font-weight: 600; white-space: nowrap; }
.n { text-align: right; white-space: nowrap; }
th.n { white-space: normal; }
tr.mean td { font-weight: 700; border-top: 2px solid var(--ink); border-bottom: 0; }
.bar { min-width: 190px; white-space: nowrap; }
.bar i { display: inline-block; width: calc(100% - 52px); max-width: 260px; height: 9px; border-radius: 5px;
  background: #eaeef2; overflow: hidden; margin-right: 8px; }
.bar u { display: block; height: 100%; background: var(--main); }
.chart { width: 100%; height: auto; display: block; font-size: 11px; }
.chart text { fill: var(--soft); }
.chart .name, .chart .mark { fill: var(--ink); font-weight: 600; }
.chart .mark { paint-order: stroke; stroke: #fff; stroke-width: 4px; }
.chart .grid { stroke: var(--line); }
.figures { display: grid; gap: 18px; }
figure { margin: 0; border-left: 5px solid var(--predicted); padding-left: 12px; }
figure.hit { border-left-color: var(--true); }
figcaption { display: flex; flex-wrap: wrap; gap: 12px; align-items: baseline; margin-bottom: 4px; }
figcaption b { text-transform: uppercase; font-size: 12px; letter-spacing: .06em; }
figcaption em { font-style: normal; font-weight: 600; }
figcaption code { color: var(--soft); font-size: 12px; }
figure img { max-width: 100%; height: auto; display: block; }
.key { display: inline-block; width: 13px; height: 13px; border: 3px solid; vertical-align: -2px;
  margin-left: 6px; }
.key.true { border-color: var(--true); }
.key.predicted { border-color: var(--predicted); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 18px; margin: 0; }
dt { font-weight: 600; }
dd { margin: 0; color: var(--soft); }
pre { margin: 0; overflow-x: auto; font-size: 12px; line-height: 1.45; color: var(--soft); }
@media (max-width: 700px) { main { padding: 18px 12px; } dl { grid-template-columns: 1fr; } }
"""

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
        (metrics.ms_per_frame, "ms a frame", "map and boxes"),
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
    numeric = [all(_is_number(row[column]) for row in table.rows) for column in range(len(table.header))]
    head = "".join(
        f"<th{_class('n' if numeric[i] and i not in table.bars else '')}>{escape(name)}</th>"
        for i, name in enumerate(table.header)
    )
    body = ""
    for index, row in enumerate(table.rows):
        mean = table.last_is_mean and index == len(table.rows) - 1
        cells = "".join(_cell(cell, i in table.bars, numeric[i]) for i, cell in enumerate(row))
        body += f"<tr{_class('mean' if mean else '')}>{cells}</tr>"
    note = f"<p class=note>{escape(table.note)}</p>" if table.note else ""
    return (
        f"<section><h2>{escape(table.title)}</h2>{note}<div class=scroll><table>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div></section>"
    )


def _cell(cell: Cell, bar: bool, numeric: bool) -> str:
    text = escape(text_of(cell))
    if bar and isinstance(cell, float):
        return f"<td class=bar><i><u style='width:{cell:.1f}%'></u></i><span>{text}</span></td>"
    return f"<td{_class('n' if numeric else '')}>{text}</td>"


def _is_number(cell: Cell) -> bool:
    return cell is None or not isinstance(cell, str) or cell.replace(".", "", 1).isdigit()


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
