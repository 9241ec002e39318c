import math

import pytest
import torch

from tcam_cache.errors import ConfigError
from tcam_cache.training.losses import barrier_t, log_barrier, size_loss


@pytest.mark.parametrize("t", [0.5, 1.0, 2.7, 10.0])
def test_the_barrier_is_the_logarithm_inside_and_its_tangent_outside(t):
    joint = -1 / t**2
    z = torch.tensor([100 * joint, 2 * joint, joint / 2, 0.0, 3.0], dtype=torch.float64)
    inside = [-math.log(-100 * joint) / t, -math.log(-2 * joint) / t]
    outside = [t * value - math.log(1 / t**2) / t + 1 / t for value in (joint / 2, 0.0, 3.0)]
    torch.testing.assert_close(log_barrier(z, t), torch.tensor(inside + outside, dtype=torch.float64))


@pytest.mark.parametrize("t", [0.5, 1.0, 2.7, 10.0])
def test_value_and_slope_are_continuous_at_the_joint(t):
    joint = -1 / t**2
    z = torch.tensor([joint - 1e-9, joint, joint + 1e-9], dtype=torch.float64, requires_grad=True)
    value = log_barrier(z, t)
    (slope,) = torch.autograd.grad(value.sum(), z)
    torch.testing.assert_close(value, value[1].expand(3), rtol=0, atol=1e-7)
    torch.testing.assert_close(slope, torch.full_like(slope, t), rtol=1e-5, atol=0)


def test_the_slope_inside_is_that_of_the_logarithm():
    z = torch.tensor([-50176.0, -900.0, -1.5], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(log_barrier(z, 2.0).sum(), z)
    torch.testing.assert_close(slope, -1 / (2.0 * z.detach()))


@pytest.mark.parametrize("t", [0.5, 1.0, 2.7, 10.0])
def test_the_slope_is_the_derivative_on_both_sides_of_the_joint(t):
    joint = -1 / t**2
    z = torch.tensor([50 * joint, 2 * joint, 1.01 * joint, 0.99 * joint, 0.0, 4.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda z: log_barrier(z, t), z.requires_grad_())


@pytest.mark.parametrize("share", [0.01, 0.5], ids=["one region beyond the joint", "both inside"])
def test_the_gradient_of_the_size_loss_is_its_derivative(share):
    noise = 0.01 * torch.rand(2, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    softmax = torch.stack([1 - share - noise, share + noise], 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda maps: size_loss(maps, 1.0), softmax)


def test_the_gradient_stays_finite_where_the_constraint_is_violated():
    z = torch.tensor([0.0, 5.0], requires_grad=True)
    (slope,) = torch.autograd.grad(log_barrier(z, 3.0).sum(), z)
    assert slope.tolist() == [3.0, 3.0]


def test_the_size_loss_is_half_the_sum_over_both_regions_averaged_over_the_batch():
    foreground = torch.tensor([[[0.25, 0.75], [1.0, 1.0]], [[0.5, 0.5], [0.5, 0.5]]])
    softmax = torch.stack([1 - foreground, foreground], 1)
    # Areas in pixels: (1, 3) and (2, 2).
    expected = (-math.log(1) - math.log(3) - math.log(2) - math.log(2)) / 2 / 2
    assert size_loss(softmax, 1.0).item() == pytest.approx(expected)


def test_the_size_loss_pushes_the_smaller_region_harder():
    foreground = torch.full((1, 8, 8), 0.1, dtype=torch.float64)
    softmax = torch.stack([1 - foreground, foreground], 1).requires_grad_()
    (slope,) = torch.autograd.grad(size_loss(softmax, 1.0), softmax)
    torch.testing.assert_close(
        slope[0, :, 0, 0], torch.tensor([-0.5 / 57.6, -0.5 / 6.4], dtype=torch.float64)
    )


def test_an_empty_region_gives_a_finite_loss_and_gradient():
    softmax = torch.stack([torch.ones(1, 4, 4), torch.zeros(1, 4, 4)], 1).requires_grad_()
    loss = size_loss(softmax, 1.0)
    (slope,) = torch.autograd.grad(loss, softmax)
    assert loss.isfinite()
    assert slope.isfinite().all()


def test_t_grows_by_a_factor_every_epoch_up_to_its_cap():
    assert barrier_t(0, 1.0, 1.01, 10.0) == 1.0
    assert barrier_t(100, 1.0, 1.01, 10.0) == pytest.approx(2.7048, abs=1e-4)
    assert barrier_t(231, 1.0, 1.01, 10.0) < 10.0
    assert barrier_t(232, 1.0, 1.01, 10.0) == 10.0
    assert barrier_t(5, 20.0, 1.01, 10.0) == 10.0
    assert barrier_t(10_000, 1.0, 2.0, 10.0) == 10.0  # 2 to the 10,000th is no float


@pytest.mark.parametrize(("start", "cap"), [(0.0, 10.0), (1.0, 0.0)])
def test_a_barrier_without_sharpness_is_refused(start, cap):
    with pytest.raises(ConfigError, match="t > 0"):
        barrier_t(0, start, 1.01, cap)
