"""Tests of what is said of the CAMs of each class."""

import numpy as np
import pytest

from tcam_cache.cache import CachePlan, CamCache, CamWriter
from tcam_cache.cache import summary as statistics
from tcam_cache.errors import CacheError
from tcam_cache.records import Shot, ShotCams


@pytest.fixture
def small(path):
    """Two shots of birds, two frames each, and a boat that is not finished; every number by hand."""

    def shot(name, tag):
        return Shot(name, tag, name, "train", name, ("1.jpg", "2.jpg"))

    shots = shot("bird/1", "bird"), shot("bird/2", "bird"), shot("boat/1", "boat")
    writer = CamWriter.create(path, CachePlan(("bird", "boat"), shots, (1, 4), {"method": "x"}, {}))
    maps = np.array([[[0, 0.25, 0.75, 1]], [[0, 0, 0, 0]]], np.float16)
    zeros, flat = np.zeros(2, np.float32), np.array([False, True])
    logits = np.array([[2, 1], [0, 3]], np.float32)
    writer.write("bird/1", ShotCams(maps, zeros, np.array([5, 0], np.float32), flat, logits))
    writer.write("bird/2", ShotCams(maps[:1].repeat(2, 0), zeros, zeros + 3, ~flat & flat, logits[[0, 0]]))
    return CamCache.open(path)


def test_every_number_is_the_one_worked_out_by_hand(small):
    bird, boat = small.statistics()["bird"], small.statistics()["boat"]
    assert (bird.frames, bird.flat, bird.raw_max, bird.agreement) == (4, 0.25, 3, 0.75)
    assert (bird.maps_read, bird.mean, bird.above_half) == (4, 0.375, 0.375)
    assert (boat.frames, boat.maps_read) == (0, 0)
    assert boat.flat is boat.raw_max is boat.agreement is boat.mean is boat.above_half is None


def test_of_many_maps_a_sample_is_read_that_the_seed_decides(small, monkeypatch):
    monkeypatch.setattr(statistics, "SAMPLE_BYTES", 1)
    samples = [small.statistics(seed)["bird"] for seed in range(20)]
    assert {sample.maps_read for sample in samples} == {2}
    assert {sample.mean for sample in samples} == {0.25, 0.5}
    assert samples == [small.statistics(seed)["bird"] for seed in range(20)]
    assert {(sample.frames, sample.agreement) for sample in samples} == {(4, 0.75)}


@pytest.mark.parametrize("chunk", ["cam", "frame_stats"])
def test_a_chunk_that_is_gone_is_an_error_and_no_number(small, chunk):
    next(small.path.glob(f"cams.zarr/{chunk}/c.0*")).unlink()
    with pytest.raises(CacheError, match="'bird/1' is finished, yet a chunk of it is missing"):
        small.statistics()
