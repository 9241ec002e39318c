"""Which threshold a box is taken at: the named policies, and how CorLoc depends on tau."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tcam_cache.config import THRESHOLDS, fixed_threshold
from tcam_cache.errors import ConfigError, EvaluationError
from tcam_cache.evaluation.boxes import GRID, hits
from tcam_cache.evaluation.sweeps import FrameSweep

HALF = "0.5"
DECIMALS = 6


@dataclass(frozen=True)
class Threshold:
    """A policy and the value it came to.

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
    """Return every policy that can be reported side by side, by name, the chosen one first.

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
    return {one.policy: one for one in sorted(policies, key=lambda one: one.policy != name)}


def require_val_tau(chosen: str, known: bool) -> None:
    """Make sure that there is a tau chosen on validation frames if the policy needs one.

    Raises:
        ConfigError: the policy is `val`, and the tau is not known.
    """
    if chosen == "val" and not known:
        raise ConfigError(
            "the threshold policy val needs a tau chosen on validation frames, and there is none. "
            "Annotate the validation split, or choose --threshold otsu, oracle or a number such as 0.5."
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
    return np.mean(list(by_class(found(sweeps, at), [sweep.tag for sweep in sweeps]).values()), axis=0) * 100


def found(sweeps: Sequence[FrameSweep], at: float = 0.5, regions: str = "largest") -> np.ndarray:
    """Return (F, K) bool: which frames' boxes count as found at each threshold.

    Args:
        sweeps: of the frames.
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
    # Class means of different hits may be equal on paper and differ in the last bit.
    top = np.r_[False, np.round(curve, 9) == np.round(curve, 9).max(), False]
    starts, ends = np.flatnonzero(top[1:] & ~top[:-1]), np.flatnonzero(top[:-1] & ~top[1:])
    longest = int((ends - starts).argmax())
    return int(starts[longest] + ends[longest] - 1) // 2


def require_frames(frames: Sequence[object], split: str) -> None:
    """Raise an `EvaluationError` that says what to do when there is no annotated frame."""
    if not frames:
        raise EvaluationError(
            f"no frame of the {split} split has a true box, so nothing can be scored. Give boxes to "
            "`tcam-cache manifest --annotations`, or choose another split with --split."
        )


def _nearest(taus: np.ndarray, tau: float) -> float:
    return round(float(taus[np.abs(taus - tau).argmin()]), DECIMALS)
