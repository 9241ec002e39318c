"""Tests of what an epoch draws: frames, clips, their order and their crops."""

import collections
import itertools

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from tcam_cache.training.samples import Draw, clips_of_shot, draw_crop, draw_epoch, middle_frames

SURE = 1e-3  # p-values below it reject; the seeds are fixed, so a test passes always or never
LENGTHS = st.lists(st.integers(1, 12), min_size=1, max_size=8)


def draws_of(seed, epoch, lengths=(5, 3, 1, 9), frames_per_shot=1, together=1):
    clips = draw_epoch(lengths, frames_per_shot, seed, epoch, together)
    return [draw for clip in clips for draw in clip]


def test_an_epoch_draws_one_frame_of_each_shot():
    drawn = draws_of(0, 0)
    assert sorted(draw.shot for draw in drawn) == [0, 1, 2, 3]


@given(LENGTHS, st.integers(1, 15), st.integers(0, 99))
def test_an_epoch_draws_the_frames_asked_for_without_repeats_or_all_of_a_shorter_shot(lengths, number, seed):
    drawn = draws_of(seed, seed // 7, lengths, number)
    frames = [(draw.shot, draw.t) for draw in drawn]
    assert len(set(frames)) == len(frames)
    assert all(0 <= t < lengths[place] for place, t in frames)
    expected = {place: min(number, length) for place, length in enumerate(lengths)}
    assert collections.Counter(place for place, _ in frames) == expected


def test_an_epoch_draws_what_it_always_drew():
    # Written down once: a run that is resumed must go on with the draws it began with.
    assert draw_epoch([3, 1, 5], 2, seed=7, epoch=4) == [
        [Draw(0, 0, 3240062692195620960, 3240062692195620960)],
        [Draw(2, 3, 518410202441192784, 518410202441192784)],
        [Draw(2, 1, 6887061715367589521, 6887061715367589521)],
        [Draw(0, 1, 4775872697956502716, 4775872697956502716)],
        [Draw(1, 0, 2266852319805538023, 2266852319805538023)],
    ]
    assert draw_epoch([3, 1, 5], 2, seed=7, epoch=4, together=2) == [
        [
            Draw(2, 0, 3240062692195620960, 3240062692195620960),
            Draw(2, 1, 2266852319805538023, 3240062692195620960),
        ],
        [
            Draw(0, 1, 2657384597952972825, 2657384597952972825),
            Draw(0, 2, 4346460298136351135, 2657384597952972825),
        ],
        [Draw(1, 0, 4775872697956502716, 4775872697956502716)],
    ]


def test_draws_depend_on_seed_and_epoch_alone():
    for together in (1, 3):
        first = draws_of(3, 7, together=together)
        torch.manual_seed(2)
        draws_of(1, 1, together=together)
        assert draws_of(3, 7, together=together) == first
        others = [draws_of(*when, together=together) for when in ((3, 8), (4, 7), (7, 3))]
        assert all(other != first for other in others)


def test_every_frame_of_a_shot_is_as_likely_as_any_other():
    counts = np.zeros(9)
    for epoch in range(3_000):
        for draw in draws_of(5, epoch, [4, 9], 2):
            counts[draw.t] += draw.shot == 1
    assert counts.sum() == 6_000
    assert chisquare(counts).pvalue > SURE


def test_every_order_of_the_shots_is_as_likely_as_any_other():
    for together, length in ((1, 2), (2, 5)):
        orders = collections.Counter(
            tuple(clip[0].shot for clip in draw_epoch([length] * 3, 1, 1, epoch, together))
            for epoch in range(3_000)
        )
        assert len(orders) == 6
        assert chisquare(list(orders.values())).pvalue > SURE


def test_no_two_samples_share_a_seed():
    for together in (1, 2):
        seeds = [
            draw.seed
            for epoch in range(50)
            for draw in draws_of(0, epoch, frames_per_shot=3, together=together)
        ]
        assert len(set(seeds)) == len(seeds)
        assert min(seeds) >= 0


def starts_by_shot(clips):
    starts = collections.defaultdict(list)
    for clip in clips:
        starts[clip[0].shot].append(clip[0].t)
    return starts


@given(LENGTHS, st.integers(1, 15), st.integers(1, 6), st.integers(0, 99))
def test_a_clip_is_frames_in_a_row_of_one_shot_and_a_shorter_shot_is_one_clip(
    lengths, number, together, seed
):
    clips = draw_epoch(lengths, number, seed, seed // 7, together)
    for clip in clips:
        (shot,) = {draw.shot for draw in clip}
        assert len(clip) == min(together, lengths[shot])
        times = [draw.t for draw in clip]
        assert times == list(range(times[0], times[0] + len(clip)))
        assert times[0] >= 0 and times[-1] < lengths[shot]
    # Of every shot there are the frames asked for, and less than one clip more.
    frames = collections.Counter(draw.shot for clip in clips for draw in clip)
    for shot, length in enumerate(lengths):
        asked = min(number, length)
        assert asked <= frames[shot] < asked + together
        assert clips_of_shot(length, number, together) == len(starts_by_shot(clips)[shot])


@given(LENGTHS, st.integers(1, 15), st.integers(1, 6), st.integers(0, 99))
def test_clips_overlap_only_where_a_shot_has_no_room_and_never_start_at_one_frame(
    lengths, number, together, seed
):
    clips = draw_epoch(lengths, number, seed, 0, together)
    for shot, starts in starts_by_shot(clips).items():
        gaps = np.diff(sorted(starts))
        roomy = len(starts) * together <= lengths[shot]
        assert (gaps >= (together if roomy else 1)).all()


def test_every_way_of_lying_side_by_side_is_as_likely_as_any_other():
    # Two clips of three frames in a shot of eight, in either order: starts (0, 3) .. (2, 5).
    seen = collections.Counter(
        tuple(clip[0].t for clip in sorted(draw_epoch([8], 6, 2, epoch, 3))) for epoch in range(3_000)
    )
    expected = [pair for pair in itertools.combinations(range(6), 2) if pair[1] - pair[0] >= 3]
    assert sorted(seen) == expected and len(expected) == 6
    assert chisquare(list(seen.values())).pvalue > SURE


def test_every_clip_of_a_shot_is_as_likely_as_any_other():
    starts = collections.Counter(draw_epoch([9], 1, 4, epoch, 4)[0][0].t for epoch in range(3_000))
    assert sorted(starts) == list(range(6))
    assert chisquare(list(starts.values())).pvalue > SURE


@given(LENGTHS, st.integers(1, 15), st.integers(1, 6), st.integers(0, 99))
def test_the_frames_of_a_clip_share_the_seed_of_its_first_and_no_other_clip_has_it(
    lengths, number, together, seed
):
    clips = draw_epoch(lengths, number, seed, 0, together)
    shared = [{draw.clip for draw in clip} for clip in clips]
    assert shared == [{clip[0].seed} for clip in clips]
    assert len(set().union(*shared)) == len(clips)


def test_every_position_of_a_crop_is_as_likely_as_any_other_and_half_of_them_are_mirrored():
    crops = [draw_crop(seed, 37, 32) for seed in range(7_200)]
    counts = np.zeros((6, 6))
    for crop in crops:
        counts[crop.y, crop.x] += 1
    assert chisquare(counts.flatten()).pvalue > SURE
    flips = sum(crop.flip for crop in crops)
    assert chisquare([flips, len(crops) - flips]).pvalue > SURE
    mirrored = np.array([[crop.x, crop.flip] for crop in crops]).T
    assert abs(np.corrcoef(mirrored)[0, 1]) < 0.05


def test_a_crop_as_large_as_the_frame_has_one_position():
    assert {(crop.y, crop.x) for crop in (draw_crop(seed, 8, 8) for seed in range(20))} == {(0, 0)}


@given(st.integers(1, 500), st.floats(0, 1))
def test_the_middle_is_as_far_from_both_ends_never_empty_and_at_least_its_share(length, share):
    middle = middle_frames(length, share)
    assert middle.start == length - middle.stop
    assert middle.start >= 0 and len(middle) >= max(1, share * length - 1e-9)
    # One frame less at each end would be less than the share, or nothing.
    assert len(middle) - 2 < max(1, share * length)
    assert middle_frames(length, 1.0) == range(length)


def test_the_middle_share_of_shots_counted_by_hand():
    kept = {length: len(middle_frames(length, 0.6)) for length in (1, 2, 3, 4, 5, 10, 20, 100)}
    assert kept == {1: 1, 2: 2, 3: 3, 4: 4, 5: 3, 10: 6, 20: 12, 100: 60}


@given(LENGTHS, st.integers(1, 15), st.integers(0, 99), st.integers(1, 4), st.sampled_from([0.0, 0.3, 0.6]))
def test_an_epoch_of_the_middles_is_that_of_shots_which_are_their_middles(
    lengths, number, seed, together, share
):
    middles = [middle_frames(length, share) for length in lengths]
    clips = draw_epoch(lengths, number, seed, 3, together, share)
    shorter = draw_epoch([len(one) for one in middles], number, seed, 3, together)
    assert clips == [
        [draw._replace(t=draw.t + middles[draw.shot].start) for draw in clip] for clip in shorter
    ]
    assert all(draw.t in middles[draw.shot] for clip in clips for draw in clip)
