"""Boxes at thresholds: worked by hand, against labelling at each threshold, and against OpenCV's contours."""

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from skimage.filters import gaussian, threshold_otsu
from skimage.measure import label

from tcam_cache.errors import ConfigError, EvaluationError
from tcam_cache.evaluation import GRID, boxes_at, hits, iou, otsu_box
from tcam_cache.evaluation.boxes import largest_and_all

NOTHING = [np.nan] * 4


def labelled_boxes(scores, taus):
    """Binarise and label at every threshold: the definition."""
    scores = scores.astype(np.float64)
    return np.float32([largest_component(scores > tau * scores.max()) for tau in taus])


def largest_component(mask):
    components = label(mask, connectivity=2).ravel()
    best, most = NOTHING, 0
    for number in dict.fromkeys(components[components > 0].tolist()):
        pixels = np.flatnonzero(components == number)
        if len(pixels) > most:
            y, x = np.divmod(pixels, mask.shape[1])
            best, most = [x.min(), y.min(), x.max() + 1, y.max() + 1], len(pixels)
    return best


def contour_boxes(scores, taus):
    """The WSOL protocol with OpenCV itself."""
    height, width = scores.shape
    grey = (scores.astype(np.float64) * 255).astype(np.uint8)
    boxes = []
    for tau in taus:
        _, mask = cv2.threshold(grey, int(tau * np.max(grey)), 255, cv2.THRESH_BINARY)
        contours, _ = cv2.findContours(mask, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
        if contours:
            x, y, w, h = cv2.boundingRect(max(contours, key=cv2.contourArea))
            boxes.append([x, y, min(x + w, width - 1), min(y + h, height - 1)])
        else:
            boxes.append([0, 0, 0, 0])
    return np.float32(boxes)


def all_contour_boxes(scores, tau):
    """The boxes of all contours, as the protocol's second measure asks OpenCV for them."""
    height, width = scores.shape
    grey = (scores.astype(np.float64) * 255).astype(np.uint8)
    _, mask = cv2.threshold(grey, int(tau * np.max(grey)), 255, cv2.THRESH_BINARY)
    contours, _ = cv2.findContours(mask, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    rects = map(cv2.boundingRect, contours)
    return {(x, y, min(x + w, width - 1), min(y + h, height - 1)) for x, y, w, h in rects} or {(0, 0, 0, 0)}


def all_component_boxes(scores, tau):
    components = label(scores.astype(np.float64) > tau * float(scores.max()), connectivity=2)
    found = [np.argwhere(components == number) for number in range(1, components.max() + 1)]
    return {(*ends.min(axis=0)[::-1].tolist(), *(ends.max(axis=0)[::-1] + 1).tolist()) for ends in found}


def regions_at(scores, taus, mode):
    """Return the set of boxes of `largest_and_all` at each threshold."""
    regions = largest_and_all(scores, taus, mode)[1]
    boxes = [regions.boxes[regions.cuts == cut].astype(int).tolist() for cut in regions.at]
    return [set(map(tuple, found)) for found in boxes]


def drawn(text):
    return np.float32([[int(digit) / 9 for digit in row] for row in text.split()])


SHAPES = array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12)
MAPS = st.one_of(
    arrays(np.float32, SHAPES, elements=st.floats(0, 1, width=32)),
    arrays(np.float32, SHAPES, elements=st.sampled_from([0.0, 1 / 3, 0.5, 1.0])),
    arrays(np.float32, SHAPES, elements=st.sampled_from([0.0, 1.0, 1.0])),
)
LINE = drawn("00000 09990 00000 00900 00900")
RING = drawn("9990000 9090999 9990999 0000999 0000000")
NESTED_RINGS = drawn("9999999 9000009 9099909 9090909 9099909 9000009 9999999")
DIAMOND_BESIDE_SQUARE = drawn("0900099 9090099 0900000")
DIAGONAL_TOUCH = drawn("99000 99000 00990 00990 90009")
EQUAL_AREAS = drawn("9990000 9990000 9990999 0000999 0000999")
RING_AGAINST_BLOB = drawn("99999000 90009999 90009999 90009999 99999999")
PINCHED_RING = drawn("0990000 9009000 9000900 0990090 0009900")
OPEN_RING = drawn("99999 90009 90909 90000 99999")
AT_THE_BORDER = drawn("00000 00009 00099 00999 09999")
NAMED = (
    LINE, RING, NESTED_RINGS, DIAMOND_BESIDE_SQUARE, DIAGONAL_TOUCH, EQUAL_AREAS, RING_AGAINST_BLOB,
    PINCHED_RING, OPEN_RING, AT_THE_BORDER, drawn("0000 0000"), drawn("9999 9999"), drawn("9"), drawn("0"),
)  # fmt: skip


def with_named_maps(test):
    for scores in NAMED:
        test = example(scores)(test)
    return settings(max_examples=150)(given(MAPS)(test))


@with_named_maps
def test_boxes_equal_those_of_labelling_at_every_threshold(scores):
    taus = GRID[::29]
    np.testing.assert_array_equal(boxes_at(scores, taus), labelled_boxes(scores, taus))


@with_named_maps
def test_the_box_at_one_threshold_is_that_of_labelling(scores):
    for tau in (0.0, 1 / 3, 0.5, 0.9):
        np.testing.assert_array_equal(boxes_at(scores, [tau]), labelled_boxes(scores, [tau]))


@with_named_maps
def test_wsol_boxes_equal_those_of_opencv(scores):
    taus = GRID[::29]
    np.testing.assert_array_equal(boxes_at(scores, taus, "wsol"), contour_boxes(scores, taus))


@with_named_maps
def test_all_regions_are_those_of_labelling_at_every_threshold(scores):
    taus = GRID[::97]
    expected = [all_component_boxes(scores, tau) for tau in taus]
    assert regions_at(scores, taus, "components") == expected


@with_named_maps
def test_all_wsol_regions_are_opencvs_contours_those_of_holes_too(scores):
    taus = GRID[::97]
    assert regions_at(scores, taus, "wsol") == [all_contour_boxes(scores, tau) for tau in taus]


def test_a_hole_is_a_region_of_the_protocol_and_of_no_other_mode():
    ring = drawn("00000 09990 09090 09990 00000")
    assert regions_at(ring, np.array([0.5]), "components") == [{(1, 1, 4, 4)}]
    assert regions_at(drawn("9999999 9000009 9000009 9999999"), np.array([0.5]), "wsol") == [{(0, 0, 6, 3)}]
    thick = drawn("9999999 9999999 9900099 9999999 9999999")
    assert regions_at(thick, np.array([0.5]), "wsol") == [{(0, 0, 6, 4), (1, 1, 6, 4)}]


@pytest.mark.parametrize("sigma", [1, 3, 12])
def test_a_whole_grid_over_a_smooth_map_equals_both_definitions(sigma):
    scores = gaussian(np.random.default_rng(sigma).random((64, 96)), sigma).astype(np.float32)
    scores = (scores - scores.min()) / np.ptp(scores)
    np.testing.assert_array_equal(boxes_at(scores), labelled_boxes(scores, GRID))
    np.testing.assert_array_equal(boxes_at(scores, mode="wsol"), contour_boxes(scores, GRID))


def test_a_map_of_ties_is_cut_exactly_where_a_float_comparison_cuts_it():
    scores = (np.arange(1000, dtype=np.float32).reshape(25, 40) / 1000) * np.float32(0.7)
    np.testing.assert_array_equal(boxes_at(scores), labelled_boxes(scores, GRID))


def test_a_box_encloses_the_largest_component_with_right_and_bottom_exclusive():
    scores = drawn("00000 09900 09900 00000 00009")
    assert boxes_at(scores, np.array([0.5])).tolist() == [[1, 1, 3, 3]]


def test_diagonal_neighbours_are_one_component():
    assert boxes_at(DIAGONAL_TOUCH, np.array([0.0])).tolist() == [[0, 0, 5, 5]]


def test_of_equally_large_components_the_first_in_raster_order_is_taken():
    assert boxes_at(EQUAL_AREAS, np.array([0.0])).tolist() == [[0, 0, 3, 3]]


def test_of_equally_large_contours_the_last_in_raster_order_is_taken_as_opencv_lists_it_first():
    assert boxes_at(EQUAL_AREAS, np.array([0.0]), "wsol").tolist() == [[4, 2, 6, 4]]


def test_a_wsol_box_is_chosen_by_the_area_inside_the_outline_not_by_pixels():
    scores = drawn("999990099999 900090099999 900090099999 900090099999 999990000000 000000000000")
    # The ring: 16 pixels, 16 inside its outline. The blob: 20 pixels, 12 inside its outline.
    assert boxes_at(scores, np.array([0.0])).tolist() == [[7, 0, 12, 4]]
    assert boxes_at(scores, np.array([0.0]), "wsol").tolist() == [[0, 0, 5, 5]]


def test_the_threshold_is_strict():
    assert boxes_at(np.float32([[0.25, 0.5]]), np.array([0.499, 0.5])).tolist() == [
        [0, 0, 2, 1],
        [1, 0, 2, 1],
    ]


def test_a_map_of_zeros_has_no_box():
    assert np.isnan(boxes_at(np.zeros((4, 4), np.float32))).all()
    assert not boxes_at(np.zeros((4, 4), np.float32), mode="wsol").any()


def test_a_constant_map_gives_the_whole_frame():
    assert boxes_at(np.full((4, 6), 0.5, np.float32), np.array([0.0, 0.9])).tolist() == [[0, 0, 6, 4]] * 2


def test_the_grid_is_the_protocols_and_cannot_be_written():
    assert len(GRID) == 1000 and GRID[0] == 0 and GRID[500] == 0.5 and GRID[-1] == 0.999
    with pytest.raises(ValueError, match="read-only"):
        GRID[0] = 1


def test_otsus_box_is_that_of_the_8_bit_map_above_its_threshold():
    scores = gaussian(np.random.default_rng(0).random((40, 40)), 4).astype(np.float32)
    scores = (scores - scores.min()) / np.ptp(scores)
    grey = (255 * scores.astype(np.float64)).astype(np.uint8)
    mask = grey > threshold_otsu(grey)
    assert otsu_box(scores).tolist() == largest_component(mask)
    assert otsu_box(scores, "wsol").tolist() == contour_boxes(mask.astype(np.float32), [0.0])[0].tolist()


def test_otsu_finds_no_box_in_a_constant_map():
    assert np.isnan(otsu_box(np.full((3, 3), 0.4, np.float32))).all()


@pytest.mark.parametrize(
    ("scores", "word"),
    [
        (np.full((3, 3), np.nan), "nan"),
        (np.full((3, 3), 2.0), "from 2 to 2"),
        (np.full((3, 3), -0.1), "-0.1"),
        (np.zeros((1, 3, 3)), r"\(1, 3, 3\)"),
        (np.zeros((0, 3)), r"\(0, 3\)"),
    ],
)
def test_a_map_that_is_none_is_refused_with_what_it_holds(scores, word):
    with pytest.raises(EvaluationError, match=word):
        boxes_at(scores)


@pytest.mark.parametrize("taus", [[0.5, 0.2], [1.0], [-0.1], [], [np.nan]])
def test_thresholds_that_do_not_rise_within_the_unit_interval_are_refused(taus):
    with pytest.raises(ConfigError, match="rising"):
        boxes_at(np.ones((2, 2)), np.array(taus, float))


def test_an_unknown_mode_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="components, wsol"):
        boxes_at(np.ones((2, 2)), mode="contours")


