"""Each frame's boxes at every threshold, and how the threshold is chosen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tcam_cache.config.evaluate import THRESHOLDS, fixed_threshold
from tcam_cache.errors import AnnotationError, ConfigError, EvaluationError
from tcam_cache.evaluation.boxes import GRID, hits, iou, largest_and_all, otsu_box
from tcam_cache.records import Box, Shot


@dataclass(frozen=True)
class FrameSweep:
    """The boxes of one annotated frame's map at every threshold, and their IoU.

    Attributes:
        path: of the frame, relative to the data set's root.
        tag: the video's class tag.
        predicted_tag: the classifier's top-1 class, or None without a classifier.
        video: the video's id.
        shot: the shot's id.
        t: the frame's position in its shot.
        true_boxes: at least one, in pixels of the original frame.
        boxes: (K, 4) float32, the box at each threshold in pixels of the original frame; NaN where none is.
        ious: (K,) float64, the highest IoU of each box with a true box.
        any_ious: (K,) float64, the highest IoU of any region's box with a true box.
        otsu_box: (4,) float32, the box at Otsu's threshold.
        otsu_iou: its highest IoU with a true box.
        flat: the map was constant.
        mode: how boxes are taken, "components" or "wsol".
    """

    path: str
    tag: str
    predicted_tag: str | None
    video: str
    shot: str
    t: int
    true_boxes: tuple[Box, ...]
    boxes: np.ndarray
    ious: np.ndarray
    any_ious: np.ndarray
    otsu_box: np.ndarray
    otsu_iou: float
    flat: bool
    mode: str


def sweep_frame(
    scores: np.ndarray,
    shot: Shot,
    t: int,
    size: tuple[int, int],
    *,
    predicted_tag: str | None = None,
    mode: str = "components",
    taus: np.ndarray = GRID,
) -> FrameSweep:
    """Return the boxes of one frame's map at every threshold, compared with the true boxes.

    Args:
        scores: (H, W) float32 map in [0, 1] of the whole frame, squashed to H x W.
        shot: the frame's shot; `shot.boxes[t]` are the true boxes.
        t: the frame's position in its shot.
        size: (width, height) of the original frame in pixels.
        predicted_tag: the classifier's top-1 class.
        mode: "components", or "wsol" for boxes and IoU of the WSOL protocol.
        taus: (K,) rising thresholds in [0, 1).

    Raises:
        AnnotationError: the frame has no true box.
        EvaluationError: the map is not finite or leaves [0, 1].
        ConfigError: the mode is unknown, or the thresholds do not rise within [0, 1).
    """
    if not shot.boxes.get(t):
        raise AnnotationError("a frame without a true box cannot be scored. Leave it out.", [shot.path(t)])
    largest, regions = largest_and_all(scores, taus, mode)
    boxes = np.vstack([largest, otsu_box(scores, mode)])
    ious, boxes = _compare(boxes, shot.boxes[t], size, scores.shape, mode)
    all_ious, _ = _compare(regions.boxes, shot.boxes[t], size, scores.shape, mode)
    return FrameSweep(
        path=shot.path(t),
        tag=shot.tag,
        predicted_tag=predicted_tag,
        video=shot.video,
        shot=shot.id,
        t=t,
        true_boxes=tuple(shot.boxes[t]),
        boxes=boxes[:-1],
        ious=ious[:-1],
        any_ious=regions.best(all_ious),
        otsu_box=boxes[-1],
        otsu_iou=float(ious[-1]),
        flat=bool(scores.min() == scores.max()),
        mode=mode,
    )


def _compare(
    boxes: np.ndarray, true_boxes: Sequence[Box], size: tuple[int, int], shape: tuple[int, int], mode: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return (K,) the highest IoU of each box of the map, and the boxes in pixels of the original frame."""
    height, width = shape
    scale = np.array([size[0] / width, size[1] / height] * 2)
    if mode == "components":
        scaled = (boxes * scale).astype(np.float32)
        return _highest(scaled, np.array(true_boxes), inclusive=False), scaled
    # The protocol scales and truncates the true boxes instead; multiply first, as it does.
    truth = np.trunc(np.array(true_boxes) * [width, height, width, height] / [*size, *size])
    empty = ~boxes.any(axis=1, keepdims=True)
    return (
        _highest(boxes, truth, inclusive=True),
        np.where(empty, np.nan, boxes * scale).astype(np.float32),
    )


def _highest(boxes: np.ndarray, truth: np.ndarray, inclusive: bool) -> np.ndarray:
    # One true box at a time saves memory: a noisy map has a million regions.
    return np.max([iou(boxes, box[None], inclusive)[:, 0] for box in truth], axis=0)


HALF = "0.5"
DECIMALS = 6


@dataclass(frozen=True)
class Threshold:
    """A threshold policy and its value.

    Attributes:
        policy: "val", "oracle", "oracle-per-class", "otsu", or a number such as "0.5".
        value: tau, or tau by class, or None where every frame has its own.
    """

    policy: str
    value: float | Mapping[str, float] | None

    def pick(self, sweep: FrameSweep, taus: np.ndarray = GRID) -> tuple[np.ndarray, float]:
        """Return a frame's box (4,) under this policy and its IoU, at the nearest of `taus`."""
        if self.value is None:
            return sweep.otsu_box, sweep.otsu_iou
        tau = self.value[sweep.tag] if isinstance(self.value, Mapping) else self.value
        nearest = int(np.abs(taus - tau).argmin())
        return sweep.boxes[nearest], float(sweep.ious[nearest])


