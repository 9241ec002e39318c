import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from tcam_cache.errors import RunError
from tcam_cache.training import SINGLE_PROCESS, Ranks
from tcam_cache.training.ranks import EpochSums, require_finite


def sums_of(**steps):
    """Return the sums of terms given as the value of every step."""
    sums = EpochSums()
    for values in zip(*steps.values(), strict=True):
        sums.add({name: torch.tensor(value) for name, value in zip(steps, values, strict=True)})
    return sums


def test_a_line_holds_the_mean_of_every_term_their_sum_counts_and_seconds():
    sums = sums_of(crf=(-1.0, -3.0), size=(0.5, 1.5))
    sums.seconds_data, sums.seconds_compute = 0.12345, 2.0
    assert sums.reduce(SINGLE_PROCESS, {"flat_frames": torch.tensor(3)}).line() == {
        "flat_frames": 3,
        "losses": {"crf": -2.0, "size": 1.0},
        "loss": -1.0,
        "seconds_data": 0.123,
        "seconds_compute": 2.0,
    }


def test_kept_and_taken_up_again_it_goes_on_as_if_it_had_not_been():
    whole = sums_of(crf=(0.1, 0.2, 0.7))
    counts = {"flat_frames": torch.tensor(2)}
    state = sums_of(crf=(0.1, 0.2)).reduce(SINGLE_PROCESS, counts).to_state()
    counts["flat_frames"] += 5  # what is kept does not follow
    again, counted = EpochSums(**state), {"flat_frames": torch.tensor(0)}
    again.restore_counts(counted)
    again.add({"crf": torch.tensor(0.7)})
    assert (again.step, again.losses, again.broken) == (3, whole.losses, whole.broken)
    assert counted == {"flat_frames": 2}


def test_adding_never_waits_for_the_device():
    # A meta tensor has no values: whatever reads one on the host fails.
    sums = EpochSums()
    for _ in range(3):
        sums.add({"crf": torch.zeros((), device="meta", requires_grad=True)})
    assert sums.losses["crf"].device.type == sums.broken["crf"].device.type == "meta"
    assert not sums.losses["crf"].requires_grad


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_the_terms_that_broke_first_are_named_with_their_step(value):
    sums = sums_of(ce=(1.0, 1.0, value), crf=(1.0, value, 2.0), size=(0.0, value, value))
    with pytest.raises(RunError, match=r"loss is not finite in epoch 4\. .* lower --lr") as caught:
        require_finite(sums, nn.Linear(1, 1), 3)
    assert [text.partition(":")[0] for text in caught.value.offenders] == ["crf", "size"]
    assert all("first in step 2" in text for text in caught.value.offenders)


def test_infinities_of_both_signs_do_not_hide_each_other():
    with pytest.raises(RunError):
        require_finite(sums_of(crf=(math.inf, -math.inf)), nn.Linear(1, 1), 0)


def test_weights_and_statistics_count_too():
    model = nn.BatchNorm1d(2)
    require_finite(sums_of(crf=(1.0,)), model, 0)
    model.running_var[1] = math.inf
    model.weight.data[0] = math.nan
    with pytest.raises(RunError, match="model is not finite in epoch 1") as caught:
        require_finite(sums_of(crf=(1.0,)), model, 0)
    assert caught.value.offenders == ("weight", "running_var")


def test_a_model_without_weights_is_finite():
    require_finite(EpochSums(), nn.Identity(), 0)


class TwoRanks(Ranks):
    """The first of two ranks, of which the other has gathered something else."""

    def __new__(cls, other):
        ranks = super().__new__(cls)
        object.__setattr__(ranks, "other", other)
        return ranks

    def __init__(self, other):
        super().__init__(0, 2)

    def gather(self, value):
        return [value, self.other]


def test_sums_over_ranks_add_up_and_name_the_first_step_that_broke_on_any():
    ours = sums_of(crf=(-1.0, -3.0), size=(0.5, 1.5))
    ours.seconds_data = 2.0
    theirs = sums_of(crf=(-2.0, math.inf))
    other = [theirs.losses, theirs.broken, {"flat_frames": torch.tensor(4)}]
    whole = ours.reduce(TwoRanks(other), {"flat_frames": torch.tensor(3)})
    assert whole.counts == {"flat_frames": 7}
    assert whole.losses == {"crf": math.inf, "size": 2.0}
    assert whole.broken == {"crf": 1.0, "size": math.inf}
    assert (whole.step, whole.seconds_data) == (2, 2.0)
    assert ours.losses == {"crf": -4.0, "size": 2.0}


def test_one_rank_alone_has_all_of_the_sums():
    sums, counts = sums_of(crf=(1.0, 2.0)), {"flat_frames": torch.tensor(3)}
    whole = sums.reduce(SINGLE_PROCESS, counts)
    assert whole == replace(sums, counts=counts)


def test_the_first_rank_takes_up_what_was_kept_and_the_others_begin_at_nothing():
    sums = sums_of(crf=(1.0, 2.0))
    sums.counts = {"flat_frames": torch.tensor(3)}
    assert sums.for_rank(SINGLE_PROCESS) is sums and sums.for_rank(Ranks(0, 2)) is sums
    assert sums.for_rank(Ranks(1, 2)) == EpochSums(step=2)
