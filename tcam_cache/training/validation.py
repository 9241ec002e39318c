"""Validation where no boxes are: the training loss on another split, on draws that never change."""

from tcam_cache.training.fitting import step_generator
from tcam_cache.training.run_folder import VAL_LOSS
from tcam_cache.training.samples import EpochBatches
from tcam_cache.training.tasks import DecoderTask


class ValidationLoss:
    """Return the decoder's mean loss on a split: the same frames, crops and pseudo-labels in every epoch.

    Args:
        task: whose decoder is judged.
        batches: of the split.
    """

    def __init__(self, task: DecoderTask, batches: EpochBatches) -> None:
        self.task, self.batches = task, batches

    def __call__(self) -> dict[str, float]:
        """Return `VAL_LOSS`, the mean over frames."""
        total = frames = 0.0
        for step, batch in enumerate(self.batches.epoch(0)):
            terms = self.task.validation_losses(batch, step_generator(self.batches.config.seed, 0, step))
            total = total + len(batch.tag) * sum(terms.values())
            frames += len(batch.tag)
        return {VAL_LOSS: float(total) / frames}