@pytest.mark.parametrize(
    ("box", "truth", "exclusive", "inclusive"),
    [
        ([0, 0, 2, 2], [0, 0, 2, 2], 1, 1),
        ([0, 0, 2, 2], [2, 0, 4, 2], 0, 3 / 15),
        ([0, 0, 2, 2], [3, 3, 4, 4], 0, 0),
        ([0, 0, 4, 4], [1, 1, 3, 3], 4 / 16, 9 / 25),
        ([0, 0, 2, 2], [1, 0, 3, 2], 2 / 6, 6 / 12),
        ([0, 0, 0, 0], [0, 0, 0, 0], 0, 1),
        (NOTHING, [0, 0, 2, 2], 0, 0),
    ],
)
def test_iou_by_hand(box, truth, exclusive, inclusive):
    assert iou(np.array([box]), np.array([truth])).item() == pytest.approx(exclusive)
    assert iou(np.array([box]), np.array([truth]), inclusive=True).item() == pytest.approx(inclusive)


@pytest.mark.parametrize(("mode", "found"), [("components", False), ("wsol", True)])
def test_an_overlap_of_exactly_one_half_is_found_by_the_protocol_alone(mode, found):
    assert hits([0.4, 0.5, 0.6], mode).tolist() == [False, found, True]


def test_iou_compares_every_box_with_every_true_box():
    overlap = iou(np.array([[0, 0, 2, 2], NOTHING, [1, 1, 3, 3]]), np.array([[0, 0, 2, 2], [1, 1, 3, 3]]))
    np.testing.assert_allclose(overlap, [[1, 1 / 7], [0, 0], [1 / 7, 1]])
