"""Tests of the CAMs of whole shots: what is computed, what is written when, and what a failure leaves."""

import threading
import time

import numpy as np
import pytest
import torch

from tcam_cache.building.builder import WAITING_SHOTS, Counts, store_cams
from tcam_cache.cams import CamExtractor
from tcam_cache.errors import FrameError, StorageError
from tcam_cache.models import seeded_classifier
from tcam_cache.records import Frame, Shot

CLASSES = ("bird", "cat")
SHOTS = [
    Shot(f"{tag}/{n}", tag, f"{tag}/{n}", "train", f"{tag}/{n}", tuple(f"{t}.jpg" for t in range(length)))
    for n, (tag, length) in enumerate([("bird", 3), ("cat", 5), ("bird", 1), ("cat", 4)])
]


class Noise:
    """Frames of noise, one of their own for each shot and position; some cannot be read, some are larger."""

    def __init__(self, broken=(), larger=()):
        self.broken, self.larger = broken, larger

    def read(self, shot, t, size=None):
        if (shot.id, t) in self.broken:
            raise FrameError("1 frame cannot be read.", [f"{shot.path(t)}: empty file"])
        generator = np.random.default_rng([len(shot.id), len(shot), t])
        width = 99 if (shot.id, t) in self.larger else 64
        return Frame(generator.integers(0, 256, (size, size, 3), np.uint8), width, 48)


@pytest.fixture(scope="module")
def extractor():
    model = seeded_classifier("squeezenet1_1", CLASSES, None, seed=0)
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(0))
    return CamExtractor(model.freeze())


def stored(extractor, source=None, shots=SHOTS, write=None, **given):
    """Return the counts and what was written, by shot."""
    written = {}
    settings = {"target": "tag", "image_size": 32, "batch_size": 2, "workers": 0, "on_frames": lambda n: None}
    counts = store_cams(
        extractor, shots, source or Noise(), write or written.__setitem__, **{**settings, **given}
    )
    return counts, written


def test_each_batch_is_announced_before_its_frames_are_read(extractor):
    events = []

    class Told(Noise):
        def read(self, shot, t, size=None):
            events.append((shot.id, t))
            return super().read(shot, t, size)

    stored(extractor, Told(), shots=SHOTS[:1], on_request=lambda batch: events.append(len(batch)))
    assert events == [2, ("bird/0", 0), ("bird/0", 1), 1, ("bird/0", 2)]


def test_on_a_cpu_a_batch_passes_the_network_a_few_frames_at_a_time_and_gives_the_same_maps(extractor):
    long = Shot("bird/9", "bird", "bird/9", "train", "bird/9", tuple(f"{t}.jpg" for t in range(10)))
    seen = []

    class Counting:
        classifier = extractor.classifier

        def __call__(self, images, targets):
            seen.append(len(images))
            return extractor(images, targets)

    _, written = stored(Counting(), shots=[long], batch_size=9)
    assert seen == [3, 2, 3, 2]
    _, one_by_one = stored(extractor, shots=[long], batch_size=1)
    np.testing.assert_allclose(written["bird/9"].cams, one_by_one["bird/9"].cams, atol=2e-3)


def test_a_shot_whose_files_change_meanwhile_is_a_fault_and_the_others_are_stored(extractor):
    written = {}

    def write(shot_id, cams):
        if shot_id == "cat/1":
            raise FrameError("changed.", ["cat/1: its files have changed"])
        written[shot_id] = cams

    counts, _ = stored(extractor, write=write)
    assert counts == Counts(frames=8, faults=("cat/1: its files have changed",))
    assert list(written) == ["bird/0", "bird/2", "cat/3"]


