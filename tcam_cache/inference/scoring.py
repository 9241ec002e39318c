"""Score maps against true boxes in worker processes; the validation used by both fits."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain

import numpy as np

from tcam_cache.datasets.batches import ShotFrame, in_batches, unreadable
from tcam_cache.errors import FrameError
from tcam_cache.evaluation import GRID, FrameSweep, choose_tau, corloc_curve, sweep_frame
from tcam_cache.inference.maps import FrameMap
from tcam_cache.processes import in_processes
from tcam_cache.training import SINGLE_PROCESS, Ranks

# Upstream validates in steps of 0.004; the final tau is chosen on the full grid.
VALIDATION_GRID = GRID[::4]


def sweep_maps(
    maps: Iterable[FrameMap], classes: Sequence[str], mode: str, taus: np.ndarray, workers: int
) -> dict[str, list[FrameSweep]]:
    """Return each map's boxes at every threshold, computed while later maps are still being made.

    Args:
        maps: one per annotated frame.
        classes: the classifier's, in the order of its logits.
        mode: "components" or "wsol".
        taus: (K,) rising thresholds in [0, 1).
        workers: processes; 0 or 1 works in this one.

    Returns:
        In the order of the frames: under "" the boxes of the maps, and of each of their parts under its name.
    """
    names: list[str] = []

    def calls() -> Iterator[Callable[[], FrameSweep]]:
        """Yield the work on each map and each of its parts."""
        for item in maps:
            tag = classes[int(item.logits.argmax())] if item.logits.size else None
            for name, scores in (("", item.scores), *item.parts):
                names.append(name)
                size = (item.width, item.height)
                yield partial(
                    sweep_frame, scores, item.shot, item.t, size, predicted_tag=tag, mode=mode, taus=taus
                )

    sweeps: dict[str, list[FrameSweep]] = {"": []}
    for name, sweep in zip(names, list(in_processes(calls(), workers)), strict=True):
        sweeps.setdefault(name, []).append(sweep)
    return sweeps


class Validation:
    """Score the current model on annotated frames: CL, and class-mean CorLoc at the best threshold.

    Ranks share whole batches, so that every batch is the same as with a single process.

    Args:
        maps: returns the current model's maps of given frames, in order.
        frames: the annotated frames.
        classes: the classifier's, in the order of its logits.
        batch_size: frames per forward pass.
        workers: processes that find boxes.
        ranks: the processes that share the frames; all must make the same calls, with equal results.
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
        sweeps = self.sweeps(VALIDATION_GRID)[""]
        return {
            "cl_accuracy": 100 * float(np.mean([sweep.predicted_tag == sweep.tag for sweep in sweeps])),
            "corloc": float(corloc_curve(sweeps).max()),
            "tau": choose_tau(sweeps, VALIDATION_GRID),
        }

    def sweeps(self, taus: np.ndarray, parts: bool = False) -> dict[str, list[FrameSweep]]:
        """Return every frame's boxes as `sweep_maps` does, with or without those of the maps' parts.

        Raises:
            FrameError: frames cannot be read; every rank names the frames of all ranks.
        """
        shares = self.ranks.gather(self._share(taus, parts))
        if faults := [text for _, unread in shares for text in unread]:
            raise unreadable(faults)
        swept: dict[str, dict[tuple[str, int], FrameSweep]] = {}
        for share, _ in shares:
            for name, sweeps in share.items():
                swept.setdefault(name, {}).update({(sweep.shot, sweep.t): sweep for sweep in sweeps})
        return {name: [by_frame[shot.id, t] for shot, t in self.frames] for name, by_frame in swept.items()}

    def _share(self, taus: np.ndarray, parts: bool) -> tuple[dict[str, list[FrameSweep]], tuple[str, ...]]:
        """Return the boxes of this rank's frames, and its unreadable frames."""
        share = chain.from_iterable(self.ranks.share(in_batches(self.frames, self.batch_size)))
        maps = (item if parts else item._replace(parts=()) for item in self.maps(list(share)))
        try:
            return sweep_maps(maps, self.classes, "components", taus, self.workers), ()
        except FrameError as error:
            return {}, error.offenders or (error.message,)
