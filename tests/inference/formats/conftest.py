"""Frames with found boxes, of pictures and of a video."""

import pytest

from tcam_cache.datasets.boxes_table import FoundBox
from tcam_cache.inference.formats.footage import Footage
from tcam_cache.records import Box

CLASSES = ("bird", "dög & <cat>", "car")
ODD = "dög & <cat>"


def picture(name, box=None, number=0, tag=ODD, video="0001", size=(64, 48)):
    return FoundBox(video, number, name, None, *size, tag, 0.9, Box(*box) if box else None, 0.75)


def of_clip(number, box=None, tag=ODD, video="my clip, ü.mp4"):
    name = f"{40 * number:08d}ms"
    box = Box(*box) if box else None
    return FoundBox(video, number, name, number / 25, 64, 48, tag, 0.9, box, 0.75)


@pytest.fixture
def pictures():
    """Return three pictures, the second without a box."""
    found = [
        picture("a b.jpg", (1.5, 2, 30.25, 40)),
        picture("ü,&.png", number=1),
        picture("c.jpg", (0, 0, 64, 48), number=2, tag="fox"),
    ]
    return Footage(found, CLASSES, "dogs", frozenset(one.path for one in found))


@pytest.fixture
def clip():
    """Return six frames of a video: a box in 0 and 1, none in 2, again in 3, of another tag in 4."""
    boxes = [(0, 0, 32, 24), (16, 12, 48, 36), None, (1, 1, 9, 9), None, None]
    found = [of_clip(number, box) for number, box in enumerate(boxes)]
    found[4] = of_clip(4, (2, 2, 10, 10), tag="bird")
    return Footage(found, CLASSES, "dogs", frozenset())
