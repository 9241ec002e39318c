import gc
import os
import pickle
import signal
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import interpolate

from tcam_cache.config import FitConfig
from tcam_cache.devices import resize_maps
from tcam_cache.errors import CacheError, FrameError, TcamCacheError
from tcam_cache.records import Frame, Shot
from tcam_cache.training import SINGLE_PROCESS, EpochBatches, Ranks, TrainingSamples
from tcam_cache.training.samples import Draw, draw_crop, draw_epoch
from tcam_cache.window import MODES, window_indices

SIZE, RESIZED = 32, 37


def shot(number, length, tag="bird"):
    name = f"{tag}/{number:04d}"
    return Shot(f"{name}/001", tag, name, "train", f"{name}/001", tuple(f"{t}.jpg" for t in range(length)))


SHOTS = (shot(1, 5), shot(2, 3, "cat"), shot(3, 1), shot(4, 9, "cat"))
CLASSES = {"bird": 0, "cat": 1}


def alone(shot, t, seed):
    """A frame that is drawn by itself."""
    return Draw(shot, t, seed, clip=seed)


class CoordinateFrames:
    """Frames whose pixels say where they are: (row, column, frame)."""

    def read(self, shot, t, size=None):
        rows, columns = np.mgrid[:size, :size].astype(np.uint8)
        return Frame(np.stack([rows, columns, np.full_like(rows, t)], 2), size, size)


@dataclass
class ListedCams:
    """CAMs held in memory, by shot: (T, h, w); remembers what was asked for."""

    maps: dict
    asked: list = field(default_factory=list)

    def window(self, shot_id, t, n, mode="before"):
        self.asked.append((shot_id, t, n, mode))
        frames = self.maps[shot_id]
        return frames[list(window_indices(t, n, len(frames), mode))]


def config(**given):
    return FitConfig(manifest="m", image_size=SIZE, **given)


def samples_of(cams=None, frames=None, shots=SHOTS, **options):
    return TrainingSamples(shots, CLASSES, frames or CoordinateFrames(), config(), cams, **options)


@settings(max_examples=40)
@given(st.integers(0, 2**63 - 1))
def test_frame_and_cam_are_cut_and_mirrored_alike(seed):
    places = np.arange(RESIZED * RESIZED, dtype=np.float32).reshape(1, RESIZED, RESIZED) / RESIZED**2
    sample = samples_of(ListedCams({SHOTS[2].id: places}))[alone(2, 0, seed)]
    rows, columns = sample.rgb[0].int(), sample.rgb[1].int()
    assert torch.equal((sample.cam * RESIZED**2).round().int(), rows * RESIZED + columns)
    crop = draw_crop(seed, RESIZED, SIZE)
    assert rows[0, 0] == crop.y
    assert columns[0].min() == crop.x
    assert columns[0, 0] == (crop.x + SIZE - 1 if crop.flip else crop.x)


def test_a_small_map_is_stretched_over_the_frame_with_pixel_centres_kept():
    ramp = np.add.outer(np.arange(4.0), 10 * np.arange(4.0)).astype(np.float32)[None] / 40
    stretched = resize_maps(torch.from_numpy(ramp), 32)[0]
    centres = (torch.arange(32) + 0.5) / 8 - 0.5
    expected = (centres[:, None] + 10 * centres[None]) / 40
    inside = slice(4, 28)  # beyond the outermost centres, the border's value goes on
    torch.testing.assert_close(stretched[inside, inside], expected[inside, inside])
    assert stretched[0, 0] == ramp[0, 0, 0]


def test_the_maximum_through_time_is_taken_before_resizing():
    left, right = np.zeros((2, 3, 3), np.float32)
    left[1, 0], right[1, 1] = 1, 1
    maps = torch.from_numpy(np.stack([left, right]))
    shots = (shot(1, 2),)
    sample = samples_of(ListedCams({shots[0].id: maps.numpy()}), shots=shots, neighbours=1)[alone(0, 1, 4)]
    crop = draw_crop(4, RESIZED, SIZE)
    before = crop.of(interpolate(maps.amax(0)[None, None], (RESIZED, RESIZED), mode="bilinear")[0, 0])
    after = crop.of(interpolate(maps[:, None], (RESIZED, RESIZED), mode="bilinear").amax(0)[0])
    assert torch.equal(sample.cam, before)
    assert not torch.allclose(before, after)


