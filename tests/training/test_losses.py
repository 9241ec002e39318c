from pathlib import Path

import pytest
import torch
from torch.nn import functional

from tcam_cache.config import train_config
from tcam_cache.training import losses
from tcam_cache.training.crf import crf_loss
from tcam_cache.training.losses import partial_cross_entropy, tcam_terms
from tcam_cache.training.pseudo_labels import IGNORE
from tcam_cache.training.size import size_loss


def config(**given):
    return train_config(manifest=Path("m"), cache=Path("c"), out=Path("r"), **given)


def batch(dtype=torch.float32, size=6):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 2, size, size, generator=generator, dtype=torch.float64).to(dtype)
    rgb = 255 * torch.rand(2, 3, size, size, generator=generator, dtype=torch.float64).to(dtype)
    labels = torch.full((2, size, size), IGNORE)
    labels[0, 1, 2], labels[0, 3, 3], labels[1, 0, 0] = 1, 0, 0
    return logits, labels, rgb


def terms(logits, labels, rgb, settings, t=1.5):
    return tcam_terms(logits, labels, rgb, settings, t, torch.Generator().manual_seed(3))


def refuse(*_args, **_kwargs):
    raise AssertionError("a term that is off was computed")


def test_the_batch_mean_is_that_of_cross_entropy_with_an_ignored_label():
    logits, labels, _ = batch()
    expected = functional.cross_entropy(logits, labels, ignore_index=IGNORE)
    torch.testing.assert_close(partial_cross_entropy(logits, labels, "batch-mean"), expected)


def test_the_frame_sum_adds_a_frames_pixels_and_means_over_frames():
    logits, labels, _ = batch()
    total = functional.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="sum")
    torch.testing.assert_close(partial_cross_entropy(logits, labels, "frame-sum"), total / 2)


def test_a_background_pixel_is_pulled_towards_background():
    logits = torch.zeros(1, 2, 1, 2, requires_grad=True)
    labels = torch.tensor([[[0, 1]]])
    (slope,) = torch.autograd.grad(partial_cross_entropy(logits, labels, "frame-sum"), logits)
    assert slope.flatten(1).tolist() == [[-0.5, 0.5, 0.5, -0.5]]


@pytest.mark.parametrize("average", ["batch-mean", "frame-sum"])
def test_a_batch_without_labels_gives_exactly_zero_and_no_gradient(average):
    logits = torch.randn(2, 2, 3, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = partial_cross_entropy(logits, torch.full((2, 3, 3), IGNORE), average)
    loss.backward()
    assert loss.item() == 0.0
    assert logits.grad.abs().max() == 0.0


def test_the_loss_stays_finite_where_the_decoder_is_sure_and_wrong():
    logits = torch.tensor([[[[500.0]], [[-500.0]]]], requires_grad=True)
    loss = partial_cross_entropy(logits, torch.tensor([[[1]]]), "batch-mean")
    loss.backward()
    assert loss.item() == 1000.0
    assert logits.grad.flatten().tolist() == [1.0, -1.0]


def test_the_terms_are_the_three_losses_with_their_weights():
    logits, labels, rgb = batch()
    settings = config(crf_weight=1e-6, asc_weight=0.5, landmarks=9, lattice_gain=0.8)
    softmax = logits.softmax(1)
    got = terms(logits, labels, rgb, settings)
    assert list(got) == ["cross_entropy", "crf", "size"]
    torch.testing.assert_close(got["cross_entropy"], partial_cross_entropy(logits, labels, "batch-mean"))
    torch.testing.assert_close(got["size"], 0.5 * size_loss(softmax, 1.5))
    expected = crf_loss(
        softmax, rgb, weight=1e-6, gain=0.8, landmarks=9, generator=torch.Generator().manual_seed(3)
    )
    torch.testing.assert_close(got["crf"], expected)


@pytest.mark.parametrize("average", ["batch-mean", "frame-sum"])
def test_the_average_of_the_cross_entropy_is_that_of_the_config(average):
    logits, labels, rgb = batch()
    got = terms(logits, labels, rgb, config(cross_entropy=average))
    assert got["cross_entropy"] == partial_cross_entropy(logits, labels, average)


@pytest.mark.parametrize("no_crf", [{"crf": False}, {"crf_weight": 0.0}])
@pytest.mark.parametrize("no_asc", [{"asc": False}, {"asc_weight": 0.0}])
def test_a_term_that_is_off_or_weighs_nothing_is_not_computed(monkeypatch, no_crf, no_asc):
    whole = terms(*batch(), config())
    with monkeypatch.context() as patch:
        patch.setattr(losses, "size_loss", refuse)
        without_size = terms(*batch(), config(**no_asc))
    monkeypatch.setattr(losses, "crf_loss", refuse)
    without_crf = terms(*batch(), config(**no_crf))
    assert list(without_size) == ["cross_entropy", "crf"] and list(without_crf) == ["cross_entropy", "size"]
    # The others are what they are beside it.
    assert all(value == whole[name] for name, value in {**without_size, **without_crf}.items())
    monkeypatch.setattr(losses, "size_loss", refuse)
    assert list(terms(*batch(), config(**no_crf, **no_asc))) == ["cross_entropy"]


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_logits_under_autocast_lose_nothing_more(half):
    logits, labels, rgb = batch(size=24)
    rounded = logits.to(half)
    exact = terms(rounded.float(), labels, rgb, config())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = terms(rounded, labels, rgb, config())
    assert all(got[name].dtype == torch.float32 for name in got)
    assert all(torch.equal(got[name], exact[name]) for name in exact)


@pytest.mark.parametrize("average", ["batch-mean", "frame-sum"])
def test_the_gradient_of_the_whole_loss_is_its_derivative(average):
    logits, labels, rgb = batch(torch.float64, size=4)
    settings = config(crf_weight=1e-7, asc_weight=0.3, landmarks=9, cross_entropy=average)

    def loss(logits):
        return sum(terms(logits, labels, rgb, settings).values())

    assert torch.autograd.gradcheck(loss, logits.requires_grad_())


def test_every_term_takes_the_gradient_back_to_the_logits():
    logits, labels, rgb = batch()
    logits.requires_grad_()
    for term in terms(logits, labels, rgb, config()).values():
        (slope,) = torch.autograd.grad(term, logits, retain_graph=True)
        assert slope.abs().max() > 0
