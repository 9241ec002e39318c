import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from skimage import data
from skimage.transform import resize

from tcam_cache.training.crf import (
    crf_loss,
    gaussian_filter,
    jittered_grid,
    pixel_features,
)


def frames(batch, size, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rgb = 255 * torch.rand(batch, 3, size, size, generator=generator, dtype=torch.float64)
    foreground = torch.rand(batch, size, size, generator=generator, dtype=torch.float64)
    return torch.stack([1 - foreground, foreground], 1).to(dtype), rgb.to(dtype)


def soft_rgb(rgb, contrast):
    return 127.5 + contrast * (rgb - 127.5)


def photographs():
    """Return four photographs of scikit-image, squashed to 224 x 224, as (4, 3, 224, 224) in 0..255."""
    originals = (data.astronaut(), data.chelsea(), data.coffee(), data.rocket())
    squashed = [resize(photo, (224, 224), anti_aliasing=True) * 255 for photo in originals]
    return torch.from_numpy(np.stack(squashed)).permute(0, 3, 1, 2).float()


def smooth_softmax(batch, size):
    coarse = torch.randn(batch, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    field = torch.nn.functional.interpolate(coarse, size=size, mode="bicubic", align_corners=False)[:, 0]
    foreground = (3 * field).sigmoid()
    return torch.stack([1 - foreground, foreground], 1)


def loss_of(softmax, rgb, seed=0, **options):
    options = {"weight": 1e-6, "gain": 1.0, "landmarks": 144, **options}
    return crf_loss(softmax, rgb, generator=torch.Generator().manual_seed(seed), **options)


def exact_filter(features, values):
    """Return W values (B, C, N) by all pairs of pixels; features are (B, D, N)."""
    points = features.mT.double()
    return values @ torch.cdist(points, points).square().div(-2).exp().to(values)


def affinity_by_hand(rgb, p, q, sigma_rgb, sigma_xy):
    """W_pq from the definition, for pixels given as (y, x)."""
    place = sum((a - b) ** 2 for a, b in zip(p, q, strict=True)) / sigma_xy**2
    colour = float((rgb[:, *p] - rgb[:, *q]).square().sum()) / sigma_rgb**2
    return math.exp(-(place + colour) / 2)


@pytest.mark.parametrize("width", [4, 3])
def test_the_exact_filter_is_the_double_loop_over_pixels(width):
    softmax, rgb = (one[..., :width] for one in frames(1, 4))
    values = softmax.flatten(2)
    got = exact_filter(pixel_features(rgb, 60.0, 2.0), values)[0]
    pixels = [(y, x) for y in range(4) for x in range(width)]
    for row, p in enumerate(pixels):
        expected = sum(
            affinity_by_hand(rgb[0], p, q, 60.0, 2.0) * values[0, :, column]
            for column, q in enumerate(pixels)
        )
        torch.testing.assert_close(got[:, row], expected)


def test_with_all_pixels_as_landmarks_value_and_gradient_are_exact():
    softmax, rgb = frames(2, 16)
    softmax.requires_grad_()
    loss = loss_of(softmax, soft_rgb(rgb, 0.3), landmarks=256)
    (slope,) = torch.autograd.grad(loss, softmax)
    features = pixel_features(soft_rgb(rgb, 0.3), 15.0, 100 * 16 / 224)
    values = softmax.detach().flatten(2)
    filtered = exact_filter(features, values)
    strength = 1e-6 * (224 / 16) ** 4 / 2
    torch.testing.assert_close(loss, -strength * (values * filtered).sum(), rtol=1e-7, atol=0)
    expected = (-2 * strength * filtered).view_as(softmax)
    torch.testing.assert_close(slope, expected, rtol=1e-6, atol=0)


def brute_force(softmax, rgb, sigma_rgb, sigma_xy):
    """Return sum_r S_r^T W (1 - S_r) and sum_r S_r^T W S_r of one frame, by a double loop over its pixels."""
    height, width = rgb.shape[-2:]
    pixels = [(y, x) for y in range(height) for x in range(width)]
    cut = agreement = 0.0
    for p in pixels:
        for q in pixels:
            near = affinity_by_hand(rgb, p, q, sigma_rgb, sigma_xy)
            for region in softmax:
                cut += near * region[p] * (1 - region[q])
                agreement += near * region[p] * region[q]
    return cut, agreement


def test_the_value_is_the_double_sum_over_pairs_and_its_gradient_that_of_the_papers_form():
    softmax, rgb = frames(2, 4)
    logits = softmax.logit().requires_grad_()
    probability = torch.stack([1 - logits[:, 1].sigmoid(), logits[:, 1].sigmoid()], 1)
    loss = loss_of(probability, soft_rgb(rgb, 0.3), landmarks=16)
    (slope,) = torch.autograd.grad(loss, logits, retain_graph=True)
    strength = 1e-6 * (224 / 4) ** 4 / 2
    sums = [
        brute_force(*one, 15.0, 100 * 4 / 224) for one in zip(probability, soft_rgb(rgb, 0.3), strict=True)
    ]
    torch.testing.assert_close(loss, -strength * sum(kept for _, kept in sums), rtol=1e-6, atol=0)
    # The paper's S^T W (1 - S) differs by a constant where the maps add up to one: the gradients are equal.
    (published,) = torch.autograd.grad(strength * sum(cut for cut, _ in sums), logits)
    torch.testing.assert_close(slope, published, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("photo", range(4), ids=["astronaut", "chelsea", "coffee", "rocket"])
def test_on_a_crop_of_a_photograph_all_pixels_as_landmarks_give_the_exact_loss(photo):
    rgb = photographs()[photo : photo + 1, :, 96:120, 100:124].double()
    softmax = smooth_softmax(1, 24).double().requires_grad_()
    loss = loss_of(softmax, rgb, landmarks=24 * 24)
    (slope,) = torch.autograd.grad(loss, softmax)
    features = pixel_features(rgb, 15.0, 100 * 24 / 224)[0].T
    dense = torch.cdist(features, features).square().div(-2).exp()
    values = softmax[0].flatten(1)
    exact = -1e-6 * (224 / 24) ** 4 * (values @ dense * values).sum()
    torch.testing.assert_close(loss, exact, rtol=1e-6, atol=0)
    torch.testing.assert_close(slope, torch.autograd.grad(exact, softmax)[0], rtol=1e-4, atol=0)


def test_float32_is_as_exact_as_its_diagonal_lets_it_be():
    softmax, rgb = frames(1, 16)
    exact = loss_of(softmax, rgb, landmarks=256)
    got = loss_of(softmax.float(), rgb.float(), landmarks=256)
    assert got.dtype == torch.float32
    assert got.item() == pytest.approx(exact.item(), rel=2e-3)


def test_144_landmarks_filter_photographs_within_six_percent_and_their_gradients_within_ten():
    rgb, softmax = photographs(), smooth_softmax(4, 224)
    features, values = pixel_features(rgb, 15.0, 100.0), softmax.flatten(2)
    landmarks = jittered_grid(224, 224, 144, torch.Generator().manual_seed(0))
    got = gaussian_filter(features, values, landmarks).double()
    rows = torch.randperm(224 * 224, generator=torch.Generator().manual_seed(1))[:200]
    contrast = torch.tensor([-1.0, 1.0], dtype=torch.float64)  # the logits' direction: W S1 - W S0
    gradient_errors = []
    for photo in range(4):
        points = features[photo].T.double()
        near = torch.cdist(points, points[rows]).square().div(-2).exp()
        exact = values[photo].double() @ near
        error = got[photo][:, rows] - exact
        assert error.norm() < 0.06 * exact.norm()
        gradient_errors.append(float((contrast @ error).norm() / (contrast @ exact).norm()))
    assert np.mean(gradient_errors) < 0.10


def test_on_a_flat_image_the_filter_has_a_gain_of_one():
    features = pixel_features(torch.full((1, 3, 48, 48), 200.0), 15.0, 100 * 48 / 224)
    ones = torch.ones(1, 1, 48 * 48)
    got = gaussian_filter(features, ones, jittered_grid(48, 48, 144, torch.Generator().manual_seed(0)))
    torch.testing.assert_close(got, exact_filter(features, ones), rtol=1e-3, atol=0)


def test_black_beside_white_does_not_mix():
    rgb = torch.zeros(1, 3, 32, 32)
    rgb[..., 16:] = 255
    features = pixel_features(rgb, 15.0, 100 * 32 / 224)
    left = torch.zeros(1, 3, 32, 32)[:, 0].index_fill(2, torch.arange(16), 1.0).reshape(1, 1, -1)
    got = gaussian_filter(features, left, jittered_grid(32, 32, 144, torch.Generator().manual_seed(0)))
    image = got.view(32, 32)
    assert image[:, :16].min() > 10
    assert image[:, 16:].abs().max() < 1e-3


def test_the_value_scales_with_weight_and_gain():
    softmax, rgb = frames(2, 12)
    unit = loss_of(softmax, rgb)
    torch.testing.assert_close(loss_of(softmax, rgb, weight=3e-6, gain=0.6), 1.8 * unit)


def test_the_batch_size_alone_divides_the_sum():
    softmax, rgb = frames(3, 12)
    apart = [loss_of(softmax[i : i + 1], rgb[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(loss_of(softmax, rgb), sum(apart) / 3)


def test_the_strength_does_not_depend_on_the_size_of_the_image():
    rgb, softmax = photographs()[:2, :, ::4, ::4], smooth_softmax(2, 56)
    large = [one.repeat_interleave(2, 2).repeat_interleave(2, 3) for one in (softmax, rgb)]
    assert loss_of(*large).item() == pytest.approx(loss_of(softmax, rgb).item(), rel=0.03)


def test_agreement_with_colour_lowers_the_loss():
    rgb = torch.zeros(1, 3, 24, 24)
    rgb[..., :12] = 255
    agree = torch.zeros(1, 2, 24, 24)
    agree[:, 1, :, :12], agree[:, 0, :, 12:] = 1, 1
    assert loss_of(agree, rgb) < loss_of(agree.transpose(2, 3).contiguous(), rgb)


def test_the_gradient_is_the_derivative_even_where_the_maps_do_not_add_up_to_one():
    softmax, rgb = frames(2, 5)
    softmax = (softmax * 1.3 + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(lambda S: loss_of(S, soft_rgb(rgb, 0.2), landmarks=9), softmax)


def test_the_exact_filter_follows_a_flip():
    softmax, rgb = frames(1, 8)
    plain = exact_filter(pixel_features(rgb, 60.0, 3.0), softmax.flatten(2)).view(2, 8, 8)
    mirrored = softmax.flip(3).flatten(2)
    flipped = exact_filter(pixel_features(rgb.flip(3), 60.0, 3.0), mirrored).view(2, 8, 8)
    torch.testing.assert_close(flipped.flip(2), plain)


def test_the_generator_alone_decides_the_landmarks():
    softmax, rgb = frames(1, 24, torch.float32)
    assert loss_of(softmax, rgb, seed=1) == loss_of(softmax, rgb, seed=1)
    assert loss_of(softmax, rgb, seed=1) != loss_of(softmax, rgb, seed=2)


def test_autocast_changes_nothing():
    softmax, rgb = frames(1, 24, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss_of(softmax, rgb)
    assert inside == loss_of(softmax, rgb)


def test_frames_may_be_bytes_and_channels_last():
    softmax, rgb = frames(2, 12, torch.float32)
    plain = loss_of(softmax, rgb.byte().float())
    last = torch.channels_last
    got = loss_of(softmax.contiguous(memory_format=last), rgb.byte().contiguous(memory_format=last))
    torch.testing.assert_close(got, plain)


@pytest.mark.parametrize(("chunk", "kept"), [(1000, 2**23), (2**19, 1), (1000, 2 * 144 * 144)])
def test_the_result_does_not_depend_on_how_pixels_and_frames_are_divided(monkeypatch, chunk, kept):
    softmax, rgb = frames(5, 12)
    whole = loss_of(softmax, rgb)
    monkeypatch.setattr("tcam_cache.training.crf._CHUNK_CPU", chunk)
    monkeypatch.setattr("tcam_cache.training.crf._KEPT_CPU", kept)
    torch.testing.assert_close(loss_of(softmax, rgb), whole)


def test_a_landmark_is_anywhere_in_its_cell():
    generator = torch.Generator().manual_seed(0)
    drawn = torch.cat([jittered_grid(2, 3, 1, generator) for _ in range(3000)])
    assert chisquare(drawn.bincount(minlength=6).numpy()).pvalue > 1e-3


def test_the_filter_never_waits_for_its_device():
    # A meta tensor has no values: whatever needs one on the host fails.
    softmax, rgb = (one.to("meta") for one in frames(2, 12, torch.float32))
    values = softmax.flatten(2)
    landmarks = jittered_grid(12, 12, 9, torch.Generator()).to("meta")
    assert gaussian_filter(pixel_features(rgb, 15.0, 100.0), values, landmarks).shape == values.shape


@settings(max_examples=60)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 300), st.integers(0, 9))
def test_every_cell_of_the_grid_holds_one_landmark(height, width, landmarks, seed):
    rows, columns = (min(math.isqrt(landmarks), side) for side in (height, width))
    chosen = jittered_grid(height, width, landmarks, torch.Generator().manual_seed(seed))
    y, x = chosen // width, chosen % width
    cell = torch.arange(rows * columns)
    row, column = cell // columns, cell % columns
    assert len(chosen) == rows * columns
    assert ((row * height // rows <= y) & (y < (row + 1) * height // rows)).all()
    assert ((column * width // columns <= x) & (x < (column + 1) * width // columns)).all()
