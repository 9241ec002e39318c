"""Fit presence on tags alone: ridge regression on evidence, calibrated on left-out videos."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch

from tcam_cache.models.presence import Concepts, Presence, margins
from tcam_cache.training.probe import frame_weights, video_folds

# The penalty of standardised evidence, by its number of columns. On 47 real videos a third and three times as
# much cost half a point of AUROC.
PENALTY = 0.03
# Below it an object is taken for absent. One chosen on left-out videos let more of other tags pass
# where videos are few: see docs/log.md.
THRESHOLD = 0.5


class LeftOut(NamedTuple):
    """Margins of every tag on left-out frames, and what is true of them.

    Attributes:
        margins: (N, C) float64.
        own: (N, C) bool, whether it is the frame's tag.
        weights: (N, C) float64; of each tag, frames with it and frames without it weigh one half together, in
            each half videos the same; all sum to 1.
    """

    margins: np.ndarray
    own: np.ndarray
    weights: np.ndarray


def fit_presence(
    evidence: np.ndarray,
    labels: Sequence[int] | np.ndarray,
    videos: Sequence[str] | np.ndarray,
    nothing: np.ndarray,
    concepts: Concepts | None,
    *,
    on_fold: Callable[[], object] = lambda: None,
) -> Presence | None:
    """Fit what tells frames of each tag from those of others and from pictures of nothing.

    A frame's score of a tag is a ridge regression of "is it this tag" on its evidence; its margin is that
    less the highest other score; presence is a logistic function of the margin (Platt 1999), fitted to
    left-out videos as if the object were in half of the frames.

    Args:
        evidence: (N, E) of frames, floating point, finite.
        labels: (N,) class of each frame, 0..C-1; each occurs.
        videos: (N,) name of each frame's video; a video has one class.
        nothing: (P, E) of pictures without any object.
        concepts: that the evidence is of.
        on_fold: called after each fold of `video_folds`.

    Returns:
        None where fewer than two tags have two videos: nothing could be calibrated.
    """
    labels, videos = np.asarray(labels), np.asarray(videos)
    left = _left_out(np.asarray(evidence, np.float64), labels, videos, nothing, on_fold)
    if left is None:
        return None
    slope, offset = calibrated(left)
    values = 1 / (1 + np.exp(-(slope * left.margins + offset)))
    precision, recall = precision_and_recall(values, left)
    scores = {
        "presence_auroc": 100 * auroc(left),
        "presence_threshold": THRESHOLD,
        "presence_precision": 100 * precision,
        "presence_recall": 100 * recall,
    }
    weight, bias = ridge(evidence, labels, videos, nothing)
    tensors = torch.from_numpy(weight), torch.from_numpy(bias)
    return Presence(concepts, *tensors, slope, offset, THRESHOLD, scores)


def ridge(
    evidence: np.ndarray, labels: np.ndarray, videos: np.ndarray, nothing: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return weight (C + 1, E) and bias (C + 1,), float64, for evidence as it is; the last row is of nothing.

    Args:
        evidence: (N, E) of frames.
        labels: (N,) class of each frame, 0..C-1; each occurs.
        videos: (N,) name of each frame's video.
        nothing: (P, E); it counts as one more class with one video.
    """
    samples = np.concatenate([evidence, nothing]).astype(np.float64)
    classes = int(labels.max()) + 1
    tags = np.concatenate([labels, np.full(len(nothing), classes)])
    names = np.unique(videos, return_inverse=True)[1]
    shares = frame_weights(tags, np.concatenate([names, np.full(len(nothing), -1)]))
    shares = shares / shares.sum()
    mean = shares @ samples
    deviation = np.sqrt(shares @ (samples - mean) ** 2)
    # What varies by rounding alone is left as it is.
    deviation = np.where(deviation > 1e-9 * np.abs(samples).max(0, initial=0), deviation, 1)
    standard = (samples - mean) / deviation
    own = (tags[:, None] == np.arange(classes + 1)).astype(np.float64)
    weighted = standard * shares[:, None]
    gram = weighted.T @ standard + PENALTY * samples.shape[1] * np.eye(samples.shape[1])
    weight = np.linalg.solve(gram, weighted.T @ own).T / deviation
    return weight, shares @ own - weight @ mean


