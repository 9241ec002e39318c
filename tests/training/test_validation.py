import pytest
import torch

from tcam_cache.config import FitConfig
from tcam_cache.training.samples import Sample
from tcam_cache.training.validation import ValidationLoss


class Batches:
    """Two batches of 3 and 1 frames; remembers which epochs were asked for."""

    config = FitConfig(manifest="m", seed=7)

    def __init__(self):
        self.asked = []

    def epoch(self, epoch):
        self.asked.append(epoch)
        for count in (3, 1):
            yield Sample(*(torch.zeros(count) for _ in Sample._fields))


class Task:
    """Loses as many points as a batch has frames, and what its generator draws."""

    def __init__(self):
        self.draws = []

    def validation_losses(self, batch, generator):
        self.draws.append(torch.rand((), generator=generator).item())
        return {"cross_entropy": torch.tensor(float(len(batch.tag))), "crf": torch.tensor(-0.5)}


def test_it_is_the_mean_over_frames_of_the_sum_of_the_terms():
    assert ValidationLoss(Task(), Batches())() == {"val_loss": pytest.approx((3 * 2.5 + 0.5) / 4)}


def test_every_epoch_is_judged_on_the_same_draws():
    task, batches = Task(), Batches()
    validation = ValidationLoss(task, batches)
    assert validation() == validation()
    assert batches.asked == [0, 0]
    assert task.draws[:2] == task.draws[2:]
    assert task.draws[0] != task.draws[1]
