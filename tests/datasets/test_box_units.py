"""Boxes in pixels, and those in other units."""

import pytest

from tcam_cache.datasets.box_units import checked_box, doubt_units, far_beyond, parsed_box
from tcam_cache.records import Box


@pytest.mark.parametrize(
    "corners", [(0.1, 0.2, 0.5, 0.9), (0, 0, 1, 1), (-0.01, 0, 1.004, 1), ("0", "0.5", "1", "1")]
)
def test_shares_of_the_picture_are_refused_and_can_be_parsed(corners):
    with pytest.raises(ValueError, match="a share of the picture; expected pixels"):
        checked_box(corners)
    assert parsed_box(corners) == tuple(map(float, corners))


@pytest.mark.parametrize("corners", [(0, 0, 2, 1), (-5, 0, 1, 1), (5, 5, 5.5, 5.5)])
def test_small_boxes_in_pixels_are_not(corners):
    assert checked_box(corners) == corners


@pytest.mark.parametrize(
    ("box", "beyond"),
    [
        (Box(0, 0, 20, 10), False),
        (Box(-10, -5, 30, 15), False),
        (Box(0, 0, 31, 10), True),
        (Box(0, 0, 20, 16), True),
        (Box(-11, 0, 20, 10), True),
    ],
)
def test_a_box_that_reaches_far_beyond_its_image_is_of_another(box, beyond):
    assert far_beyond(box, 20, 10) is beyond


@pytest.mark.parametrize(
    ("largest", "side", "count", "word"),
    [
        (100, 200, 8, "percent"),
        (1000, 2000, 8, "thousandths"),
        (101, 299, 8, ""),
        (100, 199, 8, ""),
        (100, 200, 7, ""),
    ],
)
def test_boxes_that_may_be_in_percent_or_thousandths_are_doubted(caplog, largest, side, count, word):
    boxes = {str(number): [Box(0, 0, largest - number, 9)] for number in range(count)}
    doubt_units(boxes, dict.fromkeys(boxes, (side, side)))
    assert ("are they" in caplog.text) == bool(word) and word in caplog.text
