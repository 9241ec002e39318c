"""CorLoc against tau as inline SVG, without a plotting library."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from tcam_cache.evaluation.metrics import Evaluation
from tcam_cache.evaluation.report.tables import tau_text

COLOURS = ("#0b6e99", "#e8590c", "#6741d9", "#2b8a3e", "#868e96")
WIDTH, HEIGHT = 1000, 330
LETTER = 6.5
RADIUS = 4.5
LEFT, RIGHT, TOP, BOTTOM = 52, 20, 40, 46


class Area(NamedTuple):
    """The centre of a dot or of a number, and half its width and height, in units of the chart."""

    x: float
    y: float
    width: float
    height: float

    def is_apart(self, other: "Area") -> bool:
        """Return whether it covers nothing of another."""
        aside = abs(self.x - other.x) >= self.width + other.width
        return aside or abs(self.y - other.y) >= self.height + other.height


def corloc_chart(named: Mapping[str, Evaluation]) -> str:
    """Return an SVG of CorLoc over tau for each method; a dot marks tau 0.5 and the one that is reported."""
    series, legend_x = [], float(LEFT)
    marked = [point for one in named.values() for point in _marked(one)]
    # What no number may cover: every dot, and the numbers before it.
    taken = [Area(_x(tau), _y(percent), RADIUS, RADIUS) for tau, percent in marked]
    for index, (name, evaluation) in enumerate(named.items()):
        series.append(_series(name, evaluation, COLOURS[index % len(COLOURS)], legend_x, taken))
        legend_x += 60 + LETTER * len(name)
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="CorLoc against the threshold tau">{_axes()}{"".join(series)}</svg>'
    )


def _x(tau: float) -> float:
    return LEFT + tau * (WIDTH - LEFT - RIGHT)


def _y(percent: float) -> float:
    return TOP + (1 - percent / 100) * (HEIGHT - TOP - BOTTOM)


def _text(x: float, y: float, text: str, anchor: str = "middle", more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(text)}</text>'


def _axes() -> str:
    parts = []
    for percent in range(0, 101, 20):
        y = _y(percent)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(LEFT - 8, y + 4, str(percent), "end"))
    parts += [_text(_x(tenth / 10), HEIGHT - BOTTOM + 18, f"{tenth / 10:.1f}") for tenth in range(11)]
    parts.append(_text(_x(0.5), HEIGHT - 6, "tau, as a share of the map's maximum"))
    turned = f' transform="rotate(-90 14 {_y(50):.1f})"'
    parts.append(_text(14, _y(50), "CorLoc, %", more=turned))
    return "".join(parts)


def _series(name: str, evaluation: Evaluation, colour: str, legend_x: float, taken: list[Area]) -> str:
    points = " ".join(f"{_x(tau):.1f},{_y(percent):.1f}" for tau, percent in _steps(evaluation))
    marks = "".join(_mark(tau, percent, colour, taken) for tau, percent in _marked(evaluation))
    stroke = f'stroke="{colour}" stroke-width="3"'
    legend = f'<line x1="{legend_x}" x2="{legend_x + 22}" y1="14" y2="14" {stroke}/>'
    legend += _text(legend_x + 29, 18, name, "start", ' class="name"')
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>{marks}{legend}'


def _steps(evaluation: Evaluation) -> Sequence[tuple[float, float]]:
    """Return only the points at which the curve changes, to keep the SVG small."""
    curve = evaluation.curve
    turns = np.ones(len(curve), bool)
    turns[1:-1] = (curve[1:-1] != curve[:-2]) | (curve[1:-1] != curve[2:])
    return [(float(evaluation.taus[i]), float(curve[i])) for i in np.flatnonzero(turns)]


def _marked(evaluation: Evaluation) -> list[tuple[float, float]]:
    """Return tau and CorLoc of the points with a dot: at 0.5 and at the reported threshold."""
    values = [0.5, evaluation.metrics.threshold["value"]]
    taus = sorted({value for value in values if isinstance(value, float)})
    return [(tau, float(evaluation.curve[np.abs(evaluation.taus - tau).argmin()])) for tau in taus]


def _mark(tau: float, percent: float, colour: str, taken: list[Area]) -> str:
    x, y, number = _x(tau), _y(percent), f"{percent:.1f}"
    title = f"<title>{number} at tau {tau_text(tau)}</title>"
    dot = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{RADIUS}" fill="{colour}">{title}</circle>'
    # A number stands above its dot, below or beside it; where all is taken, pointing at the dot shows it.
    for right, down in ((0, -13.5), (0, 15.5), (24, 0), (-24, 0)):
        area = Area(x + right, y + down, 17, 6.5)
        if area.x + area.width <= WIDTH and all(map(area.is_apart, taken)):
            taken.append(area)
            return dot + _text(area.x, area.y + 4.5, number, more=f' class="mark" style="fill:{colour}"')
    return dot
