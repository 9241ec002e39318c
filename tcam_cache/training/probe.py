"""The linear probe: a regularised linear head on pooled features, chosen by leaving videos out."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp

from tcam_cache.errors import ManifestError, WeightsError

# scikit-learn's C, the inverse of the penalty, from strong to weak; in the middle, what is taken unchosen.
STRENGTHS = tuple(10.0 ** (step / 2) for step in range(-8, 3))
UNCHOSEN = STRENGTHS[len(STRENGTHS) // 2]
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
    loss decides and not the accuracy, which is equal for many strengths where videos are few.

    Args:
        features: (N, K) pooled features, floating point.
        labels: (N,) class of each frame, 0..C-1.
        videos: (N,) name of each frame's video; a video has one class.
        loss: "cross-entropy" is multinomial, "one-vs-rest" a logistic regression a class.
        on_fold: called after each of the `fold_count` folds.

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
    strength, accuracy = _chosen(features, labels, videos, loss, on_fold)
    ((weight, bias),) = linear_heads(features, labels, videos, (strength,), loss)
    return Probe(weight, bias, strength, accuracy)


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
        weight = weight / scaler.scale_
        yield weight, bias - weight @ scaler.mean_


def _chosen(
    features: np.ndarray, labels: np.ndarray, videos: np.ndarray, loss: str, on_fold: Callable[[], object]
) -> tuple[float, float | None]:
    """Return the strength with the least loss on left-out videos, and the accuracy there."""
    folds = video_folds(labels, videos)
    left = folds >= 0
    if not left.any():
        return UNCHOSEN, None
    losses, right = np.zeros((2, len(STRENGTHS), len(labels)))
    for fold in range(folds.max() + 1):
        out, kept = folds == fold, folds != fold
        heads = linear_heads(features[kept], labels[kept], videos[kept], STRENGTHS, loss)
        for row, (weight, bias) in enumerate(heads):
            logits = features[out] @ weight.T + bias
            losses[row, out] = _losses(logits, labels[out], loss)
            right[row, out] = logits.argmax(1) == labels[out]
        on_fold()
    _, of_frame, frames = np.unique(videos[left], return_inverse=True, return_counts=True)
    each = 1 / (len(frames) * frames[of_frame])
    best = int((losses[:, left] @ each).argmin())
    return STRENGTHS[best], float(right[best, left] @ each)


def _losses(logits: np.ndarray, labels: np.ndarray, loss: str) -> np.ndarray:
    """Return each frame's loss, (N,), of (N, C) logits."""
    own = np.arange(logits.shape[1]) == labels[:, None]
    if loss == "one-vs-rest":
        return np.logaddexp(0, np.where(own, -logits, logits)).sum(1)
    return logsumexp(logits, axis=1) - logits[own]


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
