"""The linear probe: a regularised linear head on pooled features, chosen by leaving videos out."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tcam_cache.errors import ManifestError, WeightsError

# scikit-learn's C, the inverse of the penalty, from strong to weak; what is taken where no video can be left
# out is strong, as what forty real videos choose.
STRENGTHS = tuple(10.0 ** (step / 2) for step in range(-8, 3))
UNCHOSEN = 1e-3
FOLDS = 5


class Probe(NamedTuple):
    """A linear head, and how it was chosen.

    Attributes:
        weight: (C, K) float64, for features as they are: the standardisation is in it.
        bias: (C,) float64.
        strength: C of the regularisation, one of `STRENGTHS`.
        accuracy: mean over left-out videos of the share of their frames that are classified right, in [0, 1];
            None if no video could be left out.
    """

    weight: np.ndarray
    bias: np.ndarray
    strength: float
    accuracy: float | None

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Return the (N, C) decision function of (N, K) features."""
        return features @ self.weight.T + self.bias


def fit_probe(
    features: np.ndarray,
    labels: Sequence[int] | np.ndarray,
    videos: Sequence[str] | np.ndarray,
    *,
    loss: str = "cross-entropy",
    on_fold: Callable[[], object] = lambda: None,
) -> Probe:
    """Fit an L2-regularised logistic regression to the tags of frames; all classes weigh the same.

    Its strength is that of `STRENGTHS` with the least loss on left-out videos, each of which counts once. The
    loss decides and not the accuracy, which is equal for many strengths where videos are few. It is that of
    calibrated logits: a strong penalty may order classes best and still leave all of them near even. The head
    is scaled in the same way, which changes neither its order of classes nor a CAM.

    Args:
        features: (N, K) pooled features, floating point.
        labels: (N,) class of each frame, 0..C-1.
        videos: (N,) name of each frame's video; a video has one class.
        loss: "cross-entropy" is multinomial, "one-vs-rest" a logistic regression a class.
        on_fold: called after each fold of `video_folds`.

    Raises:
        ManifestError: there are fewer than two classes, or some have no frame.
        WeightsError: features are not finite; their videos are named.

    >>> features = np.array([[0.0], [1.0], [8.0], [9.0]])
    >>> probe = fit_probe(features, [0, 0, 1, 1], ["a1", "a2", "b1", "b2"])
    >>> probe.logits(features).argmax(1).tolist(), probe.accuracy
    ([0, 0, 1, 1], 1.0)
    """
    features, labels, videos = np.asarray(features, np.float64), np.asarray(labels), np.asarray(videos)
    _check(features, labels, videos)
    chosen = _chosen(features, labels, videos, loss, on_fold)
    ((weight, bias),) = linear_heads(features, labels, videos, (chosen.strength,), loss)
    return Probe(chosen.scale * weight, chosen.scale * bias + chosen.shift, chosen.strength, chosen.accuracy)


def video_folds(labels: np.ndarray, videos: np.ndarray) -> np.ndarray:
    """Return the fold in which each frame is left out: at most `FOLDS`, whole videos, classes spread evenly.

    Args:
        labels: (N,) class of each frame.
        videos: (N,) name of each frame's video.

    Returns:
        (N,) int64 from 0; -1 for the only video of a class, which cannot be left out.

    >>> video_folds(np.array([0, 0, 0, 1, 2, 2]), np.array(["a", "b", "b", "c", "d", "e"])).tolist()
    [0, 1, 1, -1, 0, 1]
    """
    names, first, of_frame = np.unique(videos, return_index=True, return_inverse=True)
    tags = labels[first]
    most, placed = min(FOLDS, int(np.bincount(tags).max())), 0
    folds = np.full(len(names), -1)
    for tag in np.unique(tags):
        own = np.flatnonzero(tags == tag)
        if len(own) > 1:
            folds[own] = (placed + np.arange(len(own))) % most
            placed += len(own)
    return folds[of_frame]


def frame_weights(labels: np.ndarray, videos: np.ndarray) -> np.ndarray:
    """Return weights under which classes count the same, in each its videos, and in each video its frames.

    Args:
        labels: (N,) class of each frame.
        videos: (N,) name of each frame's video.

    Returns:
        (N,) float64; their sum is the number of videos: more frames of a video do not weaken the penalty.

    >>> frame_weights(np.array([0, 0, 0, 1]), np.array(["a", "b", "b", "c"])).tolist()
    [0.75, 0.375, 0.375, 1.5]
    """
    names, first, of_frame, frames = np.unique(
        videos, return_index=True, return_inverse=True, return_counts=True
    )
    of_class = np.bincount(labels[first])
    share = len(names) / np.count_nonzero(of_class)
    return share / (of_class[labels] * frames[of_frame])


