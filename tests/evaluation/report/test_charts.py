"""Tests of the chart of CorLoc against tau: what is marked, and that no number covers anything."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcam_cache.evaluation.report.charts import corloc_chart

TAUS = np.linspace(0, 1, 101)


def method(curve, reported="otsu"):
    threshold = {"policy": "val", "value": reported}
    return SimpleNamespace(
        taus=TAUS, curve=np.asarray(curve, float), metrics=SimpleNamespace(threshold=threshold)
    )


def flat(percent, **more):
    return method(np.full(101, float(percent)), **more)


def dots_of(chart):
    return [(float(x), float(y)) for x, y in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', chart)]


def numbers_of(chart):
    """Return x, baseline and text of each number beside a dot."""
    found = re.findall(
        r'<text x="([\d.]+)" y="([\d.]+)" text-anchor="middle" class="mark"[^>]*>([^<]+)', chart
    )
    return [(float(x), float(y), text) for x, y, text in found]


def test_half_and_the_reported_threshold_are_marked_with_their_corloc():
    chart = corloc_chart({"LayerCAM": method(100 * TAUS, reported=0.25)})
    assert [text for *_, text in numbers_of(chart)] == ["25.0", "50.0"]
    assert dots_of(chart) == [(284.0, 223.0), (516.0, 162.0)]
    assert "<title>25.0 at tau 0.250</title>" in chart


@pytest.mark.parametrize(
    ("percents", "shown"),
    [
        ((96, 40), [(0, -9), (0, -9)]),
        ((96, 90), [(0, -9), (0, 20)]),  # Above it lies the first's dot.
        ((96, 90, 93), [(0, -9), (0, 20), (24, 4.5)]),  # And below the third's the second's.
        ((96, 90, 93, 92), [(0, -9), (0, 20), (24, 4.5), (-24, 4.5)]),
        ((96, 90, 93, 92, 91), [(0, -9), (0, 20), (24, 4.5), (-24, 4.5)]),
    ],
)
def test_a_number_is_above_its_dot_below_or_beside_it_or_left_out(percents, shown):
    chart = corloc_chart({str(percent): flat(percent) for percent in percents})
    heights = dict(zip(percents, (y for _, y in dots_of(chart)), strict=True))
    found = [(x - 516, y - heights[round(float(text))]) for x, y, text in numbers_of(chart)]
    assert found == [pytest.approx(one, abs=0.11) for one in shown]


def test_at_the_right_border_a_number_stays_in_the_chart():
    curves = {str(percent): flat(percent, reported=1.0) for percent in (96, 90, 93)}
    assert all(x + 17 <= 1000 for x, *_ in numbers_of(corloc_chart(curves)))


@given(
    st.lists(
        st.tuples(st.integers(0, 1000), st.sampled_from(["otsu", 0.47, 0.49, 0.5, 0.9])),
        min_size=1,
        max_size=5,
    )
)
def test_no_number_covers_a_dot_or_another_number(curves):
    named = {str(index): flat(tenths / 10, reported=tau) for index, (tenths, tau) in enumerate(curves)}
    chart = corloc_chart(named)
    numbers = numbers_of(chart)
    for index, (x, y, text) in enumerate(numbers):
        assert float(text) in [tenths / 10 for tenths, _ in curves]
        for other_x, other_y, _ in numbers[:index]:
            assert abs(x - other_x) >= 33 or abs(y - other_y) >= 12.5
        # A letter stands on its baseline, ten pixels high, thirty wide together.
        assert not any(abs(x - i) < 15 and y - 10 < j < y for i, j in dots_of(chart))
