"""Plots of a fit or a search: curves.png, search.png, TensorBoard."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tcam_cache.extras import optional
from tcam_cache.figures import (
    COLOURS,
    FAINT,
    INK,
    add_legend,
    bare_axes,
    new_figure,
    png_bytes,
    title_axes,
)
from tcam_cache.training.run_folder import VAL_LOSS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BOARD_NAME = "tensorboard"
EXTRA = "tensorboard"


def require_board(wanted: bool) -> None:
    """Make sure that TensorBoard is installed if it is requested.

    Raises:
        ExtraError: it is not installed.
    """
    if wanted:
        optional("tensorboard", EXTRA)


@contextmanager
def open_board(run: Path, wanted: bool, epochs: int) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Open a run's TensorBoard writer if requested; events after the finished epochs are purged.

    Args:
        run: the run folder; events go into its folder `tensorboard`.
        wanted: whether to write; if not, lines are discarded.
        epochs: number of epochs finished so far.

    Yields:
        A function that writes a line of the log.

    Raises:
        ExtraError: TensorBoard is not installed.
    """
    if not wanted:
        yield lambda line: None
        return
    module = optional("torch.utils.tensorboard", EXTRA)
    with module.SummaryWriter(str(run / BOARD_NAME), purge_step=epochs + 1) as writer:

        def write(line: Mapping[str, Any]) -> None:
            """Write one line of the log."""
            for name, value in scalars(line).items():
                writer.add_scalar(name, value, line["epoch"])
            writer.flush()

        yield write


