"""Frames' maps scored against true boxes, over worker processes; and the validation that both fits share."""

from collections.abc import Callable, Iterable, Sequence

import joblib
import numpy as np

from tcam_cache.evaluation import GRID, FrameSweep, choose_tau, corloc_curve, sweep_frame
from tcam_cache.stages.maps import FrameMap

# Upstream validates at every 0.004; the final tau is chosen on the full grid.
VALIDATION_GRID = GRID[::4]


def sweep_maps(
    maps: Iterable[FrameMap], classes: Sequence[str], mode: str, taus: np.ndarray, workers: int
) -> list[FrameSweep]:
    """Take each map's boxes at every threshold, while the maps of later frames are still being made.

    Args:
        maps: one per annotated frame.
        classes: the classifier's, in the order of its logits.
        mode: "components" or "wsol".
        taus: (K,) rising thresholds in [0, 1).
        workers: processes; 0 or 1 works in this one.
    """
    tasks = (
        joblib.delayed(sweep_frame)(
            item.scores,
            item.shot,
            item.t,
            (item.width, item.height),
            predicted_tag=classes[int(item.logits.argmax())] if item.logits.size else None,
            mode=mode,
            taus=taus,
        )
        for item in maps
    )
    return list(joblib.Parallel(n_jobs=max(1, workers), return_as="generator")(tasks))


class Validation:
    """Score the current model on annotated frames: CL, and class-mean CorLoc at the best threshold.

    Args:
        maps: called for the current model's maps.
        classes: the classifier's, in the order of its logits.
        workers: processes that find boxes.
    """

    def __init__(self, maps: Callable[[], Iterable[FrameMap]], classes: Sequence[str], workers: int) -> None:
        self.maps, self.classes, self.workers = maps, classes, workers

    def __call__(self) -> dict[str, float]:
        """Return "cl_accuracy", "corloc" (percentages) and "tau"."""
        sweeps = sweep_maps(self.maps(), self.classes, "components", VALIDATION_GRID, self.workers)
        return {
            "cl_accuracy": 100 * float(np.mean([sweep.predicted_tag == sweep.tag for sweep in sweeps])),
            "corloc": float(corloc_curve(sweeps).max()),
            "tau": choose_tau(sweeps, VALIDATION_GRID),
        }