@settings(max_examples=40)
@given(st.integers(0, 3), st.integers(0, 8), st.integers(0, 12), st.sampled_from(MODES))
def test_a_window_never_leaves_its_shot(number, t, n, mode):
    t = min(t, len(SHOTS[number]) - 1)
    levels = {one.id: (place + 1) / 8 for place, one in enumerate(SHOTS)}
    cams = ListedCams({one.id: np.full((len(one), 2, 2), levels[one.id], np.float32) for one in SHOTS})
    sample = samples_of(cams, neighbours=n, window=mode)[alone(number, t, 0)]
    assert cams.asked == [(SHOTS[number].id, t, n, mode)]
    torch.testing.assert_close(sample.cam, torch.full((SIZE, SIZE), levels[SHOTS[number].id]))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("n", [0, 1, 2, 20])
def test_the_map_is_the_maximum_of_its_window_under_the_crop_of_its_frame(n, mode):
    # Frame t marks its own columns (x % 5 == t) at a height that says the row: who took part shows.
    rows, columns = np.mgrid[:RESIZED, :RESIZED]
    maps = np.stack([(columns % 5 == t) * (rows + 1) / RESIZED for t in range(5)]).astype(np.float32)
    samples = samples_of(ListedCams({SHOTS[0].id: maps}), neighbours=n, window=mode)
    for t in range(5):
        sample = samples[alone(0, t, 31 * t + n)]
        row, column, frame = (channel.long() for channel in sample.rgb)
        assert (frame == t).all()
        first = t - n if mode in ("before", "both") else t
        last = t + n if mode in ("after", "both") else t
        inside = (column % 5 >= first) & (column % 5 <= last)
        torch.testing.assert_close(sample.cam, inside * (row + 1) / RESIZED)


def test_a_sample_holds_the_frame_that_was_drawn_its_tag_its_seed_and_its_clip():
    sample = samples_of()[Draw(3, 6, 2**62 + 1, 2**62 + 3)]
    assert sample.rgb[2].unique().tolist() == [6]
    assert (sample.tag.item(), sample.seed.item(), sample.clip.item()) == (1, 2**62 + 1, 2**62 + 3)
    assert sample.cam.shape == (0,)
    assert (sample.rgb.shape, sample.rgb.dtype) == ((3, SIZE, SIZE), torch.uint8)
    assert sample.rgb.is_contiguous()


def cams_of_time():
    maps = {one.id: np.linspace(0, 1, len(one) * 4, dtype=np.float32).reshape(-1, 2, 2) for one in SHOTS}
    return ListedCams(maps)


def epochs_of(workers, epochs=(0, 1), ranks=SINGLE_PROCESS, together=1, crops="shot", **given):
    given = {"batch_size": 3, "frames_per_shot": 2, **given}
    samples = samples_of(cams_of_time(), neighbours=1, crops=crops)
    batches = EpochBatches(samples, config(**given), workers, ranks, together)
    return [list(batches.epoch(epoch)) for epoch in epochs], len(batches)


def test_batches_are_the_same_whatever_process_loads_them():
    here, _ = epochs_of(0)
    there, _ = epochs_of(1)
    assert [len(epoch) for epoch in here] == [len(epoch) for epoch in there] == [3, 3]
    for ours, theirs in zip([*here[0], *here[1]], [*there[0], *there[1]], strict=True):
        assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


def test_an_epoch_is_the_same_whatever_was_loaded_before():
    (_, _, third), _ = epochs_of(0, (0, 1, 2))
    (alone,), _ = epochs_of(0, (2,))
    for ours, theirs in zip(third, alone, strict=True):
        assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_epoch_can_be_gone_on_with_from_any_step(workers):
    batches = EpochBatches(samples_of(cams_of_time(), neighbours=1), config(batch_size=2), workers)
    whole = list(batches.epoch(1))
    assert len(whole) == 2
    for first in range(3):
        rest = list(batches.epoch(1, first))
        assert len(rest) == 2 - first
        for ours, theirs in zip(rest, whole[first:], strict=True):
            assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


def test_ctrl_c_does_not_reach_the_processes_that_load():
    batches = EpochBatches(samples_of(cams_of_time()), config(batch_size=1), workers=1)
    whole = batches.epoch(0)
    next(whole)
    for worker in batches.loader._iterator._workers:
        os.kill(worker.pid, signal.SIGINT)
    assert len(list(whole)) + 1 == len(list(batches.epoch(1))) == len(SHOTS)


@pytest.mark.parametrize("workers", [0, 1])
def test_some_batches_of_an_epoch_are_those_of_the_whole_one(workers):
    batches = EpochBatches(samples_of(cams_of_time()), config(batch_size=2, frames_per_shot=2), workers)
    whole = list(batches.epoch(1))
    for steps in (range(1, 4, 2), [3], []):
        some = list(batches.of_steps(1, steps))
        assert len(some) == len(steps)
        for step, batch in zip(steps, some, strict=True):
            assert all(torch.equal(one, other) for one, other in zip(batch, whole[step], strict=True))


