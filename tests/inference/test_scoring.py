"""Tests of the validation by boxes: what it scores, and that ranks that share it get what one alone does."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcam_cache.datasets.batches import in_batches
from tcam_cache.errors import FrameError
from tcam_cache.inference.maps import FrameMap
from tcam_cache.inference.scoring import VALIDATION_GRID, Validation
from tcam_cache.records import Box, Shot
from tcam_cache.training import SINGLE_PROCESS

CLASSES = ("bird", "car")
SIDE = 8


def frames_of(lengths):
    """Return every frame of a shot a length, of either class in turn; the true box is the upper left."""
    shots = [
        Shot(
            f"{tag}/{number}/1", tag, f"{tag}/{number}", "val", "", tuple("abcdefg"[:length]),
            {t: (Box(0, 0, 4, 4),) for t in range(length)},
        )
        for number, length in enumerate(lengths)
        for tag in [CLASSES[number % 2]]
    ]  # fmt: skip
    return [(shot, t) for shot in shots for t in range(len(shot))]


class Maps:
    """Make maps that find the upper left above a threshold of the frame's own; keep what was asked for."""

    def __init__(self):
        self.asked = []

    def __call__(self, frames):
        self.asked.append(list(frames))
        for shot, t in frames:
            scores = np.full((SIDE, SIDE), 0.1 * (1 + t), np.float32)
            scores[:4, :4] = 1.0
            yield FrameMap(shot, t, scores, np.array([1.0, 0.0], np.float32), SIDE, SIDE)


def test_it_scores_every_frame_at_the_best_threshold():
    scores = Validation(Maps(), frames_of([2, 1]), CLASSES, batch_size=2, workers=1)()
    # The background of the hardest frame is at 0.2: all above that are one plateau.
    assert scores == {
        "cl_accuracy": pytest.approx(200 / 3), "corloc": 100.0, "tau": pytest.approx(0.6, abs=0.005),
    }  # fmt: skip


@pytest.mark.parametrize("first", range(0, 250, 50))
def test_a_box_that_one_threshold_in_250_finds_is_found(first):
    def found_at(tau):
        """Return the scores on a frame whose box is right within 0.0005 of a threshold, and nowhere else."""
        scores = np.full((SIDE, SIDE), max(0.0, tau - 0.0005), np.float32)
        scores[:4, :4] = tau + 0.0005
        scores[0, 0] = 1.0
        shot = Shot("bird/1/1", "bird", "bird/1", "val", "", ("a",), {0: (Box(0, 0, 4, 4),)})
        made = FrameMap(shot, 0, scores, np.array([1.0, 0.0], np.float32), SIDE, SIDE)
        return Validation(lambda frames: [made], [(shot, 0)], CLASSES, 1, 0)()

    # Upstream's thresholds on val: 0, 0.004, ..., 0.996.
    for number in range(first, first + 50):
        scores = found_at(number * 0.004)
        assert (scores["corloc"], scores["tau"]) == (100, pytest.approx(number * 0.004)), number


@given(
    lengths=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    batch_size=st.integers(1, 5),
    size=st.integers(2, 5),
)
def test_ranks_share_the_frames_and_all_get_what_one_alone_does(in_turn, lengths, batch_size, size):
    frames = frames_of(lengths)
    asked = [Maps() for _ in range(size)]

    def validation(maps, *ranks):
        return Validation(maps, frames, CLASSES, batch_size, 1, *ranks)

    assert (
        in_turn(lambda ranks: validation(asked[ranks.rank], ranks)(), size) == [validation(Maps())()] * size
    )
    shares = [maps.asked[-1] for maps in asked]
    assert sorted(batch for share in shares for batch in map(str, in_batches(share, batch_size))) == sorted(
        map(str, in_batches(frames, batch_size))
    )


def test_the_sweeps_come_in_the_order_of_the_frames_whoever_made_them(in_turn):
    frames = frames_of([3, 2, 2])
    every = in_turn(
        lambda ranks: Validation(Maps(), frames, CLASSES, 1, 1, ranks).sweeps(VALIDATION_GRID)[""], size=3
    )
    for sweeps in every:
        assert [(sweep.shot, sweep.t) for sweep in sweeps] == [(shot.id, t) for shot, t in frames]


def test_every_rank_names_the_frames_that_any_of_them_cannot_read(in_turn):
    frames = frames_of([2, 2])

    def maps(share):
        raise FrameError("2 frames cannot be read. Replace them.", [f"{shot.id}/{t}" for shot, t in share])
        yield

    def error_of(ranks):
        with pytest.raises(FrameError, match=r"4 frame\(s\) cannot be read") as caught:
            Validation(maps, frames, CLASSES, 1, 1, ranks).sweeps(VALIDATION_GRID)
        return sorted(caught.value.offenders)

    expected = [f"{shot.id}/{t}" for shot, t in frames]
    assert in_turn(error_of, size=2) == [expected, expected]
    assert error_of(SINGLE_PROCESS) == expected