def thresholds(
    sweeps: Sequence[FrameSweep], chosen: str, val_tau: float | None = None, taus: np.ndarray = GRID
) -> dict[str, Threshold]:
    """Return all policies with their values by name, the chosen one first.

    Args:
        sweeps: the evaluated frames; the two oracles are fitted to them.
        chosen: the policy the headline numbers use.
        val_tau: tau chosen on validation frames, or None where there are none.
        taus: (K,) the thresholds of the sweeps.

    Raises:
        ConfigError: `val` is chosen without a validation tau, or no such policy exists.
    """
    require_val_tau(chosen, val_tau is not None)
    name = chosen if chosen in THRESHOLDS else f"{fixed_threshold(chosen):g}"
    fixed = {name, HALF} - set(THRESHOLDS)
    policies = [Threshold(number, _nearest(taus, float(number))) for number in sorted(fixed)]
    policies.append(Threshold("otsu", None))
    if val_tau is not None:
        policies.append(Threshold("val", _nearest(taus, val_tau)))
    policies.append(Threshold("oracle", choose_tau(sweeps, taus)))
    policies.append(Threshold("oracle-per-class", choose_tau_per_class(sweeps, taus)))
    return {policy.policy: policy for policy in sorted(policies, key=lambda policy: policy.policy != name)}


def require_val_tau(chosen: str, known: bool) -> None:
    """Make sure that there is a tau chosen on validation frames if the policy needs one.

    Raises:
        ConfigError: the policy is `val`, and the tau is not known.
    """
    if chosen == "val" and not known:
        raise ConfigError(
            "the threshold policy val needs a tau chosen on validation frames, and there is none. "
            "Annotate the validation split, or choose a number such as --threshold 0.5, or otsu; all score "
            "against true boxes of the split that is evaluated."
        )


def choose_tau(sweeps: Sequence[FrameSweep], taus: np.ndarray = GRID) -> float:
    """Return the tau that maximises the class mean of CorLoc at IoU 0.5.

    Where several do, the middle of their plateau: the longest run of neighbouring maximisers, the first of
    equally long ones, the lower of two middles.

    Args:
        sweeps: annotated frames of the split that chooses.
        taus: (K,) the thresholds of the sweeps.

    Raises:
        EvaluationError: there are no frames.
    """
    return round(float(taus[middle_of_plateau(corloc_curve(sweeps))]), DECIMALS)


def choose_tau_per_class(sweeps: Sequence[FrameSweep], taus: np.ndarray = GRID) -> dict[str, float]:
    """Return for each class the tau that maximises its own CorLoc; ties as in `choose_tau`."""
    tags = sorted({sweep.tag for sweep in sweeps})
    return {tag: choose_tau([sweep for sweep in sweeps if sweep.tag == tag], taus) for tag in tags}


def corloc_curve(sweeps: Sequence[FrameSweep], at: float = 0.5) -> np.ndarray:
    """Return (K,) the class mean of CorLoc at every threshold, in 0..100.

    Raises:
        EvaluationError: there are no frames.
    """
    require_frames(sweeps, "given")
    means = by_class(frame_hits(sweeps, at), [sweep.tag for sweep in sweeps])
    return np.mean(list(means.values()), axis=0) * 100


def frame_hits(sweeps: Sequence[FrameSweep], at: float = 0.5, regions: str = "largest") -> np.ndarray:
    """Return (F, K) bool: whether each frame's box counts as correct at each threshold.

    Args:
        sweeps: one per frame.
        at: the IoU that counts.
        regions: "largest" for the box of the largest region alone, "any" for that of any region.
    """
    ious = [sweep.any_ious if regions == "any" else sweep.ious for sweep in sweeps]
    return hits(np.stack(ious), sweeps[0].mode, at)


def by_class(values: np.ndarray, tags: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the mean of (F, ...) values over each class's frames, classes in alphabetical order.

    >>> {tag: float(mean) for tag, mean in by_class(np.array([1, 0, 1]), ["cat", "cat", "bird"]).items()}
    {'bird': 1.0, 'cat': 0.5}
    """
    names = np.asarray(tags)
    return {str(tag): np.asarray(values)[names == tag].mean(axis=0) for tag in np.unique(names)}


def middle_of_plateau(curve: np.ndarray) -> int:
    """Return the index in the middle of the longest run of maxima, the first of equally long runs.

    >>> middle_of_plateau(np.array([3, 1, 3, 3, 3, 0]))
    3
    """
    # Equal class means may differ in the last bit.
    top = np.r_[False, np.round(curve, 9) == np.round(curve, 9).max(), False]
    starts, ends = np.flatnonzero(top[1:] & ~top[:-1]), np.flatnonzero(top[:-1] & ~top[1:])
    longest = int((ends - starts).argmax())
    return int(starts[longest] + ends[longest] - 1) // 2


def require_frames(frames: Sequence[object], split: str) -> None:
    """Raise an `EvaluationError` that says what to do when there is no annotated frame."""
    if not frames:
        raise EvaluationError(
            f"no frame of the {split} split has a true box, so nothing can be scored. Give boxes to "
            "`tcam-cache manifest --annotations`, or choose another split with --split. Boxes of frames "
            "without true ones come from `tcam-cache predict`."
        )


def _nearest(taus: np.ndarray, tau: float) -> float:
    return round(float(taus[np.abs(taus - tau).argmin()]), DECIMALS)
