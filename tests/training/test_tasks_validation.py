import pytest
import torch

from tcam_cache.config import FitConfig
from tcam_cache.training import ValidationLoss
from tcam_cache.training.samples import Sample


class Batches:
    """Batches of 3, 1, ... frames; remembers which epochs were asked for."""

    config = FitConfig(manifest="m", seed=7)

    def __init__(self, *counts):
        self.counts, self.asked = counts or (3, 1), []

    def __len__(self):
        return len(self.counts)

    def of_steps(self, epoch, steps):
        self.asked.append(epoch)
        for step in steps:
            yield Sample(*(torch.zeros(self.counts[step]) for _ in Sample._fields))


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


@pytest.mark.parametrize("size", [2, 3, 5])
def test_ranks_deal_out_whole_batches_with_their_own_draws_and_all_get_the_mean_of_all(in_turn, size):
    counts = (3, 2, 3, 1)
    alone = Task()
    expected = ValidationLoss(alone, Batches(*counts))()
    tasks = [Task() for _ in range(size)]
    values = in_turn(lambda ranks: ValidationLoss(tasks[ranks.rank], Batches(*counts), ranks)(), size)
    assert values == [pytest.approx(expected)] * size
    for rank, task in enumerate(tasks):
        assert task.draws == 2 * alone.draws[rank::size]
