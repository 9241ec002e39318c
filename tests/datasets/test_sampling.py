from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcam_cache.datasets import Manifest, read_manifest, sample, write_manifest
from tcam_cache.datasets.sampling import spread
from tcam_cache.errors import ConfigError
from tcam_cache.records import Box, Shot


def shot_of(number, length=10, tag="bird", split="train", boxes=()):
    frames = tuple(f"{t}.jpg" for t in range(length))
    name = f"{tag}/{split}{number:03d}"
    return Shot(name, tag, name, split, name, frames, {t: (Box(0, 0, 1, 1),) for t in boxes})


@pytest.fixture
def manifest(tmp_path):
    shots = [
        shot_of(n, tag=tag, split=split)
        for tag in ("bird", "car")
        for split in ("train", "test")
        for n in range(8)
    ]
    return Manifest(tmp_path, "folders", ("bird", "car"), tuple(shots))


def test_nothing_asked_nothing_changed(manifest):
    assert sample(manifest, seed=3) is manifest


def test_every_kth_frame_is_kept_and_the_annotated_ones(tmp_path):
    manifest = Manifest(tmp_path, "folders", ("bird",), (shot_of(0, 10, boxes=[5]),))
    kept = sample(manifest, every=4)
    assert kept.shots[0].frames == ("0.jpg", "4.jpg", "5.jpg", "8.jpg")
    assert kept.shots[0].boxes == {2: (Box(0, 0, 1, 1),)}
    assert kept.facts == {"sampling": {"every": 4}}


@pytest.mark.parametrize(
    ("most", "kept"), [(1, [0]), (2, [0, 9]), (4, [0, 3, 6, 9]), (10, range(10)), (99, range(10))]
)
def test_so_many_frames_of_a_shot_are_kept_evenly_spaced(tmp_path, most, kept):
    manifest = Manifest(tmp_path, "folders", ("bird",), (shot_of(0, 10),))
    assert sample(manifest, max_per_shot=most).shots[0].frames == tuple(f"{t}.jpg" for t in kept)


@given(length=st.integers(1, 60), most=st.integers(1, 60), boxes=st.sets(st.integers(0, 59), max_size=4))
def test_spacing_is_even_and_annotated_frames_stay(length, most, boxes):
    boxes = {t for t in boxes if t < length}
    shot = sample(Manifest("/", "f", ("bird",), (shot_of(0, length, boxes=boxes),)), max_per_shot=most).shots[
        0
    ]
    kept = [int(name.partition(".")[0]) for name in shot.frames]
    assert kept == sorted(set(kept)) and boxes <= set(kept)
    assert min(length, most) <= len(kept) <= min(length, most + len(boxes))
    assert {kept[t] for t in shot.boxes} == boxes
    if 1 < most < length:
        assert max(after - before for before, after in pairwise(kept)) <= (length - 1) // (most - 1) + 1


def test_a_share_of_the_shots_of_each_class_and_split_is_kept(manifest):
    kept = sample(manifest, fraction=0.25, seed=1)
    groups = [(shot.tag, shot.split) for shot in kept.shots]
    assert sorted(groups) == sorted([(t, s) for t in ("bird", "car") for s in ("train", "test")] * 2)
    assert kept.facts == {"sampling": {"fraction": 0.25, "seed": 1}}
    assert [shot for shot in manifest.shots if shot in kept.shots] == list(kept.shots)


def test_the_draw_is_the_same_for_a_seed_another_for_another_and_grows_with_the_share(manifest):
    assert sample(manifest, fraction=0.25, seed=1) == sample(manifest, fraction=0.25, seed=1)
    assert sample(manifest, fraction=0.25, seed=1).shots != sample(manifest, fraction=0.25, seed=2).shots
    small, large = ({shot.id for shot in sample(manifest, fraction=f).shots} for f in (0.25, 0.5))
    assert small < large


def test_at_least_one_shot_of_each_class_and_split_stays(manifest):
    assert len(sample(manifest, fraction=0.0001).shots) == 4


def test_the_manifest_file_remembers_how_it_was_sampled(manifest, tmp_path):
    kept = sample(manifest, every=2, max_per_shot=3, fraction=0.5, seed=9)
    write_manifest(kept, tmp_path / "m.jsonl")
    assert read_manifest(tmp_path / "m.jsonl") == kept
    assert kept.facts["sampling"] == {"every": 2, "max_per_shot": 3, "fraction": 0.5, "seed": 9}


@pytest.mark.parametrize("given", [{"every": 0}, {"max_per_shot": 0}, {"fraction": 0.0}, {"fraction": 1.5}])
def test_a_sampling_without_meaning_is_refused(manifest, given):
    with pytest.raises(ConfigError, match=next(iter(given))):
        sample(manifest, **given)


def test_every_kth_frame_at_index_time_is_every_kth_frame_at_build_time(manifest):
    assert sample(manifest, every=3).digest() == manifest.sampled(3).digest()


LENGTHS = st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=6), min_size=1, max_size=6)


def shots_of(videos):
    """Return the shots of videos, given the frames of each shot of each."""
    shots = [
        (f"bird/{video}", f"bird/{video}/{n}", length)
        for video, lengths in enumerate(videos)
        for n, length in enumerate(lengths)
    ]
    return [
        Shot(name, "bird", video, "train", name, tuple(f"{t}.jpg" for t in range(length)))
        for video, name, length in shots
    ]


@given(LENGTHS, st.integers(1, 9), st.integers(1, 60))
def test_every_video_gives_as_many_frames_as_any_other_that_has_them(videos, of_shot, total):
    kept = spread(shots_of(videos), of_shot, total)
    for video, lengths in enumerate(videos):
        own = sum(len(shot) for shot in kept if shot.video == f"bird/{video}")
        assert own == min(sum(min(length, of_shot) for length in lengths), max(1, total // len(videos)))
    assert all(0 < len(shot) <= of_shot for shot in kept)


@given(LENGTHS, st.integers(1, 9))
def test_where_room_is_left_each_shot_gives_its_own_from_first_to_last(videos, of_shot):
    shots = shots_of(videos)
    kept = spread(shots, of_shot, 10_000)
    assert [shot.id for shot in kept] == [shot.id for shot in shots]
    for one, whole in zip(kept, shots, strict=True):
        assert one.frames[0] == whole.frames[0]
        assert of_shot == 1 or one.frames[-1] == whole.frames[-1]


def test_of_a_video_with_many_shots_those_that_give_a_frame_lie_evenly():
    kept = spread(shots_of([[2] * 101, [5]]), 2, total=12)
    assert [int(shot.id.rpartition("/")[2]) for shot in kept[:-1]] == [0, 20, 40, 60, 80, 100]
    assert len(kept[-1]) == 2
