import numpy as np
import pytest

from tcam_cache.datasets.demo.photos import background, cut_out, demo_facts
from tcam_cache.errors import FrameError

FACTS = demo_facts()


@pytest.mark.parametrize(
    "fact", [*FACTS["cutouts"], *FACTS["distractors"]], ids=lambda fact: fact["photograph"]
)
def test_a_cut_out_is_solid_inside_and_clear_outside_with_a_soft_rim(fact):
    image = cut_out(fact)
    alpha = np.asarray(image.getchannel("A"))
    assert image.mode == "RGBA"
    assert image.getbbox() == (0, 0, *image.size)
    assert 0.35 < (alpha == 255).mean() < 1
    assert 0 < ((alpha > 0) & (alpha < 255)).mean() < 0.15


def test_an_outlines_box_is_the_size_of_its_cut_out():
    fact = next(fact for fact in FACTS["cutouts"] if fact["tag"] == "cup")
    corners = np.array(fact["outline"])
    assert cut_out(fact).size == tuple((corners.max(axis=0) - corners.min(axis=0) + 1).tolist())


@pytest.mark.parametrize("fact", FACTS["backgrounds"], ids=lambda fact: fact["photograph"])
def test_a_background_is_the_crop_in_colour(fact):
    image = background(fact)
    left, top, right, bottom = fact["crop"]
    assert image.mode == "RGB"
    assert image.size == (right - left, bottom - top)
    assert np.asarray(image).std() > 5
    assert np.ptp(np.asarray(image).astype(int), axis=2).mean() > 3


def test_a_photograph_that_is_not_installed_is_named():
    with pytest.raises(FrameError, match=r"skimage/data/absent\.png"):
        background({"photograph": "absent.png", "crop": [0, 0, 1, 1]})