def linear_heads(
    features: np.ndarray, labels: np.ndarray, videos: np.ndarray, strengths: Sequence[float], loss: str
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the head of each strength, fitted to standardised features: weight (C, K) and bias (C,), float64.

    Each starts from the one before, so that rising strengths are fast.

    Args:
        features: (N, K) float64.
        labels: (N,) class of each frame; each of 0..C-1 occurs.
        videos: (N,) name of each frame's video.
        strengths: C of the regularisation.
        loss: "cross-entropy" or "one-vs-rest".
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    counts, classes = frame_weights(labels, videos), int(labels.max()) + 1
    # What never varies is left as it is: its scale is 1.
    scaler = StandardScaler().fit(features, sample_weight=counts)
    standard = scaler.transform(features)
    targets = [labels == tag for tag in range(classes)] if loss == "one-vs-rest" else [labels]
    models = [LogisticRegression(tol=1e-5, max_iter=10_000, warm_start=True) for _ in targets]
    for strength in strengths:
        for model, target in zip(models, targets, strict=True):
            model.set_params(C=strength).fit(standard, target, sample_weight=counts)
        weight = np.concatenate([model.coef_ for model in models])
        bias = np.concatenate([model.intercept_ for model in models])
        if len(weight) < classes:  # of two classes, the log-odds of the second
            weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
        weight = weight / np.asarray(scaler.scale_)
        yield weight, bias - weight @ np.asarray(scaler.mean_)


class _Choice(NamedTuple):
    """A strength, what it gave on left-out videos, and what makes its logits as sure as those allow."""

    loss: float
    accuracy: float | None
    strength: float
    scale: float
    shift: float


def _chosen(
    features: np.ndarray, labels: np.ndarray, videos: np.ndarray, loss: str, on_fold: Callable[[], object]
) -> _Choice:
    """Return the strength with the least loss on left-out videos, once its logits are calibrated on them."""
    folds = video_folds(labels, videos)
    left = folds >= 0
    if not left.any():
        return _Choice(math.inf, None, UNCHOSEN, 1.0, 0.0)
    logits = np.zeros((len(STRENGTHS), len(labels), labels.max() + 1))
    for fold in range(folds.max() + 1):
        out, kept = folds == fold, folds != fold
        heads = linear_heads(features[kept], labels[kept], videos[kept], STRENGTHS, loss)
        for row, (weight, bias) in enumerate(heads):
            logits[row, out] = features[out] @ weight.T + bias
        on_fold()
    _, of_frame, frames = np.unique(videos[left], return_inverse=True, return_counts=True)
    own = np.arange(logits.shape[2]) == labels[left][:, None]
    # As if one more video were of any class: logits of videos that are all right stay finite.
    targets = (own * len(frames) + 1 / own.shape[1]) / (len(frames) + 1)
    each = 1 / (len(frames) * frames[of_frame])
    choices = []
    for strength, scores in zip(STRENGTHS, logits[:, left], strict=True):
        right = np.bincount(of_frame, scores.argmax(1) == labels[left]) / frames
        least, scale, shift = _calibrated(scores, targets, each, loss)
        choices.append(_Choice(least, float(right.mean()), strength, scale, shift))
    return min(choices)


def _calibrated(
    logits: np.ndarray, targets: np.ndarray, each: np.ndarray, loss: str
) -> tuple[float, float, float]:
    """Return the least loss of scale x logits + shift, the scale and the shift (after Platt 1999).

    Args:
        logits: (N, C).
        targets: (N, C) probabilities.
        each: (N,) weights of the frames.
        loss: "cross-entropy" or "one-vs-rest".
    """
    # Slow to import: half a second that only a fit needs.
    from scipy.optimize import minimize
    from scipy.special import logsumexp

    spread = float(logits.std()) or 1.0

    def moved(point: np.ndarray) -> tuple[float, float]:
        """Return scale and shift of a point around the origin."""
        return math.exp(min(max(point[0], -20.0), 20.0)) / spread, float(point[1])

    def mean_loss(point: np.ndarray) -> float:
        """Return the loss at a point."""
        scale, shift = moved(point)
        scores = scale * logits + shift
        if loss == "one-vs-rest":
            return float((np.logaddexp(0, scores) - targets * scores).sum(1) @ each)
        return float((logsumexp(scores, axis=1) - (targets * scores).sum(1)) @ each)

    optimum = minimize(mean_loss, np.zeros(2))
    return float(optimum.fun), *moved(optimum.x)


def _check(features: np.ndarray, labels: np.ndarray, videos: np.ndarray) -> None:
    classes = int(labels.max(initial=-1)) + 1
    absent = sorted(set(range(classes)) - set(labels.tolist()))
    if classes < 2 or absent:
        raise ManifestError(
            f"got {len(labels)} frames of {classes - len(absent)} of {classes} classes; expected two classes "
            "or more, with a frame of each. Give frames of all.",
            [f"class {number}: no frame" for number in absent],
        )
    broken = ~np.isfinite(features).all(1)
    if broken.any():
        raise WeightsError(
            f"the backbone's features of {broken.sum()} of {len(labels)} frames are not finite. Give "
            "--weights that hold neither NaN nor infinity.",
            sorted(set(videos[broken].tolist())),
        )
