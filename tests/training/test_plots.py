import io
import itertools

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from tcam_cache.training import draw_search
from tcam_cache.training.plots import _draw_scores, draw_curves


def log_of(epochs, **more):
    return [
        {
            "epoch": epoch,
            "lr": 0.01,
            "losses": {"cross_entropy": 1 / epoch, "crf": -0.1},
            "loss": 1 / epoch - 0.1,
            "seconds_data": 0.5,
            "seconds_compute": 2.0,
            **{name: value(epoch) for name, value in more.items()},
        }
        for epoch in range(1, epochs + 1)
    ]


def picture(log):
    return np.asarray(Image.open(io.BytesIO(draw_curves(log))).convert("RGB"))


@pytest.mark.parametrize("epochs", [1, 2, 40])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"barrier_t": lambda epoch: 1.01**epoch},
        {"corloc": lambda epoch: 50.0, "cl_accuracy": lambda epoch: 80.0},
        {"val_loss": lambda epoch: 0.3},
    ],
    ids=["losses alone", "barrier", "scores", "loss on val"],
)
def test_every_kind_of_log_is_drawn_without_a_warning(epochs, more):
    pixels = picture(log_of(epochs, **more))
    assert pixels.shape == (640, 1000, 3)
    # Four titles and lines in ink on white.
    assert 0.7 < (pixels == 255).all(2).mean() < 0.99


def test_epochs_without_a_validation_leave_no_gap_in_the_line():
    sparse = log_of(6, corloc=lambda epoch: 10.0 * epoch)
    for line in sparse:
        if line["epoch"] % 3:
            del line["corloc"]
    axes = Figure().subplots()
    _draw_scores(axes, sparse)
    points = axes.lines[0]
    assert (list(points.get_xdata()), list(points.get_ydata())) == ([3, 6], [30, 60])


def test_another_log_is_another_picture_and_the_same_log_the_same_bytes():
    log, other = log_of(5), log_of(5)
    other[2]["losses"]["crf"] = -0.4
    assert draw_curves(log) == draw_curves(log_of(5))
    assert not np.array_equal(picture(log), picture(other))


def test_a_loss_of_the_classifier_and_no_time_at_all_are_drawn():
    line = {"epoch": 1, "lr": 0.0, "losses": {"cross_entropy": 0.0}, "loss": 0.0}
    assert picture([{**line, "seconds_data": 0.0, "seconds_compute": 0.0}]).shape == (640, 1000, 3)


@pytest.mark.parametrize(
    "values",
    [
        {"lr": (0.1, 0.01), "neighbours": range(11)},
        {"window": ("before", "both")},
        {"bg_low": (None, 0.1), "crf": (True, False), "seed": range(3)},
    ],
    ids=["the paper's", "one option", "three options"],
)
def test_every_kind_of_search_is_drawn_whatever_was_left_out(values):
    grid = [dict(zip(values, point, strict=True)) for point in itertools.product(*values.values())]
    points = [(settings, 50.0 + number, None) for number, settings in enumerate(grid)]
    whole = draw_search(points, "CorLoc on val")
    assert Image.open(io.BytesIO(whole)).size == (700, 420)
    assert whole != draw_search(points[1:], "CorLoc on val")
    assert draw_search(points[:1], "loss on val")
    spread = draw_search([(settings, score, 3.0) for settings, score, _ in points], "CorLoc on val")
    assert spread != whole


def test_a_search_over_seeds_alone_is_one_point():
    assert Image.open(io.BytesIO(draw_search([({}, 50.0, 2.0)], "CorLoc on val"))).size == (700, 420)
