import math

import pytest
import torch

from tcam_cache.cams.fusion import fused


def test_each_map_is_taken_in_units_of_its_own_maximum():
    one, other = torch.tensor([[[8.0, 2.0]]]), torch.tensor([[[0.1, 0.1]]])
    assert fused([one, other], [False, False]).tolist() == [[[1.0, 1.0]]]
    assert fused([one], [False]).tolist() == [[[1.0, 0.25]]]


def test_a_shallow_map_is_scaled_by_tanh():
    found = fused([torch.tensor([[[1.0, 0.5, 0.0]]])], [True])
    expected = [math.tanh(2), math.tanh(1), 0]
    torch.testing.assert_close(found, torch.tensor([[expected]]))


def test_the_finest_resolution_wins_and_the_others_are_interpolated():
    coarse, fine = torch.tensor([[[1.0]]]), torch.zeros(1, 2, 3)
    assert fused([coarse, fine], [False, False]).tolist() == [[[1.0] * 3] * 2]
    ramp = fused([torch.tensor([[[0.0, 1.0]]]), torch.zeros(1, 1, 4)], [False, False])
    assert ramp.tolist() == [[[0.0, 0.25, 0.75, 1.0]]]


@pytest.mark.parametrize(
    ("fuse", "expected"), [("mean", [0.5, 0.5, 0.625]), ("geometric", [0.0, 0.0, 0.61237])]
)
def test_means_are_of_maps_between_their_own_minimum_and_maximum(fuse, expected):
    one, other = torch.tensor([[[10.0, 30.0, 25.0]]]), torch.tensor([[[5.0, 1.0, 3.0]]])
    found = fused([one, other], [False, True], fuse)
    torch.testing.assert_close(found, torch.tensor([[expected]]), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("fuse", ["mean", "geometric"])
def test_means_interpolate_to_the_finest_resolution_and_a_flat_map_is_zero(fuse):
    found = fused([torch.tensor([[[0.0, 1.0]]]), torch.ones(1, 1, 4)], [False, False], fuse)
    half = [0.0, 0.125, 0.375, 0.5]
    assert found.tolist() == [[half if fuse == "mean" else [0.0] * 4]]


def test_three_maps_have_a_geometric_mean_of_the_third_root():
    maps = [torch.tensor([[[0.0, value, 1.0]]]) for value in (0.2, 0.4, 0.8)]
    middle = fused(maps, [False] * 3, "geometric")[0, 0, 1]
    assert middle.item() == pytest.approx(0.4, rel=1e-5)


def test_a_map_of_zeros_stays_zero_and_frames_stand_alone():
    maps = torch.tensor([[[0.0, 0.0]], [[2.0, 4.0]]])
    assert fused([maps], [False]).tolist() == [[[0.0, 0.0]], [[0.5, 1.0]]]
