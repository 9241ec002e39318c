"""Tests of what all plots share."""

import io

import pytest
from PIL import Image

from tcam_cache.figures import COLOURS, add_legend, bare_axes, new_figure, png_bytes, title_axes


def test_a_figure_has_its_size_at_100_pixels_an_inch_and_the_same_bytes_every_time():
    first, second = (png_bytes(new_figure(3, 2)) for _ in range(2))
    assert first == second
    assert Image.open(io.BytesIO(first)).size == (300, 200)


@pytest.mark.parametrize(("grid", "shown"), [("y", "y"), ("x", "x")])
def test_lines_lie_across_the_values(grid, shown):
    axes = new_figure(3, 2).subplots()
    title_axes(axes, "CorLoc", grid)
    assert axes.get_title(loc="left") == "CorLoc"
    for name, axis in (("x", axes.xaxis), ("y", axes.yaxis)):
        assert any(line.get_visible() for line in axis.get_gridlines()) == (name == shown)


def test_of_the_frame_the_bottom_is_left():
    axes = new_figure(3, 2).subplots()
    bare_axes(axes)
    assert [name for name, spine in axes.spines.items() if spine.get_visible()] == ["bottom"]


def test_a_legend_names_what_is_drawn():
    axes = new_figure(3, 2).subplots()
    for number, colour in enumerate(COLOURS):
        axes.plot([0, 1], [number, number], color=colour, label=f"run {number}")
    add_legend(axes)
    shown = [text.get_text() for text in axes.get_legend().get_texts()]
    assert shown == [f"run {n}" for n in range(5)] and len(set(COLOURS)) == 5
