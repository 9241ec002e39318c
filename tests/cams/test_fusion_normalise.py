import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tcam_cache.cams import normalise


def test_maps_run_from_0_to_1_and_keep_their_raw_extremes():
    raw = torch.tensor([[[1.0, 3.0], [2.0, 5.0]], [[-4.0, -4.0], [-2.0, -3.0]]])
    cams = normalise(raw)
    assert cams.maps.tolist() == [[[0, 0.5], [0.25, 1]], [[0, 0], [1, 0.5]]]
    assert cams.raw_min.tolist() == [1, -4]
    assert cams.raw_max.tolist() == [5, -2]
    assert cams.flat.tolist() == [False, False]


def test_maps_of_every_class_are_scaled_each_by_itself():
    raw = torch.arange(24.0).view(2, 3, 2, 2) ** 2
    together = normalise(raw)
    for frame in range(2):
        alone = normalise(raw[frame])
        assert torch.equal(together.maps[frame], alone.maps)
        assert torch.equal(together.raw_max[frame], alone.raw_max)


@pytest.mark.parametrize("value", [0.0, 3.5, -1.0, float("nan"), float("inf")])
def test_a_map_that_says_nothing_becomes_zeros_and_is_flagged(value):
    cams = normalise(torch.stack([torch.full((2, 3), value), torch.arange(6.0).view(2, 3)]))
    assert cams.maps[0].eq(0).all()
    assert cams.flat.tolist() == [True, False]
    assert cams.maps[1].amax() == 1


@pytest.mark.parametrize("hole", [float("nan"), float("inf"), float("-inf")])
def test_a_single_value_that_is_not_finite_flags_the_map(hole):
    raw = torch.arange(6.0).view(1, 2, 3)
    raw[0, 0, 1] = hole
    cams = normalise(raw)
    assert cams.flat.tolist() == [True]
    assert cams.maps.eq(0).all()


@settings(max_examples=60)
@given(st.lists(st.floats(-(2.0**99), 2.0**99, width=32), min_size=6, max_size=6))
def test_whatever_the_values_maps_lie_in_0_1_and_reach_both_ends_unless_flat(values):
    raw = torch.tensor(values).view(1, 2, 3)
    cams = normalise(raw)
    assert torch.isfinite(cams.maps).all()
    assert bool(cams.flat) == (len(set(raw.flatten().tolist())) == 1)
    assert (cams.maps.amin(), cams.maps.amax()) == ((0, 0) if cams.flat else (0, 1))


def test_the_tiniest_difference_is_not_flat():
    low = torch.tensor(1.0)
    cams = normalise(torch.stack([low, torch.nextafter(low, torch.tensor(2.0))]).view(1, 1, 2))
    assert cams.maps.tolist() == [[[0, 1]]]
