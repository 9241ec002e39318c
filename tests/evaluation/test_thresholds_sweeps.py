"""One frame: from a map to boxes and IoU in the original frame."""

import pickle

import cv2
import numpy as np
import pytest
from skimage.filters import gaussian

from tcam_cache.errors import AnnotationError, ConfigError, EvaluationError
from tcam_cache.evaluation import GRID, sweep_frame
from tcam_cache.records import Box, Shot

TAUS = np.array([0.0, 0.5])


def shot_with(*boxes):
    return Shot("bird/1/1", "bird", "bird/1", "test", "bird/1/1", ("a.jpg", "b.jpg"), {1: boxes})


@pytest.fixture
def scores():
    scores = np.zeros((4, 4), np.float32)
    scores[1:3, 0:2], scores[3, 3] = 1.0, 0.4
    return scores


def test_boxes_and_ious_are_those_of_the_original_frame(scores):
    sweep = sweep_frame(scores, shot_with(Box(0, 20, 40, 60)), 1, (80, 80), taus=TAUS)
    assert sweep.boxes.tolist() == [[0, 20, 40, 60]] * 2
    assert sweep.ious.tolist() == [1, 1]
    assert sweep.otsu_box.tolist() == [0, 20, 40, 60] and sweep.otsu_iou == 1


def test_width_and_height_are_scaled_apart(scores):
    sweep = sweep_frame(scores, shot_with(Box(0, 0, 1, 1)), 1, (40, 80), taus=TAUS)
    assert sweep.boxes[0].tolist() == [0, 20, 20, 60]


def test_the_best_of_several_true_boxes_counts(scores):
    sweep = sweep_frame(scores, shot_with(Box(60, 0, 80, 20), Box(0, 20, 40, 40)), 1, (80, 80), taus=TAUS)
    assert sweep.ious.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("mode", ["components", "wsol"])
def test_any_region_may_be_on_the_object_and_the_largest_alone_misses_it(mode):
    scores = np.zeros((20, 20), np.float32)
    scores[2:12, 2:12] = 1.0
    scores[14:18, 14:19] = 0.5
    sweep = sweep_frame(
        scores, shot_with(Box(14, 14, 19, 18)), 1, (20, 20), mode=mode, taus=np.array([0.4, 0.6])
    )
    assert sweep.ious.tolist() == [0, 0]
    assert sweep.any_ious.tolist() == [1, 0]


def protocols_best_iou(scores, tau, truth):
    """The highest IoU of any contour's box with the one true box, as the protocol defines both."""
    height, width = scores.shape
    grey = (scores * 255).astype(np.uint8)
    _, mask = cv2.threshold(grey, int(tau * grey.max()), 255, cv2.THRESH_BINARY)
    best = 0.0
    for contour in cv2.findContours(mask, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0]:
        x, y, w, h = cv2.boundingRect(contour)
        box = x, y, min(x + w, width - 1), min(y + h, height - 1)
        sides = [min(box[k + 2], truth[k + 2]) - max(box[k], truth[k]) + 1 for k in (0, 1)]
        common = max(sides[0], 0) * max(sides[1], 0)
        areas = [(b[2] - b[0] + 1) * (b[3] - b[1] + 1) for b in (box, truth)]
        best = max(best, common / (sum(areas) - common))
    return best


@pytest.mark.parametrize("seed", range(3))
def test_the_overlap_of_any_region_is_the_protocols(seed):
    scores = gaussian(np.random.default_rng(seed).random((48, 64)), 2)
    scores = ((scores - scores.min()) / np.ptp(scores)).astype(np.float32)
    taus = GRID[::50]
    sweep = sweep_frame(scores, shot_with(Box(20, 10, 70, 50)), 1, (128, 96), mode="wsol", taus=taus)
    # The frame is twice as large as the map.
    expected = [protocols_best_iou(scores, tau, (10, 5, 35, 25)) for tau in taus]
    np.testing.assert_allclose(sweep.any_ious, expected)
    assert (sweep.any_ious >= sweep.ious).all() and (sweep.any_ious > sweep.ious).any()


def test_the_sweep_says_which_frame_it_is_of(scores):
    sweep = sweep_frame(scores, shot_with(Box(0, 0, 1, 1)), 1, (80, 80), predicted_tag="cat")
    assert (sweep.path, sweep.tag, sweep.predicted_tag) == ("bird/1/1/b.jpg", "bird", "cat")
    assert (sweep.video, sweep.shot, sweep.t, sweep.flat) == ("bird/1", "bird/1/1", 1, False)
    assert sweep.boxes.shape == (len(GRID), 4) and sweep.ious.shape == (len(GRID),)


def test_a_flat_map_is_flagged_and_overlaps_nothing():
    sweep = sweep_frame(np.zeros((4, 4), np.float32), shot_with(Box(0, 0, 80, 80)), 1, (80, 80))
    assert sweep.flat and np.isnan(sweep.boxes).all() and not sweep.ious.any() and sweep.otsu_iou == 0


def test_wsol_compares_in_pixels_of_the_map_with_truncated_true_boxes_and_inclusive_sides(scores):
    sweep = sweep_frame(scores, shot_with(Box(0, 39, 59, 79)), 1, (80, 80), mode="wsol", taus=TAUS)
    # The true box in the map: 0, 1.95, 2.95, 3.95 -> 0, 1, 2, 3: 9 pixels; the map's: 0, 1, 2, 3.
    assert sweep.ious.tolist() == [1, 1]
    assert sweep.boxes[0].tolist() == [0, 20, 40, 60]


def test_wsol_multiplies_before_it_divides_as_the_protocol_does():
    # 29 * 100 / 100 is 29, 29 / 100 * 100 is 28.999...: truncation would tell them apart.
    scores = np.zeros((100, 100), np.float32)
    scores[29, 29] = 1
    sweep = sweep_frame(scores, shot_with(Box(29, 29, 30, 30)), 1, (100, 100), mode="wsol", taus=TAUS)
    assert sweep.ious[0] == 1


def test_wsol_keeps_the_protocols_row_of_zeros_for_the_iou_but_shows_no_box():
    flat = np.zeros((10, 10), np.float32)
    sweep = sweep_frame(flat, shot_with(Box(0, 0, 1, 1)), 1, (20, 20), mode="wsol", taus=TAUS)
    assert sweep.ious.tolist() == [1, 1] and np.isnan(sweep.boxes).all()


def test_a_frame_without_a_true_box_is_refused_by_name(scores):
    with pytest.raises(AnnotationError, match=r"bird/1/1/a\.jpg"):
        sweep_frame(scores, shot_with(Box(0, 0, 1, 1)), 0, (80, 80))


def test_a_map_with_nan_is_refused(scores):
    scores[0, 0] = np.nan
    with pytest.raises(EvaluationError, match="NaN"):
        sweep_frame(scores, shot_with(Box(0, 0, 1, 1)), 1, (80, 80))


def test_an_unknown_mode_is_refused(scores):
    with pytest.raises(ConfigError, match="contours"):
        sweep_frame(scores, shot_with(Box(0, 0, 1, 1)), 1, (80, 80), mode="contours")


def test_workers_can_carry_it(scores):
    function, sweep = pickle.loads(
        pickle.dumps((sweep_frame, sweep_frame(scores, shot_with(Box(0, 0, 1, 1)), 1, (8, 8))))
    )
    assert function is sweep_frame and sweep.boxes.shape == (1000, 4)
