"""What all plots share: colours, plain axes, and a picture as bytes that are the same every time."""

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Blue, vermilion, green, purple, sky blue: safe for colour-blind readers (Okabe and Ito).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9")
INK, FAINT = "#222222", "#8A8A8A"
_GRID = "#E6E6E6"


def new_figure(width: float, height: float) -> "Figure":
    """Return an empty figure of a size in inches; matplotlib is slow to import and loads with the first."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def png_bytes(figure: "Figure") -> bytes:
    """Return a figure as a PNG of 100 pixels an inch.

    >>> png_bytes(new_figure(1, 1))[1:4]
    b'PNG'
    """
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=100, metadata={"Software": None})
    return picture.getvalue()


def title_axes(axes: "Axes", text: str, grid: str = "y") -> None:
    """Give axes a title, and faint lines across the values.

    Args:
        axes: of the plot.
        text: the title.
        grid: "y" where values run upwards, "x" where they run to the right.
    """
    axes.set_title(text, loc="left", fontsize=10, color=INK)
    axes.grid(axis="x" if grid == "x" else "y", color=_GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    bare_axes(axes)


def bare_axes(axes: "Axes") -> None:
    """Leave of the frame of axes the bottom alone, and no tick marks."""
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)
    axes.tick_params(colors=INK, labelsize=8, length=0)


def add_legend(axes: "Axes") -> None:
    """Add a legend without a frame where it covers least."""
    axes.legend(frameon=False, fontsize=8, loc="best", ncols=2)
