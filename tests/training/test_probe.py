"""Tests of the linear probe: against autograd, repeated frames and hand-worked videos."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot

from tcam_cache.errors import ManifestError, WeightsError
from tcam_cache.training.probe import (
    FOLDS,
    STRENGTHS,
    UNCHOSEN,
    fit_probe,
    frame_weights,
    linear_heads,
    video_folds,
)

LOSSES = ("cross-entropy", "one-vs-rest")
# Three classes of 2, 1 and 3 videos of 1 to 4 frames.
FRAMES_OF = {"a1": (0, 1), "a2": (0, 2), "b1": (1, 3), "c1": (2, 1), "c2": (2, 4), "c3": (2, 2)}
LABELS = np.array([tag for tag, frames in FRAMES_OF.values() for _ in range(frames)])
VIDEOS = np.array([name for name, (_, frames) in FRAMES_OF.items() for _ in range(frames)])


def noisy_features(seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(3, 5))
    return (centres[LABELS] + rng.normal(size=(len(LABELS), 5))) * [1, 10, 0.1, 1, 3] + [0, 5, 0, -2, 1]


def clusters(videos=3, frames=2, spread=0.1):
    """Return the features, labels and videos of three classes far apart, each on an axis of its own."""
    labels = np.repeat(np.arange(3), videos * frames)
    names = np.array([f"{tag}{number // frames}" for tag in "abc" for number in range(videos * frames)])
    noise = np.random.default_rng(1).normal(scale=spread, size=(len(labels), 3))
    return np.eye(3)[labels] * 4 + noise, labels, names


@pytest.mark.parametrize("loss", LOSSES)
def test_classes_far_apart_are_told_apart_on_videos_that_were_left_out(loss):
    features, labels, videos = clusters()
    probe = fit_probe(features, labels, videos, loss=loss)
    assert (probe.logits(features).argmax(1) == labels).all()
    assert probe.accuracy == 1 and probe.strength in STRENGTHS
    assert (probe.weight.shape, probe.bias.shape) == ((3, 3), (3,))


@pytest.mark.parametrize("loss", LOSSES)
def test_a_head_is_where_the_gradient_of_weighted_loss_and_penalty_vanishes(loss):
    features, strength = noisy_features(), 0.3
    counts = torch.from_numpy(frame_weights(LABELS, VIDEOS))
    mean, std = np.average(features, 0, counts), None
    std = np.sqrt(np.average((features - mean) ** 2, 0, counts))
    ((weight, bias),) = linear_heads(features, LABELS, VIDEOS, (strength,), loss)
    of_standard = torch.from_numpy(weight * std).requires_grad_()
    at_mean = torch.from_numpy(bias + weight @ mean).requires_grad_()
    logits = torch.from_numpy((features - mean) / std) @ of_standard.T + at_mean
    labels = torch.from_numpy(LABELS)
    if loss == "cross-entropy":
        losses = cross_entropy(logits, labels, reduction="none")
    else:
        target = one_hot(labels).double()
        losses = binary_cross_entropy_with_logits(logits, target, reduction="none").sum(1)
    ((counts * losses).sum() * strength + of_standard.square().sum() / 2).backward()
    assert of_standard.detach().norm() > 0.1
    assert of_standard.grad.abs().max() < 1e-3 and at_mean.grad.abs().max() < 1e-3


@pytest.mark.parametrize("loss", LOSSES)
def test_weights_do_what_repeating_frames_would(loss):
    features = noisy_features()
    # Class shares of 72: each video's share among its frames. One video a frame then, so all count the same.
    times = np.array([{"a1": 36, "a2": 18, "b1": 24, "c1": 24, "c2": 6, "c3": 12}[name] for name in VIDEOS])
    assert [int(times[tag == LABELS].sum()) for tag in range(3)] == [72] * 3
    rows = np.repeat(np.arange(len(LABELS)), times)
    each_its_own = np.array([f"{number:03d}" for number in range(len(rows))])
    # The penalty is for as many videos as there are: 216 against 6.
    repeated = linear_heads(features[rows], LABELS[rows], each_its_own, (0.1 * 6 / 216,), loss)
    ((weight, bias),), ((ours, our_bias),) = repeated, linear_heads(features, LABELS, VIDEOS, (0.1,), loss)
    assert np.abs(ours).max() > 0.01
    np.testing.assert_allclose(ours, weight, atol=1e-3)
    np.testing.assert_allclose(our_bias, bias, atol=1e-3)


def test_what_starts_from_the_strength_before_ends_where_a_fresh_fit_does():
    path = list(linear_heads(noisy_features(), LABELS, VIDEOS, STRENGTHS, "cross-entropy"))
    (fresh,) = linear_heads(noisy_features(), LABELS, VIDEOS, STRENGTHS[-1:], "cross-entropy")
    np.testing.assert_allclose(path[-1][0], fresh[0], atol=0.02 * np.abs(fresh[0]).max())
    assert np.all(np.diff([np.abs(weight).sum() for weight, _ in path]) > 0)


@pytest.mark.parametrize("loss", LOSSES)
def test_of_two_classes_one_logit_is_the_other_turned_round(loss):
    features, labels, videos = (values[:12] for values in clusters())
    probe = fit_probe(features, labels, videos, loss=loss)
    assert (probe.logits(features).argmax(1) == labels).all()
    np.testing.assert_allclose(probe.logits(features).sum(1), 0, atol=1e-3)


def test_a_tag_that_hides_behind_what_all_classes_share_gets_a_weaker_penalty():
    labels, videos = np.repeat([0, 1], 10), np.array([f"{number // 2:02d}" for number in range(20)])
    shared = np.random.default_rng(0).normal(size=20)
    hidden = np.column_stack([shared + labels, shared])
    found = fit_probe(hidden, labels, videos)
    assert found.accuracy == 1 and found.strength > fit_probe(*clusters(videos=5)).strength


@pytest.mark.parametrize("loss", LOSSES)
def test_a_head_is_as_sure_as_its_left_out_videos_are_right(loss):
    # In each class two videos of ten look like the other: four of five are right, and so sure are the logits.
    labels, videos = np.repeat([0, 1], 10), np.array([f"{number:02d}" for number in range(20)])
    looks = labels ^ np.isin(np.arange(20) % 10, [0, 6])
    probe = fit_probe(looks[:, None].astype(float), labels, videos, loss=loss)
    logits = torch.from_numpy(probe.logits(np.array([[0.0], [1.0]])))
    sure = logits.softmax(1) if loss == "cross-entropy" else logits.sigmoid()
    assert probe.accuracy == pytest.approx(0.8)
    np.testing.assert_allclose(sure.diag(), 0.8, atol=0.04)


def test_the_accuracy_counts_videos_and_not_frames():
    # "b3" looks like class 0 in all of its nine frames; the other five videos have one each.
    names = ["a1", "a2", "a3", "b1", "b2", *["b3"] * 9]
    features = np.array([0.0, 0.2, 0.4, 5.0, 5.2, *[0.3] * 9])[:, None]
    labels = [0, 0, 0, 1, 1, *[1] * 9]
    assert fit_probe(features, labels, names).accuracy == pytest.approx(5 / 6)


@given(st.lists(st.integers(1, 8), min_size=2, max_size=6), st.randoms())
def test_every_video_is_left_out_once_but_the_only_one_of_its_class(videos_of_class, random):
    frames = [
        (tag, f"{tag}/{number}")
        for tag, videos in enumerate(videos_of_class)
        for number in range(videos)
        for _ in range(random.randint(1, 3))
    ]
    random.shuffle(frames)
    labels, videos = (np.array(column) for column in zip(*frames, strict=True))
    folds = video_folds(labels, videos)
    for name in set(videos):
        (fold,) = set(folds[videos == name])
        assert (fold == -1) == (videos_of_class[int(name[0])] == 1)
    left = set(folds) - {-1}
    assert left == set(range(len(left))) and len(left) <= FOLDS
    for fold in left:
        assert set(labels[folds != fold]) == set(labels), "a class is not learned"
        assert folds.tolist().count(fold) > 0
    for tag, videos_here in enumerate(videos_of_class):
        sizes = [len({*videos[(folds == fold) & (labels == tag)]}) for fold in left]
        assert videos_here == 1 or max(sizes) - min(sizes) <= 1


def test_without_a_class_of_two_videos_the_strength_is_the_default_and_no_accuracy_is_claimed():
    features, labels, _ = clusters(videos=1)
    probe = fit_probe(features, labels, np.array(["a", "a", "b", "b", "c", "c"]))
    assert (probe.strength, probe.accuracy) == (UNCHOSEN, None)
    assert (probe.logits(features).argmax(1) == labels).all()


def test_the_only_video_of_a_class_is_learned_and_not_scored():
    features, labels, videos = clusters()
    kept = (labels != 2) | (videos == "c0")
    features[labels == 2] = 0.3  # would be wrong: it lies between the others
    assert fit_probe(features[kept], labels[kept], videos[kept]).accuracy == 1


def test_as_many_classes_as_frames_are_fitted():
    probe = fit_probe(np.eye(4), np.arange(4), np.array(list("abcd")))
    assert probe.logits(np.eye(4)).argmax(1).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("loss", LOSSES)
def test_frames_that_are_all_equal_speak_for_no_class(loss):
    _, labels, videos = clusters()
    features = np.full((len(labels), 4), 0.1)
    probe = fit_probe(features, labels, videos, loss=loss)
    assert np.isfinite(probe.weight).all() and np.isfinite(probe.bias).all()
    np.testing.assert_allclose(np.ptp(probe.logits(features), axis=1), 0, atol=1e-3)


def test_a_feature_that_never_varies_has_no_weight():
    features, labels, videos = clusters()
    probe = fit_probe(np.column_stack([features, np.full(len(labels), 0.1)]), labels, videos)
    assert np.abs(probe.weight[:, -1]).max() < 1e-6 < np.abs(probe.weight[:, 0]).max()


def test_features_that_are_not_finite_are_refused_with_their_videos():
    features, labels, videos = clusters()
    features[videos == "b1", 2] = np.nan
    features[0, 0] = np.inf
    with pytest.raises(WeightsError, match=r"features of 3 of 18 frames are not finite") as caught:
        fit_probe(features, labels, videos)
    assert caught.value.offenders == ("a0", "b1")


@pytest.mark.parametrize(
    ("labels", "offenders"), [([0, 0, 2, 2], ("class 1: no frame",)), ([0, 0, 0, 0], ())]
)
def test_a_class_without_a_frame_or_without_another_is_refused(labels, offenders):
    with pytest.raises(ManifestError, match="expected two classes or more") as caught:
        fit_probe(np.zeros((4, 1)), labels, list("abcd"))
    assert caught.value.offenders == offenders


def test_the_same_frames_give_the_same_bits_and_every_fold_is_told():
    features, told = noisy_features(), []
    probes = [fit_probe(features, LABELS, VIDEOS, on_fold=lambda: told.append(1)) for _ in range(2)]
    assert np.array_equal(probes[0].weight, probes[1].weight) and probes[0][2:] == probes[1][2:]
    assert len(told) == 2 * 3