def _left_out(
    evidence: np.ndarray,
    labels: np.ndarray,
    videos: np.ndarray,
    nothing: np.ndarray,
    on_fold: Callable[[], object],
) -> LeftOut | None:
    """Return margins by fits that have not seen a frame's video; None where too few can be left out."""
    folds = video_folds(labels, videos)
    left = folds >= 0
    tags = np.unique(labels[left])  # a tag with one video is never left out: nothing is known of it
    if len(tags) < 2:
        return None
    fold_margins = np.zeros((len(labels), int(labels.max()) + 1))
    for fold in range(folds.max() + 1):
        out = folds == fold
        weight, bias = ridge(evidence[~out], labels[~out], videos[~out], nothing)
        scores = torch.from_numpy(evidence[out] @ weight.T + bias)
        fold_margins[out] = margins(scores).numpy()[:, :-1]
        on_fold()
    own = labels[left, None] == tags
    halves = [frame_weights(column.astype(int), videos[left]) for column in own.T]
    weights = np.stack(halves, 1)
    return LeftOut(fold_margins[left][:, tags], own, weights / weights.sum())


def calibrated(left: LeftOut) -> tuple[float, float]:
    """Return slope and offset of the logistic function of the margin with the least loss on left-out frames.

    >>> sure = LeftOut(np.array([[-1.0], [1.0]]), np.array([[False], [True]]), np.full((2, 1), 0.5))
    >>> slope, offset = calibrated(sure)
    >>> round(slope, 3), abs(round(offset, 3))
    (0.693, 0.0)
    """
    from scipy.optimize import minimize  # Slow to import.

    counts = left.own.sum(0), (~left.own).sum(0)
    # As Platt: one more frame of either kind, so that frames that are all right stay finite.
    targets = np.where(left.own, (counts[0] + 1) / (counts[0] + 2), 1 / (counts[1] + 2))

    def loss(point: np.ndarray) -> float:
        """Return the mean loss at the logarithm of a slope and an offset."""
        odds = np.exp(np.clip(point[0], -20, 20)) * left.margins + point[1]
        return float(((np.logaddexp(0, odds) - targets * odds) * left.weights).sum())

    optimum = minimize(loss, np.zeros(2))
    return float(np.exp(np.clip(optimum.x[0], -20, 20))), float(optimum.x[1])


def precision_and_recall(values: np.ndarray, left: LeftOut) -> tuple[float, float]:
    """Return both, in [0, 1], at `THRESHOLD`, as if the object were in half of the frames.

    Args:
        values: (N, C) presence of left-out frames.
        left: what is true of them, and their weights.
    """
    kept = values >= THRESHOLD
    right = float((left.weights * (kept & left.own)).sum())
    precision = right / float((left.weights * kept).sum()) if right else 0.0
    return precision, right / float((left.weights * left.own).sum())


def auroc(left: LeftOut) -> float:
    """Return the area under the ROC curve, in [0, 1], mean over tags; frames weigh the same.

    >>> margins, own = np.array([[0.3], [0.1], [0.2], [0.2]]), np.array([[True], [False], [True], [False]])
    >>> auroc(LeftOut(margins, own, np.full((4, 1), 0.25)))
    0.875
    """
    from scipy.stats import rankdata

    areas = []
    for margin, own in zip(left.margins.T, left.own.T, strict=True):
        count = int(own.sum())
        above = rankdata(margin)[own].sum() - count * (count + 1) / 2
        areas.append(above / (count * (len(own) - count)))
    return float(np.mean(areas))
