from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch.nn import functional

from tcam_cache.config import train_config
from tcam_cache.config.train import PRESETS
from tcam_cache.models import Decoder
from tcam_cache.training import SINGLE_PROCESS, Ranks, losses
from tcam_cache.training.crf import crf_loss
from tcam_cache.training.crf_colour import colour_crf_loss
from tcam_cache.training.losses import partial_cross_entropy, shared_terms, size_loss, tcam_terms
from tcam_cache.training.pseudo_labels import IGNORE, draw_pseudo_labels


def config(preset="recommended", **given):
    return train_config(preset, manifest=Path("m"), cache=Path("c"), out=Path("r"), **given)


def batch(dtype=torch.float32, size=6):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 2, size, size, generator=generator, dtype=torch.float64).to(dtype)
    rgb = 255 * torch.rand(2, 3, size, size, generator=generator, dtype=torch.float64).to(dtype)
    labels = torch.full((2, size, size), IGNORE)
    labels[0, 1, 2], labels[0, 3, 3], labels[1, 0, 0] = 1, 0, 0
    return logits, labels, rgb


def terms(logits, labels, rgb, config, t=1.5, clips=None):
    clips = torch.arange(len(logits)) if clips is None else clips
    return tcam_terms(logits, labels, rgb, clips, config, t, torch.Generator().manual_seed(3))


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


@pytest.mark.parametrize(
    ("average", "reduction", "share"), [("batch-mean", "mean", 1), ("frame-sum", "sum", 3)]
)
@settings(max_examples=40)
@given(
    labels=hnp.arrays(np.int64, (3, 4, 5), elements=st.sampled_from([0, 1, IGNORE])), seed=st.integers(0, 9)
)
def test_value_and_gradient_are_those_of_a_dense_loss_with_ignored_pixels(
    labels, seed, average, reduction, share
):
    labels = torch.from_numpy(labels)
    labels[0, 0, 0] = 1  # the dense loss is NaN where nothing is labelled
    generator = torch.Generator().manual_seed(seed)
    logits = (5 * torch.randn(3, 2, 4, 5, generator=generator, dtype=torch.float64)).requires_grad_()
    dense = functional.cross_entropy(logits, labels, ignore_index=IGNORE, reduction=reduction) / share
    partial = partial_cross_entropy(logits, labels, average)
    torch.testing.assert_close(partial, dense)
    torch.testing.assert_close(*(torch.autograd.grad(loss, logits)[0] for loss in (partial, dense)))


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
    weighted = config(crf_weight=1e-6, asc_weight=0.5, landmarks=9, lattice_gain=0.8)
    softmax = logits.softmax(1)
    got = terms(logits, labels, rgb, weighted)
    assert list(got) == ["cross_entropy", "crf", "size"]
    torch.testing.assert_close(got["cross_entropy"], partial_cross_entropy(logits, labels, "batch-mean"))
    torch.testing.assert_close(got["size"], 0.5 * size_loss(softmax, 1.5))
    expected = crf_loss(
        softmax, rgb, weight=1e-6, gain=0.8, landmarks=9, generator=torch.Generator().manual_seed(3)
    )
    torch.testing.assert_close(got["crf"], expected)


def test_the_colour_term_joins_the_frames_of_a_clip_and_moves_no_other():
    logits, labels, rgb = batch()
    given = {"crf_weight": 1e-6, "landmarks": 18, "lattice_gain": 0.8}
    together = config(colour_crf_weight=3e-6, frames_together=2, **given)
    whole, clips = terms(logits, labels, rgb, config(**given)), torch.tensor([5, 5])
    got = terms(logits, labels, rgb, together, clips=clips)
    assert list(got) == ["cross_entropy", "crf", "colour_crf", "size"]
    assert all(torch.equal(got[name], whole[name]) for name in whole)
    alone = terms(logits, labels, rgb, replace(together, crf=False, asc=False), clips=clips)
    assert list(alone) == ["cross_entropy", "colour_crf"]
    expected = colour_crf_loss(
        logits.softmax(1), rgb, clips, weight=3e-6, gain=0.8, landmarks=18,
        generator=torch.Generator().manual_seed(3),
    )  # fmt: skip
    torch.testing.assert_close(alone["colour_crf"], expected)


def test_the_adaptive_colour_term_has_its_weight_and_half_of_it_where_it_is_half_warm():
    logits, labels, rgb = batch()
    adaptive = config(colour_crf="adaptive", colour_crf_weight=4.0, frames_together=2, landmarks=18)
    clips, slopes = torch.tensor([5, 5]), []
    for warmth in (1.0, 0.5, 0.0):
        generator = torch.Generator().manual_seed(3)
        got = tcam_terms(logits.requires_grad_(), labels, rgb, clips, adaptive, 1.5, generator, warmth)
        assert list(got) == ["cross_entropy", "crf", "colour_crf", "size"]
        assert got["colour_crf"].item() == -4.0 * warmth
        slopes.append(torch.autograd.grad(got["colour_crf"], logits)[0])
    assert slopes[0].abs().max() > 0 == slopes[2].abs().max()
    torch.testing.assert_close(slopes[1], slopes[0] / 2)


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
    monkeypatch.setattr(losses, "colour_crf_loss", refuse)
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
    weighted = config(crf_weight=1e-7, asc_weight=0.3, landmarks=9, cross_entropy=average)

    def loss(logits):
        return sum(terms(logits, labels, rgb, weighted).values())

    assert torch.autograd.gradcheck(loss, logits.requires_grad_())


