import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import gaussian_filter
from skimage.filters import threshold_otsu

from tcam_cache.training.pseudo_labels import otsu_threshold, regions

SIDES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24)


def few_levels() -> st.SearchStrategy[np.ndarray]:
    """Maps of two to five grey levels in any proportion: equal variances and empty bins are the rule here."""
    palettes = st.lists(st.integers(0, 255), min_size=2, max_size=5, unique=True)
    return palettes.flatmap(
        lambda levels: SIDES.flatmap(
            lambda side: hnp.arrays(np.uint8, side, elements=st.sampled_from(levels))
        )
    )


def is_flat(levels: np.ndarray) -> bool:
    return levels.min() == levels.max()


@settings(max_examples=200)
@given(st.one_of(few_levels(), hnp.arrays(np.uint8, SIDES)).filter(lambda levels: not is_flat(levels)))
def test_the_threshold_is_that_of_scikit_image(levels):
    assert otsu_threshold(torch.from_numpy(levels)[None]).item() == threshold_otsu(levels)


def test_the_threshold_is_that_of_scikit_image_on_a_batch_of_smooth_maps():
    rng = np.random.default_rng(0)
    maps = [
        gaussian_filter(rng.random((64, 64)), sigma) ** power for sigma in (1, 3, 8) for power in (1, 3, 9)
    ]
    levels = np.stack([255 * (m - m.min()) / np.ptp(m) for m in maps]).astype(np.uint8)
    assert otsu_threshold(torch.from_numpy(levels)).tolist() == [threshold_otsu(one) for one in levels]


def test_symmetric_maps_whose_two_best_levels_tie_follow_scikit_image():
    for counts in ([1, 1, 1], [2, 1, 2], [3, 7, 3], [1, 2, 2, 1], [5, 3, 3, 5]):
        for gap in (1, 3, 7, 60):
            levels = np.repeat(np.arange(len(counts)) * gap, counts).astype(np.uint8)[None]
            assert otsu_threshold(torch.from_numpy(levels)[None]).item() == threshold_otsu(levels)


def test_a_tie_to_seven_digits_is_settled_as_by_scikit_image():
    levels = np.repeat([0, 126, 255], [8510, 2138, 6863]).astype(np.uint8)[None]
    assert otsu_threshold(torch.from_numpy(levels)[None]).item() == threshold_otsu(levels)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_levels_may_be_bytes_or_integers(dtype):
    levels = torch.tensor([[[0, 0, 0, 255]], [[7, 9, 9, 9]]], dtype=dtype)
    assert otsu_threshold(levels).tolist() == [0, 7]


def test_the_threshold_of_a_flat_map_is_its_only_level():
    assert otsu_threshold(torch.tensor([[[0, 0]], [[9, 9]], [[255, 255]]])).tolist() == [0, 9, 255]


def test_foreground_lies_strictly_above_the_threshold_of_the_floored_levels():
    cams = torch.tensor([[[10.0, 10.9, 200.0, 255.0]]]) / 255
    assert regions(cams).foreground.tolist() == [[[False, False, True, True]]]


def test_values_of_one_grey_level_are_one_value():
    assert regions(torch.tensor([[[10.0, 10.9]]]) / 255).flat.tolist() == [True]


def test_a_single_hot_pixel_is_the_foreground():
    cams = torch.zeros(1, 9, 9)
    cams[0, 3, 4] = 1
    assert regions(cams).foreground.nonzero().tolist() == [[0, 3, 4]]


def test_a_flat_map_is_flagged_and_has_no_foreground():
    cams = torch.stack([torch.zeros(2, 2), torch.full((2, 2), 0.7), torch.ones(2, 2), torch.eye(2)])
    found = regions(cams)
    assert found.flat.tolist() == [True, True, True, False]
    assert found.foreground.flatten(1).any(1).tolist() == [False, False, False, True]


def test_regions_follow_a_flip_and_do_not_depend_on_the_batch():
    cams = torch.rand(4, 12, 10, generator=torch.Generator().manual_seed(1)) ** 3
    together = regions(cams).foreground
    assert torch.equal(regions(cams.flip(2)).foreground.flip(2), together)
    assert torch.equal(torch.cat([regions(cam[None]).foreground for cam in cams]), together)


def test_half_precision_maps_have_the_levels_of_their_exact_values():
    cams = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(2)).half()
    assert torch.equal(regions(cams).foreground, regions(cams.double()).foreground)