def test_a_sample_is_the_same_in_a_batch_of_any_size():
    (small,), _ = epochs_of(0, (0,), batch_size=1)
    (large,), _ = epochs_of(0, (0,), batch_size=7)
    for field_of_small, field_of_large in zip(
        zip(*small, strict=True), zip(*large, strict=True), strict=True
    ):
        assert torch.equal(torch.cat(field_of_small), torch.cat(field_of_large))


def test_a_batch_stacks_its_samples_and_the_last_one_is_shorter():
    (epoch,), length = epochs_of(0, (0,), batch_size=4)
    assert [len(batch.tag) for batch in epoch] == [4, 3]
    assert length == 2
    first = epoch[0]
    assert first.rgb.shape == (4, 3, SIZE, SIZE)
    assert (first.cam.shape, first.cam.dtype) == ((4, SIZE, SIZE), torch.float32)
    assert first.tag.dtype == first.seed.dtype == torch.int64


@pytest.mark.parametrize("workers", [0, 1])
def test_ranks_share_every_batch_and_one_may_find_its_part_of_the_last_empty(workers):
    (whole,), _ = epochs_of(0, epochs=(1,))
    (first,), _ = epochs_of(workers, (1,), Ranks(0, 2))
    (second,), _ = epochs_of(workers, (1,), Ranks(1, 2))
    sizes = [[len(batch.tag) for batch in batches] for batches in (whole, first, second)]
    assert sizes == [[3, 3, 1], [2, 2, 1], [1, 1, 0]]
    for ours, theirs, batch in zip(first, second, whole, strict=True):
        assert torch.equal(ours.seed, batch.seed[::2]) and torch.equal(ours.rgb, batch.rgb[::2])
        assert torch.equal(theirs.seed, batch.seed[1::2])


def clips_of(batch):
    """Return the places of each clip in a batch, and the frame number at every place, read off its pixels."""
    _, sizes = torch.unique_consecutive(batch.clip, return_counts=True)
    times = batch.rgb[:, 2, 0, 0].tolist()
    ends = sizes.cumsum(0).tolist()
    return [list(range(end - size, end)) for end, size in zip(ends, sizes.tolist(), strict=True)], times


def test_the_frames_of_a_clip_are_in_a_row_under_one_crop_and_draw_their_own_labels():
    (epoch,), length = epochs_of(0, (0,), together=3, batch_size=6, frames_per_shot=4)
    # Shots of 5, 3, 1 and 9 frames: 2, 1, 1 and 2 clips, two in each batch.
    assert len(epoch) == length == 3
    assert sum(len(batch.tag) for batch in epoch) == 2 * 3 + 3 + 1 + 2 * 3
    crops = set()
    for batch in epoch:
        clips, times = clips_of(batch)
        assert len(clips) == 2
        assert len(batch.seed.unique()) == len(batch.seed)
        for places in clips:
            assert [times[place] for place in places] == [times[places[0]] + n for n in range(len(places))]
            corners = batch.rgb[places][:, :2, :, [0, -1]]
            assert (corners == corners[0]).all()
            assert batch.clip[places[0]] == batch.seed[places[0]]
            crops.add(tuple(corners[0].flatten().tolist()))
    assert len(crops) == 6


@settings(max_examples=20)
@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_frames_that_have_crops_of_their_own_are_cut_as_their_cams_are(seed, clip):
    places = np.arange(RESIZED * RESIZED, dtype=np.float32).reshape(1, RESIZED, RESIZED) / RESIZED**2
    sample = samples_of(ListedCams({SHOTS[2].id: places}), crops="frame")[Draw(2, 0, seed, clip)]
    rows, columns = sample.rgb[0].int(), sample.rgb[1].int()
    assert torch.equal((sample.cam * RESIZED**2).round().int(), rows * RESIZED + columns)
    crop = draw_crop(seed, RESIZED, SIZE)
    assert (rows[0, 0], columns[0].min()) == (crop.y, crop.x)
    assert (columns[0, 0] > columns[0, 1]) == crop.flip
    assert sample.clip == clip


def test_with_crops_of_their_own_the_frames_of_a_clip_are_the_same_but_cut_apart():
    options = {"together": 3, "batch_size": 6, "frames_per_shot": 4}
    (shared,), _ = epochs_of(0, (0,), **options)
    (own,), _ = epochs_of(0, (0,), crops="frame", **options)
    assert all(
        torch.equal(a.clip, b.clip) and torch.equal(a.seed, b.seed) for a, b in zip(shared, own, strict=True)
    )
    for batch in own:
        corners = [tuple(rgb[:2, 0, 0].tolist()) for rgb in batch.rgb]
        crops = [draw_crop(seed, RESIZED, SIZE) for seed in batch.seed.tolist()]
        assert corners == [(crop.y, crop.x + (SIZE - 1) * crop.flip) for crop in crops]
        assert all(len({corners[place] for place in places}) == len(places) for places in clips_of(batch)[0])