@pytest.mark.parametrize("preset", list(PRESETS))
def test_from_features_and_drawn_labels_the_gradient_of_the_whole_loss_is_its_derivative(preset):
    torch.manual_seed(0)
    decoder = Decoder((2, 3), width=0.5).double().eval()
    features = [torch.randn(2, 2, 4, 4).double(), torch.randn(2, 3, 2, 2).double()]
    _, _, rgb = batch(torch.float64, size=8)
    weighted = config(preset=preset, crf_weight=1e-8, asc_weight=0.3, landmarks=16)
    sampling = {name: getattr(weighted, name) for name in ("fg_top", "bg_low", "pixels", "dilate")}
    cams = torch.rand(2, 8, 8, generator=torch.Generator().manual_seed(1)) ** 3
    labels = draw_pseudo_labels(cams, torch.tensor([4, 5]), **sampling).labels

    def loss(weight, bias):
        logits = torch.func.functional_call(
            decoder, {"head.weight": weight, "head.bias": bias}, (features, rgb / 255)
        )
        return sum(terms(logits, labels, rgb, weighted).values())

    assert torch.autograd.gradcheck(loss, (decoder.head.weight, decoder.head.bias))


def test_every_term_takes_the_gradient_back_to_the_logits():
    logits, labels, rgb = batch()
    logits.requires_grad_()
    for term in terms(logits, labels, rgb, config()).values():
        (slope,) = torch.autograd.grad(term, logits, retain_graph=True)
        assert slope.abs().max() > 0


class OfKnownTotal(Ranks):
    """A rank that knows what all have together: labelled pixels, frames, and clips of several."""

    def __init__(self, rank, size, known=(3, 2, 0)):
        super().__init__(rank, size)
        self.known = known

    def total(self, value):
        assert value.shape == (3,)
        return torch.tensor(self.known)


@pytest.mark.parametrize("average", ["batch-mean", "frame-sum"])
@pytest.mark.parametrize("shares", [(slice(0, 1), slice(1, 2)), (slice(0, 2), slice(2, 2))])
def test_terms_and_gradients_of_the_ranks_shares_add_up_to_those_of_the_batch(average, shares):
    logits, labels, rgb = batch(torch.float64)  # two labelled pixels in its first frame, one in the other
    settings = config(cross_entropy=average, crf_weight=1e-3)
    whole = terms(logits.requires_grad_(), labels, rgb, settings)
    (slope,) = torch.autograd.grad(sum(whole.values()), logits)
    summed, slopes = dict.fromkeys(whole, 0.0), torch.zeros_like(logits)
    for rank, share in enumerate(shares):
        own = terms(logits[share], labels[share], rgb[share], settings) if len(labels[share]) else {}
        clips = torch.arange(len(logits))[share]
        own = shared_terms(own, labels[share], clips, settings, OfKnownTotal(rank, 2))
        if own:
            slopes += torch.autograd.grad(sum(own.values()), logits)[0]
        summed = {name: value + own.get(name, 0.0) for name, value in summed.items()}
    torch.testing.assert_close(summed, whole, rtol=1e-6, atol=0)
    torch.testing.assert_close(slopes, slope, rtol=1e-6, atol=1e-12)


def test_the_terms_of_one_process_alone_stay_as_they_are():
    logits, labels, rgb = batch()
    whole = terms(logits, labels, rgb, config())
    assert shared_terms(whole, labels, torch.arange(2), config(), SINGLE_PROCESS) is whole


@pytest.mark.parametrize("share", [3, 5])
def test_the_adaptive_colour_terms_of_the_ranks_add_up_to_the_mean_over_all_clips(share):
    clips = torch.tensor([1, 1, 2, 3, 3])  # the frame in the middle is alone
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(5, 2, 4, 4, generator=generator, dtype=torch.float64).requires_grad_()
    rgb, labels = 40 * torch.rand(5, 3, 4, 4, generator=generator).double(), torch.ones(5, 4, 4).long()
    given = config(colour_crf="adaptive", colour_crf_weight=4.0, frames_together=2, crf=False, asc=False)
    whole = terms(logits, labels, rgb, given, clips=clips)["colour_crf"]
    total = 0.0
    for rank, part in enumerate((slice(0, share), slice(share, 5))):
        own = (
            terms(logits[part], labels[part], rgb[part], given, clips=clips[part]) if len(clips[part]) else {}
        )
        ranks = OfKnownTotal(rank, 2, known=(80, 5, 2))
        total = total + shared_terms(own, labels[part], clips[part], given, ranks).get("colour_crf", 0.0)
    assert total.item() == pytest.approx(whole.item()) == -4.0
    slopes = [torch.autograd.grad(one, logits)[0] for one in (total, whole)]
    torch.testing.assert_close(*slopes, rtol=1e-6, atol=1e-12)
