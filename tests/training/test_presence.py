"""Tests of the fit of presence: hand-worked, against brute force, and on clusters that are easy."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from tcam_cache.training.presence import (
    PENALTY,
    LeftOut,
    auroc,
    calibrated,
    fit_presence,
    precision_and_recall,
    ridge,
)
from tcam_cache.training.probe import frame_weights

LABELS = np.repeat([0, 1, 2], 6)
VIDEOS = np.array([f"{tag}{number // 2}" for tag in "abc" for number in range(6)])
NOTHING = np.zeros((2, 3))


def clusters(noise=0.3):
    generator = np.random.default_rng(0)
    return 3 * np.eye(3)[LABELS] + noise * generator.standard_normal((18, 3))


def of(presence, evidence):
    return presence.of(torch.from_numpy(evidence).float()[:, :, None, None]).numpy()


def test_frames_of_a_tag_have_presence_near_one_and_others_and_nothing_near_zero():
    presence = fit_presence(clusters(), LABELS, VIDEOS, NOTHING, None)
    own = np.eye(3, dtype=bool)[LABELS]
    found = of(presence, clusters())
    assert found[own].min() > 0.7 and found[~own].max() < 0.2
    assert of(presence, NOTHING).max() < 0.3
    assert presence.scores["presence_auroc"] == 100
    assert presence.scores["presence_precision"] == presence.scores["presence_recall"] == 100


def test_ridge_equals_the_gradient_of_its_objective_at_zero():
    evidence = clusters()
    weight, bias = (torch.tensor(one, requires_grad=True) for one in ridge(evidence, LABELS, VIDEOS, NOTHING))
    found = np.concatenate([evidence, NOTHING])
    tags = np.concatenate([LABELS, [3, 3]])
    shares = frame_weights(tags, np.concatenate([VIDEOS, ["none"] * 2]))
    shares = shares / shares.sum()
    deviation = np.sqrt(shares @ (found - shares @ found) ** 2)
    residuals = torch.from_numpy(found) @ weight.T + bias - torch.from_numpy(np.eye(4)[tags])
    loss = (torch.from_numpy(shares)[:, None] * residuals**2).sum()
    loss = loss + 3 * PENALTY * ((weight * torch.from_numpy(deviation)) ** 2).sum()
    for gradient in torch.autograd.grad(loss, (weight, bias)):
        torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-12, rtol=0)


def test_evidence_that_never_varies_has_no_weight():
    evidence = np.column_stack([clusters(), np.full(18, 0.1)])
    weight, _ = ridge(evidence, LABELS, VIDEOS, np.full((2, 4), 0.1))
    assert np.isfinite(weight).all() and np.abs(weight[:, 3]).max() < 1e-9


def test_what_a_video_alone_in_its_tag_is_like_is_learned_and_not_scored():
    kept = (LABELS != 2) | (VIDEOS == "c0")
    presence = fit_presence(clusters()[kept], LABELS[kept], VIDEOS[kept], NOTHING, None)
    assert presence.weight.shape == (4, 3) and of(presence, clusters())[LABELS == 2, 2].min() > 0.5


@pytest.mark.parametrize("kept", [VIDEOS == "", np.isin(VIDEOS, ["a0", "a1"])], ids=["none", "one tag"])
def test_where_fewer_than_two_tags_can_be_left_out_there_is_no_presence(kept):
    alone = kept | np.isin(VIDEOS, ["a0", "b0", "c0"])
    assert fit_presence(clusters()[alone], LABELS[alone], VIDEOS[alone], NOTHING, None) is None


def test_the_same_frames_give_the_same_bits_and_every_fold_is_told():
    told = []
    one, other = (
        fit_presence(clusters(), LABELS, VIDEOS, NOTHING, None, on_fold=lambda: told.append(1)) for _ in "ab"
    )
    assert torch.equal(one.weight, other.weight) and one[3:] == other[3:] and len(told) == 2 * 3


def left_out(margins, own):
    margins, own = np.array(margins, float)[:, None], np.array(own, bool)[:, None]
    return LeftOut(margins, own, np.where(own, 0.5 / own.sum(), 0.5 / (~own).sum()))


def test_margins_that_say_nothing_give_one_half():
    slope, offset = calibrated(left_out([0, 0, 0, 0, 0, 0], [1, 0, 0, 1, 0, 0]))
    assert 1 / (1 + np.exp(-offset)) == pytest.approx((3 / 4 + 1 / 6) / 2, abs=1e-3) and np.isfinite(slope)


def test_precision_and_recall_count_what_is_at_least_half_present_with_its_weight():
    left = left_out([0] * 5, [1, 1, 0, 0, 0])
    values = np.array([[0.9], [0.49], [0.5], [0.1], [0.2]])
    # A half of what is there is kept, and a third of what is not: 0.25 against 0.5 / 3.
    assert precision_and_recall(values, left) == (pytest.approx(0.25 / (0.25 + 0.5 / 3)), 0.5)
    assert precision_and_recall(np.zeros((5, 1)), left) == (0.0, 0.0)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=12))
def test_auroc_is_scikit_learns(pairs):
    margins, own = (np.array(column) for column in zip(*pairs, strict=True))
    if own.any() and not own.all():
        assert auroc(left_out(margins, own)) == pytest.approx(roc_auc_score(own, margins))