@pytest.mark.parametrize("together", [1, 2])
def test_an_epoch_of_the_middles_of_shots_has_as_many_batches_as_it_says(together):
    (epoch,), length = epochs_of(0, (0,), together=together, batch_size=2, frames_per_shot=9, middle=0.5)
    times = sorted(
        (int(batch.tag[place]), int(batch.rgb[place, 2, 0, 0]))
        for batch in epoch
        for place in range(len(batch.tag))
    )
    assert len(epoch) == length
    # Of 5, 3, 1 and 9 frames those from 1 to 3, 0 to 2, 0 and 2 to 6.
    assert set(times) == {
        (0, 1),
        (0, 2),
        (0, 3),
        (1, 0),
        (1, 1),
        (1, 2),
        (0, 0),
        *((1, t) for t in range(2, 7)),
    }


def test_an_epoch_of_clips_can_be_gone_on_with_from_any_step():
    given = {"batch_size": 4, "frames_per_shot": 3}
    batches = EpochBatches(samples_of(cams_of_time()), config(**given), 0, together=2)
    whole = list(batches.epoch(1))
    assert len(whole) == len(batches) == 4
    for first in range(5):
        rest = list(batches.epoch(1, first))
        assert len(rest) == 4 - first
        for ours, theirs in zip(rest, whole[first:], strict=True):
            assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


@settings(max_examples=20)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 6), st.integers(1, 4), st.integers(0, 9))
def test_a_clip_is_whole_in_one_batch_of_one_rank(together, room, frames_per_shot, size, epoch):
    given = {"batch_size": together * room, "frames_per_shot": frames_per_shot}
    clips = draw_epoch([len(one) for one in SHOTS], frames_per_shot, 0, epoch, together)
    shares = [
        [batch.clip.tolist() for batch in epochs_of(0, (epoch,), Ranks(rank, size), together, **given)[0][0]]
        for rank in range(size)
    ]
    for step, parts in enumerate(zip(*shares, strict=True)):
        dealt = clips[step * room : (step + 1) * room]
        assert list(parts) == [
            [draw.clip for clip in dealt[rank::size] for draw in clip] for rank in range(size)
        ]


class BrokenFrames(CoordinateFrames):
    def read(self, shot, t, size=None):
        raise FrameError("1 frame cannot be read. Replace it.", [f"{shot.path(t)}: empty file"])


class LateCams(ListedCams):
    def window(self, shot_id, t, n, mode="before"):
        if shot_id not in self.maps:
            raise CacheError(f"{shot_id} is not finished. Run build again.")
        return super().window(shot_id, t, n, mode)


def error_of(batches, epoch=0):
    # Not by pytest.raises: what it catches holds the loader, whose workers should end with this function.
    try:
        list(batches.epoch(epoch))
    except TcamCacheError as error:
        return type(error), error.message, error.offenders


@pytest.mark.parametrize("workers", [0, 1])
def test_a_frame_that_cannot_be_read_is_the_same_error_from_any_process(workers):
    batches = EpochBatches(samples_of(frames=BrokenFrames(), shots=(shot(3, 1),)), config(), workers)
    assert error_of(batches) == (
        FrameError,
        "1 frame cannot be read. Replace it.",
        ("bird/0003/001/0.jpg: empty file",),
    )


def test_after_an_error_the_next_epoch_can_be_loaded():
    cams = cams_of_time()
    complete = cams.maps.pop(SHOTS[0].id)
    batches = EpochBatches(samples_of(LateCams(cams.maps)), config(), 0)
    assert error_of(batches)[:2] == (CacheError, f"{SHOTS[0].id} is not finished. Run build again.")
    cams.maps[SHOTS[0].id] = complete
    assert len(list(batches.epoch(1))) == 1


def test_after_an_error_the_workers_end_with_their_loader():
    batches = EpochBatches(samples_of(LateCams({})), config(), 1)
    assert error_of(batches)[0] is error_of(batches, 1)[0] is CacheError
    workers = batches.loader._iterator._workers
    assert all(worker.is_alive() for worker in workers)
    gc.disable()
    try:
        del batches
        for worker in workers:
            worker.join(30)  # a busy machine takes its time; one that is not told to end never does
        assert not any(worker.is_alive() for worker in workers)
    finally:
        gc.enable()


def test_samples_travel_between_processes():
    samples = samples_of(cams_of_time(), neighbours=1)
    again = pickle.loads(pickle.dumps(samples))
    draw = alone(0, 2, 9)
    assert all(torch.equal(one, other) for one, other in zip(samples[draw], again[draw], strict=True))
