"""Validation where no boxes are: the training loss on another split, on draws that never change."""

from tcam_cache.training.fitting import step_generator
from tcam_cache.training.ranks import SINGLE_PROCESS, Ranks
from tcam_cache.training.run_folder import VAL_LOSS
from tcam_cache.training.samples import EpochBatches
from tcam_cache.training.tasks import DecoderTask


class ValidationLoss:
    """Return the decoder's mean loss on a split: the same frames, crops and pseudo-labels in every epoch.

    Args:
        task: whose decoder is judged.
        batches: of the split, whole ones.
        ranks: who deals them out among themselves; all must call it, and all get the mean.
    """

    def __init__(self, task: DecoderTask, batches: EpochBatches, ranks: Ranks = SINGLE_PROCESS) -> None:
        self.task, self.batches, self.ranks = task, batches, ranks

    def __call__(self) -> dict[str, float]:
        """Return `VAL_LOSS`, the mean over frames."""
        total = frames = 0.0
        steps = self.ranks.share(range(len(self.batches)))
        for step, batch in zip(steps, self.batches.of_steps(0, steps), strict=True):
            terms = self.task.validation_losses(batch, step_generator(self.batches.config.seed, 0, step))
            total = total + len(batch.tag) * sum(terms.values())
            frames += len(batch.tag)
        totals, counts = zip(*self.ranks.gather((float(total), frames)), strict=True)
        return {VAL_LOSS: sum(totals) / sum(counts)}