def scalars(line: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a line of the log by name, nested ones below their group.

    >>> scalars({"epoch": 1, "lr": 0.1, "losses": {"crf": -0.2}})
    {'lr': 0.1, 'losses/crf': -0.2}
    """
    flat: dict[str, float] = {
        name: value for name, value in line.items() if isinstance(value, int | float) and name != "epoch"
    }
    return flat | {f"losses/{name}": value for name, value in line["losses"].items()}


_SCORES = {"corloc": "CorLoc", "cl_accuracy": "CL"}
_TERMS = {
    "cross_entropy": "cross-entropy",
    "crf": "CRF",
    "colour_crf": "colour CRF",
    "one_vs_rest": "one against the rest",
}
Log = Sequence[Mapping[str, Any]]


def draw_curves(log: Log) -> bytes:
    """Return the curves of a fit as a PNG, one point per epoch.

    Args:
        log: the lines of `log.jsonl`, at least one.
    """
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(10, 6.4)
    losses, scores, schedule, seconds = figure.subplots(2, 2, sharex=True).flat
    _draw_losses(losses, log)
    _draw_scores(scores, log)
    _draw_schedule(schedule, log)
    _draw_seconds(seconds, log)
    for axes in (schedule, seconds):
        axes.set_xlabel("epoch", color=INK)
        axes.set_xlim(log[0]["epoch"] - 0.6, log[-1]["epoch"] + 0.6)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return png_bytes(figure)


def draw_search(points: Sequence[tuple[Mapping[str, Any], float, float | None]], label: str) -> bytes:
    """Return the scores of a search as a PNG: its longest axis is x, every other combination is a line.

    Args:
        points: (settings, score, standard deviation over seeds or None) of every point that has a score.
        label: name of the score.
    """
    settings_of = [settings or {"point": ""} for settings, *_ in points]
    values = {name: list(dict.fromkeys(one[name] for one in settings_of)) for name in settings_of[0]}
    along = max(values, key=lambda name: len(values[name]))
    lines: dict[str, list[tuple[int, float, float]]] = {}
    for settings, (_, score, spread) in zip(settings_of, points, strict=True):
        rest = ", ".join(f"{name} {value}" for name, value in settings.items() if name != along)
        lines.setdefault(rest, []).append((values[along].index(settings[along]), score, spread or 0.0))
    figure = new_figure(7, 4.2)
    axes = figure.subplots()
    over_seeds = any(spread is not None for *_, spread in points)
    title_axes(axes, f"{label}, mean and standard deviation over seeds" if over_seeds else label)
    for number, (rest, line) in enumerate(lines.items()):
        x, y, reach = zip(*sorted(line), strict=True)
        style = {"color": COLOURS[number % len(COLOURS)], "marker": "o", "markersize": 4, "capsize": 3}
        axes.errorbar(x, y, yerr=reach if over_seeds else None, label=rest or None, **style)
    axes.set_xticks(range(len(values[along])), [str(value) for value in values[along]])
    axes.set_xlabel(along.replace("_", " "), color=INK)
    if len(values) > 1:
        add_legend(axes)
    return png_bytes(figure)


def _draw_losses(axes: "Axes", log: Log) -> None:
    """Draw the loss and its terms."""
    title_axes(axes, "Loss on the training split")
    names: list[str] = list(log[-1]["losses"])
    for name, colour in zip(names, COLOURS, strict=False):
        _line(axes, log, lambda line, name=name: line["losses"].get(name), _TERMS.get(name, name), colour)
    if len(names) > 1:
        _line(axes, log, lambda line: line["loss"], "sum", INK)
    if any(value < 0 for line in log for value in line["losses"].values()):
        axes.axhline(0, color=FAINT, linewidth=0.6, zorder=0)
    add_legend(axes)


def _draw_scores(axes: "Axes", log: Log) -> None:
    """Draw the scores on the validation split, with the best epoch marked."""
    shown = [name for name in _SCORES if any(name in line for line in log)]
    for name, colour in zip(shown, COLOURS, strict=False):
        _line(axes, log, lambda line, name=name: line.get(name), f"{_SCORES[name]}, %", colour)
    if shown:
        axes.set_ylim(0, 100)
    elif any(VAL_LOSS in line for line in log):
        _line(axes, log, lambda line: line.get(VAL_LOSS), "loss", COLOURS[0])
    else:
        title_axes(axes, "Validation")
        axes.set_yticks([])
        axes.text(0.5, 0.5, "no validation", transform=axes.transAxes, ha="center", color=FAINT)
        return
    score, sign = (shown[0], 1) if shown else (VAL_LOSS, -1)
    best = max((line for line in log if score in line), key=lambda line: sign * line[score])
    axes.axvline(best["epoch"], color=FAINT, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    value = f"{_SCORES[score]} {best[score]:.1f}" if shown else f"loss {best[score]:.4g}"
    title_axes(axes, f"Validation (best: {value} in epoch {best['epoch']})")
    add_legend(axes)


def _draw_schedule(axes: "Axes", log: Log) -> None:
    """Draw the learning rate, and the barrier's t on an axis of its own."""
    title_axes(axes, "Schedule")
    _line(axes, log, lambda line: line["lr"], "learning rate", COLOURS[0], drawstyle="steps-mid")
    axes.set_ylim(0, 1.15 * max(line["lr"] for line in log) or 1)
    axes.set_ylabel("learning rate", color=COLOURS[0], fontsize=9)
    if "barrier_t" in log[-1]:
        twin_axes = axes.twinx()
        bare_axes(twin_axes)
        _line(twin_axes, log, lambda line: line.get("barrier_t"), "t of the barrier", COLOURS[1])
        twin_axes.set_ylim(0, 1.15 * max(line.get("barrier_t", 0) for line in log))
        twin_axes.set_ylabel("t of the log barrier", color=COLOURS[1], fontsize=9)


def _draw_seconds(axes: "Axes", log: Log) -> None:
    """Draw the seconds of each epoch, stacked: steps below, waiting for data above."""
    waited, spent = (sum(line[f"seconds_{part}"] for line in log) for part in ("data", "compute"))
    share = 100 * waited / (waited + spent or 1)
    title_axes(axes, f"Seconds an epoch ({share:.1f} % waiting for data)")
    epochs = [line["epoch"] for line in log]
    compute = [line["seconds_compute"] for line in log]
    axes.bar(epochs, compute, width=0.9, color=COLOURS[0], label="steps")
    data = [line["seconds_data"] for line in log]
    axes.bar(epochs, data, width=0.9, bottom=compute, color=COLOURS[1], label="waiting for data")
    axes.set_ylim(0, 1.25 * max(map(sum, zip(compute, data, strict=True))) or 1)
    add_legend(axes)


def _line(axes: "Axes", log: Log, value: Any, label: str, colour: str, drawstyle: str = "default") -> None:
    points = [(line["epoch"], value(line)) for line in log if value(line) is not None]
    marker = "o" if len(points) <= 30 else None
    style = {"marker": marker, "markersize": 3.5, "linewidth": 1.5, "drawstyle": drawstyle}
    axes.plot(*zip(*points, strict=True), color=colour, label=label, **style)
    if len(points) == 1:
        axes.axhline(points[0][1], color=colour, linewidth=0.8, linestyle=(0, (1, 3)))
