"""Tests of the colour CRFs: against sums over pairs, against the CRF of one frame, and how they scale."""

import itertools
import math
from contextlib import nullcontext

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data

from tcam_cache.training.crf import crf_loss
from tcam_cache.training.crf_colour import adaptive_colour_crf_loss, clips_of_several, colour_crf_loss

EVERY = 10_000  # landmarks: every pixel of the tiny frames here, where the filter is exact
CLIPS = torch.tensor([8, 8, 8, 3, 3, 5])  # clips of three, two and one frame


def frames(batch, height, width=None, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (height, width or height)
    rgb = 127.5 + 80 * (torch.rand(batch, 3, *shape, generator=generator, dtype=torch.float64) - 0.5)
    foreground = torch.rand(batch, *shape, generator=generator, dtype=torch.float64)
    return torch.stack([1 - foreground, foreground], 1).to(dtype), rgb.to(dtype)


def loss_of(softmax, rgb, clips, seed=0, **options):
    options = {"weight": 1e-9, "gain": 1.0, "landmarks": EVERY, **options}
    return colour_crf_loss(softmax, rgb, clips, generator=torch.Generator().manual_seed(seed), **options)


def pairs_by_hand(softmax, rgb, sigma):
    """sum_r S_r^T W S_r from the definition, over all pairs of pixels of all frames given."""
    pixels = list(itertools.product(range(len(rgb)), range(rgb.shape[2]), range(rgb.shape[3])))
    total = 0.0
    for (one, *p), (other, *q) in itertools.product(pixels, pixels):
        distance = float((rgb[one, :, *p] - rgb[other, :, *q]).square().sum())
        near = math.exp(-distance / (2 * sigma**2))
        total = total + near * (softmax[one, :, *p] * softmax[other, :, *q]).sum()
    return total


@pytest.mark.parametrize("sigma", [15.0, 40.0])
def test_value_and_gradient_are_those_of_the_double_sum_over_the_pixels_of_each_clip(sigma):
    softmax, rgb = frames(6, 2, 3)
    softmax.requires_grad_()
    loss = loss_of(softmax, rgb, CLIPS, sigma_rgb=sigma)
    clips = (slice(0, 3), slice(3, 5), slice(5, 6))
    sums = [pairs_by_hand(softmax[clip], rgb[clip], sigma) / (clip.stop - clip.start) for clip in clips]
    expected = -1e-9 * 224**4 / (2 * 3) ** 2 * sum(sums) / 6
    torch.testing.assert_close(loss, expected, rtol=1e-7, atol=0)
    slopes = [torch.autograd.grad(one, softmax)[0] for one in (loss, expected)]
    torch.testing.assert_close(*slopes, rtol=1e-6, atol=0)


@pytest.mark.parametrize("landmarks", [9, EVERY])
def test_frames_that_are_clips_by_themselves_have_the_crf_without_places(landmarks):
    softmax, rgb = frames(3, 6, 5)
    expected = crf_loss(
        softmax, rgb, weight=1e-9, gain=1.0, sigma_xy=math.inf, landmarks=landmarks,
        generator=torch.Generator().manual_seed(4),
    )  # fmt: skip
    got = loss_of(softmax, rgb, torch.arange(3), seed=4, landmarks=landmarks)
    torch.testing.assert_close(got, expected, rtol=1e-7, atol=0)


@pytest.mark.parametrize("landmarks", [18, EVERY])
def test_the_gradient_is_the_derivative_even_where_the_maps_do_not_add_up_to_one(landmarks):
    softmax, rgb = frames(6, 3)
    softmax = (softmax * 1.3 + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(lambda S: loss_of(S, rgb, CLIPS, landmarks=landmarks), softmax)


@given(st.integers(1, 5), st.integers(0, 9))
@settings(max_examples=20)
def test_a_clip_that_repeats_one_frame_loses_what_the_frame_alone_does(length, seed):
    softmax, rgb = frames(1, 5, seed=seed)
    alone = loss_of(softmax, rgb, torch.tensor([1]))
    repeated = [one.expand(length, -1, -1, -1) for one in (softmax, rgb)]
    torch.testing.assert_close(loss_of(*repeated, torch.full((length,), 1)), alone, rtol=1e-5, atol=0)


def test_the_strength_does_not_depend_on_the_size_of_the_image():
    softmax, rgb = frames(6, 4)
    large = [one.repeat_interleave(2, 2).repeat_interleave(2, 3) for one in (softmax, rgb)]
    torch.testing.assert_close(loss_of(*large, CLIPS), loss_of(softmax, rgb, CLIPS), rtol=1e-5, atol=0)


def test_the_value_scales_with_weight_and_gain():
    softmax, rgb = frames(6, 4)
    unit = loss_of(softmax, rgb, CLIPS)
    torch.testing.assert_close(loss_of(softmax, rgb, CLIPS, weight=3e-9, gain=0.5), 1.5 * unit)


def test_shares_of_whole_clips_weighted_by_their_frames_add_up_to_the_batch_landmarks_included():
    softmax, rgb = frames(6, 12)
    given = {"landmarks": 12, "seed": 7}
    whole = loss_of(softmax, rgb, CLIPS, **given)
    shares = (slice(0, 3), slice(3, 6))
    parts = [loss_of(softmax[part], rgb[part], CLIPS[part], **given) / 2 for part in shares]
    torch.testing.assert_close(sum(parts), whole)


def test_a_pixel_is_drawn_to_the_label_of_its_colour_in_another_frame_of_its_clip_alone():
    # A red square that moves; in the first frame alone it has a label.
    rgb = torch.zeros(2, 3, 4, 4, dtype=torch.float64)
    rgb[0, 0, :2, :2] = rgb[1, 0, 2:, 2:] = 250
    foreground = torch.full((2, 4, 4), 0.5, dtype=torch.float64)
    foreground[0] = 0.05
    foreground[0, :2, :2] = 0.95
    logits = foreground.logit().requires_grad_()
    for clips, drawn in ((torch.tensor([1, 1]), True), (torch.tensor([1, 2]), False)):
        softmax = torch.stack([1 - logits.sigmoid(), logits.sigmoid()], 1)
        (slope,) = torch.autograd.grad(loss_of(softmax, rgb, clips), logits)
        assert (slope[1, 2:, 2:] < -1e-6).all() == drawn
        assert (slope[1, :2] > 1e-6).all() == drawn
        if not drawn:
            assert slope[1].abs().max() < 1e-9


def photographed_clip(length):
    """A camera that moves over a photograph, to the right: (length, 3, 48, 48)."""
    photo = torch.from_numpy(data.astronaut()).permute(2, 0, 1).double()
    return torch.stack([photo[:, 40:232:4, 100 + 12 * t : 292 + 12 * t : 4] for t in range(length)])


@pytest.mark.parametrize("length", [1, 2, 4])
def test_144_landmarks_come_within_two_percent_of_the_exact_loss_of_a_photographed_clip(length):
    rgb = photographed_clip(length)
    rows, columns = torch.meshgrid(*[torch.linspace(-3, 3, 48).double()] * 2, indexing="ij")
    foreground = (rows + columns.sin()).sigmoid().expand(length, -1, -1)
    softmax = torch.stack([1 - foreground, foreground], 1)
    clips = torch.full((length,), 2)
    values = softmax.transpose(0, 1).flatten(1)
    pixels = rgb.transpose(0, 1).flatten(1).T / 15
    exact = sum(
        (values[:, part] * (values @ torch.cdist(pixels, pixels[part]).square().div(-2).exp())).sum()
        for part in torch.arange(len(pixels)).split(1000)
    )
    expected = -1e-9 * (224 / 48) ** 4 * exact / length**2
    got = loss_of(softmax.float(), rgb.float(), clips, landmarks=144)
    assert got.dtype == torch.float32
    assert got.item() == pytest.approx(expected.item(), rel=0.02)


def test_on_a_clip_of_one_colour_float32_is_exact():
    softmax, rgb = frames(2, 24, dtype=torch.float32)
    rgb = torch.full_like(rgb, 200.0)
    sums = softmax.double().sum((0, 2, 3))
    expected = -1e-9 * (224 / 24) ** 4 * sums.square().sum().item() / 4
    got = loss_of(softmax, rgb, torch.zeros(2), landmarks=144)
    assert got.item() == pytest.approx(expected, rel=1e-3)


def test_the_generator_alone_decides_the_landmarks():
    softmax, rgb = frames(6, 24, dtype=torch.float32)
    first, again, other = (loss_of(softmax, rgb, CLIPS, seed, landmarks=36) for seed in (1, 1, 2))
    assert first == again != other


def test_autocast_changes_nothing():
    softmax, rgb = frames(6, 12, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss_of(softmax, rgb, CLIPS, landmarks=36)
    assert inside == loss_of(softmax, rgb, CLIPS, landmarks=36)


def test_the_device_is_never_waited_for(monkeypatch):
    # A meta tensor has no values: whatever needs one on the host fails. It knows no autocast either.
    monkeypatch.setattr(torch, "autocast", lambda *_given, **_named: nullcontext())
    softmax, rgb = (one.to("meta") for one in frames(6, 12, dtype=torch.float32))
    assert loss_of(softmax, rgb, CLIPS, landmarks=36).shape == ()


def adaptive_of(softmax, rgb, clips, seed=0, **options):
    options = {"weight": 4.0, "landmarks": EVERY, **options}
    return adaptive_colour_crf_loss(
        softmax, rgb, clips, generator=torch.Generator().manual_seed(seed), **options
    )


def dense_sum(softmax, rgb, sigma=15.0):
    """sum_r S_r^T W S_r by one dense kernel over the pixels of all frames given."""
    pixels = rgb.transpose(0, 1).flatten(1).T / sigma
    kernel = torch.cdist(pixels, pixels).square().div(-2).exp()
    values = softmax.transpose(0, 1).flatten(1)
    return (values * (values @ kernel)).sum()


@pytest.mark.parametrize("sigma", [15.0, 40.0])
@pytest.mark.parametrize("weight", [0.25, 9.0])
def test_the_adaptive_gradient_is_that_of_each_clips_dense_sum_over_its_own_value(sigma, weight):
    softmax, rgb = frames(6, 2, 3)
    softmax.requires_grad_()
    clips = (slice(0, 3), slice(3, 5))  # the last frame is alone
    sums = [-dense_sum(softmax[clip], rgb[clip], sigma) for clip in clips]
    expected = weight * sum(one / one.detach().abs() for one in sums) / len(sums)
    got = adaptive_of(softmax, rgb, CLIPS, weight=weight, sigma_rgb=sigma)
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=0)
    slopes = [torch.autograd.grad(one, softmax)[0] for one in (got, expected)]
    torch.testing.assert_close(*slopes, rtol=1e-6, atol=0)
    assert slopes[0][5].abs().max() == 0 < slopes[0][4].abs().min()


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    st.integers(2, 5),
    st.sampled_from([0.25, 1.0, 4.0, 9.0]),
    st.sampled_from([6, EVERY]),
    st.sampled_from([torch.float32, torch.float64]),
    st.integers(0, 9),
)
@settings(max_examples=25)
def test_the_adaptive_value_is_minus_its_weight_and_its_gradient_of_one_strength(
    lengths, side, weight, landmarks, dtype, seed
):
    clips = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    softmax, rgb = frames(len(clips), side, dtype=dtype, seed=seed)
    loss = adaptive_of(softmax.requires_grad_(), rgb, clips, seed, weight=weight, landmarks=landmarks)
    several = max(lengths) > 1
    assert loss.item() == (-weight if several else 0)
    if several:
        (slope,) = torch.autograd.grad(loss, softmax)
        # A sum over pairs is homogeneous of degree two in the maps.
        assert (slope * softmax).sum().item() == pytest.approx(-2 * weight, rel=1e-3)


def test_frames_that_are_clips_by_themselves_give_no_adaptive_term():
    softmax, rgb = frames(3, 4)
    loss = adaptive_of(softmax.requires_grad_(), rgb, torch.arange(3))
    assert (loss.item(), loss.shape, loss.requires_grad) == (0.0, (), False)


def test_the_frames_of_a_clip_may_lie_under_crops_of_their_own():
    # A mirrored frame has the same colours: to a CRF without places it is the same clip.
    softmax, rgb = frames(2, 4, 5)
    mirrored = [torch.stack([one[0], one[1].flip(-1)]) for one in (softmax, rgb)]
    slopes = []
    for maps, colours in ((softmax, rgb), mirrored):
        loss = adaptive_of(maps.requires_grad_(), colours, torch.tensor([1, 1]))
        slopes.append(torch.autograd.grad(loss, maps)[0])
    torch.testing.assert_close(slopes[0][0], slopes[1][0], rtol=1e-6, atol=0)
    torch.testing.assert_close(slopes[0][1], slopes[1][1].flip(-1), rtol=1e-6, atol=0)


def test_clips_of_two_frames_or_more_are_counted():
    assert clips_of_several(CLIPS).item() == 2
    assert clips_of_several(torch.empty(0, dtype=torch.int64)).item() == 0
