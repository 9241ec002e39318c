"""Milliseconds a map for the boxes at 1000 thresholds: the sweep, against labelling at each one, in one run.

Run by name: pytest tests/benchmarks/bench_boxes.py -s
"""

import time

import cv2
import numpy as np
import pytest
from skimage.filters import gaussian
from skimage.measure import label
from skimage.transform import resize

from tcam_cache.evaluation import GRID, boxes_at

pytestmark = pytest.mark.benchmark
SIDE = 224


def make_maps():
    rng = np.random.default_rng(0)
    noise = rng.random((SIDE, SIDE))
    maps = {
        "CAM, 7x7": resize(rng.random((7, 7)) ** 3, (SIDE, SIDE), order=1),
        "CAM, 28x28": resize(rng.random((28, 28)) ** 3, (SIDE, SIDE), order=1),
        "decoder, saturated": np.clip(gaussian(noise - 0.5, 6) * 30, 0, 1),
        "decoder, rough": gaussian(noise, 3),
        "white noise": noise,
    }
    return {name: ((m - m.min()) / np.ptp(m)).astype(np.float32) for name, m in maps.items()}


def labelled_boxes(scores):
    scores, boxes = scores.astype(np.float64), []
    for tau in GRID:
        components = label(scores > tau * scores.max(), connectivity=2)
        largest = components == np.bincount(components[components > 0]).argmax()
        x, y = (np.flatnonzero(largest.any(axis)) for axis in (0, 1))
        boxes.append([x[0], y[0], x[-1] + 1, y[-1] + 1])
    return np.float32(boxes)


def contour_boxes(scores):
    grey, boxes = (255 * scores.astype(np.float64)).astype(np.uint8), []
    for tau in GRID:
        _, mask = cv2.threshold(grey, int(tau * grey.max()), 255, cv2.THRESH_BINARY)
        contours, _ = cv2.findContours(mask, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
        x, y, w, h = cv2.boundingRect(max(contours, key=cv2.contourArea))
        boxes.append([x, y, min(x + w, SIDE - 1), min(y + h, SIDE - 1)])
    return np.float32(boxes)


def timed(function, repeats=1):
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = function()
        seconds.append(time.perf_counter() - start)
    return 1000 * float(np.median(seconds)), result


def test_print_milliseconds_a_map():
    print(f"\n{'map':<20}{'mode':<12}{'sweep ms':>10}{'brute force ms':>16}{'ratio':>8}")
    for name, scores in make_maps().items():
        for mode, brute in (("components", labelled_boxes), ("wsol", contour_boxes)):
            ours, boxes = timed(lambda scores=scores, mode=mode: boxes_at(scores, mode=mode), repeats=5)
            theirs, expected = timed(lambda scores=scores, brute=brute: brute(scores))
            np.testing.assert_array_equal(boxes, expected)
            print(f"{name:<20}{mode:<12}{ours:>10.1f}{theirs:>16.1f}{theirs / ours:>7.1f}x")
