"""Frames' maps scored against true boxes, over worker processes; and the validation that both fits share."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain

import numpy as np

from tcam_cache.datasets.batches import ShotFrame, in_batches, unreadable
from tcam_cache.errors import FrameError
from tcam_cache.evaluation import GRID, FrameSweep, choose_tau, corloc_curve, sweep_frame
from tcam_cache.inference.maps import FrameMap
from tcam_cache.processes import in_processes
from tcam_cache.training import SINGLE_PROCESS, Ranks

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
    calls = (
        partial(
            sweep_frame,
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
    return list(in_processes(calls, workers))


class Validation:
    """Score the current model on annotated frames: CL, and class-mean CorLoc at the best threshold.

    Ranks deal out whole batches, so that each goes through the network as it does where one process is alone.

    Args:
        maps: called with frames for the current model's maps of them, in that order.
        frames: the annotated ones.
        classes: the classifier's, in the order of its logits.
        batch_size: frames that go through the network together.
        workers: processes that find boxes.
        ranks: who shares the frames; all must make the same calls, and all get what one alone would.
    """

    def __init__(
        self,
        maps: Callable[[Sequence[ShotFrame]], Iterable[FrameMap]],
        frames: Sequence[ShotFrame],
        classes: Sequence[str],
        batch_size: int,
        workers: int,
        ranks: Ranks = SINGLE_PROCESS,
    ) -> None:
        self.maps, self.frames, self.classes = maps, frames, classes
        self.batch_size, self.workers, self.ranks = batch_size, workers, ranks

    def __call__(self) -> dict[str, float]:
        """Return "cl_accuracy", "corloc" (percentages) and "tau"."""
        sweeps = self.sweeps(VALIDATION_GRID)
        return {
            "cl_accuracy": 100 * float(np.mean([sweep.predicted_tag == sweep.tag for sweep in sweeps])),
            "corloc": float(corloc_curve(sweeps).max()),
            "tau": choose_tau(sweeps, VALIDATION_GRID),
        }

    def sweeps(self, taus: np.ndarray) -> list[FrameSweep]:
        """Return every frame's boxes at (K,) rising thresholds in [0, 1), in the order of the frames.

        Raises:
            FrameError: frames cannot be read; each rank names those of all.
        """
        parts = self.ranks.gather(self._share(taus))
        if faults := [text for _, unread in parts for text in unread]:
            raise unreadable(faults)
        swept = {(sweep.shot, sweep.t): sweep for part, _ in parts for sweep in part}
        return [swept[shot.id, t] for shot, t in self.frames]

    def _share(self, taus: np.ndarray) -> tuple[list[FrameSweep], tuple[str, ...]]:
        """Return the boxes of this rank's frames, or which of these cannot be read."""
        share = chain.from_iterable(self.ranks.share(in_batches(self.frames, self.batch_size)))
        try:
            return sweep_maps(self.maps(list(share)), self.classes, "components", taus, self.workers), ()
        except FrameError as error:
            return [], error.offenders or (error.message,)