def test_each_shot_gets_the_maps_of_its_tag_frame_by_frame(extractor):
    counts, written = stored(extractor)
    assert counts == Counts(frames=13)
    assert list(written) == [shot.id for shot in SHOTS]
    for shot in SHOTS:
        pixels = np.stack([Noise().read(shot, t, 32).pixels for t in range(len(shot))])
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
        wanted, logits = extractor(images, CLASSES.index(shot.tag))
        found = written[shot.id]
        assert (found.cams.dtype, found.logits.dtype) == (np.float16, np.float32)
        assert np.abs(found.cams - wanted.maps.numpy()).max() < 2e-3
        np.testing.assert_allclose(found.raw_max, wanted.raw_max.numpy(), rtol=1e-4)
        np.testing.assert_allclose(found.logits, logits.numpy(), rtol=1e-4, atol=1e-5)


def test_the_predicted_class_can_be_stored_instead(extractor):
    _, by_tag = stored(extractor)
    _, predicted = stored(extractor, target="prediction")
    agree = {
        shot.id: predicted[shot.id].logits.argmax(1) == CLASSES.index(shot.tag)
        for shot in SHOTS
    }  # fmt: skip
    assert not all(map(all, agree.values())), "a classifier that is always right shows nothing"
    for name, right in agree.items():
        pairs = zip(by_tag[name].cams, predicted[name].cams, strict=True)
        same = np.array([np.array_equal(*pair) for pair in pairs])
        assert np.array_equal(same, right)


def test_which_shots_are_wanted_changes_no_number(extractor):
    _, whole = stored(extractor)
    _, some = stored(extractor, shots=[SHOTS[3], SHOTS[1]])
    for name, cams in some.items():
        pairs = zip(vars(cams).values(), vars(whole[name]).values(), strict=True)
        assert all(np.array_equal(*pair) for pair in pairs)


def test_a_shot_with_an_unreadable_frame_is_not_written_and_every_such_frame_is_named(extractor):
    source = Noise(broken=[("cat/1", 0), ("cat/1", 4), ("bird/2", 0)])
    counts, written = stored(extractor, source)
    assert set(written) == {"bird/0", "cat/3"}
    assert counts.frames == 7
    named = [fault.partition(":")[0] for fault in counts.faults]
    assert named == ["cat/1/0.jpg", "cat/1/4.jpg", "bird/2/0.jpg"]


def test_shots_of_mixed_frame_sizes_and_flat_maps_are_counted(extractor):
    counts, _ = stored(extractor, Noise(larger=[("cat/1", 2), ("bird/2", 0)]))
    assert (counts.mixed, counts.flat) == (1, 0)
    blind = seeded_classifier("squeezenet1_1", CLASSES, None, seed=0).freeze()
    counts, _ = stored(CamExtractor(blind))
    assert counts.flat == counts.frames == 13


def test_every_frame_is_told_of_once(extractor):
    told = []
    stored(extractor, Noise(broken=[("cat/1", 0)]), on_frames=told.append)
    assert (sum(told), max(told)) == (13, 2)


def test_writing_lies_beside_the_forward_pass_in_one_thread_and_in_order(extractor):
    threads, names = set(), []

    def write(name, cams):
        threads.add(threading.get_ident())
        names.append(name)

    stored(extractor, write=write)
    assert len(threads) == 1 and threading.get_ident() not in threads
    assert names == [shot.id for shot in SHOTS]


def test_a_slow_disk_holds_the_forward_pass_back_so_that_memory_stays_flat(extractor):
    shots = [Shot(f"bird/{n}", "bird", f"bird/{n}", "train", f"bird/{n}", ("0.jpg",)) for n in range(12)]
    computed, behind, written = [], [], []

    def write(name, cams):
        time.sleep(0.02)
        written.append(name)
        behind.append(sum(computed) - len(written))

    stored(extractor, shots=shots, write=write, on_frames=computed.append)
    assert len(written) == 12 and max(behind) <= WAITING_SHOTS + 2


def test_a_refused_write_stops_the_work_with_its_own_error(extractor):
    seen = []

    def write(name, cams):
        seen.append(name)
        if name == "cat/1":
            raise StorageError("cannot write: the disk is full.")

    with pytest.raises(StorageError, match="disk is full"):
        stored(extractor, write=write)
    assert seen[:2] == ["bird/0", "cat/1"]


def test_no_shot_is_no_work(extractor):
    assert stored(extractor, shots=[]) == (Counts(), {})
