import hashlib
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcam_cache.datasets import Manifest
from tcam_cache.errors import ConfigError, ManifestError
from tcam_cache.records import Box, Shot

BOX = Box(1.0, 2.0, 5.0, 7.0)


def manifest_of(*shots, classes=("bird", "car")):
    return Manifest(Path("data"), "folders", classes, shots)


def test_shots_are_found_by_id_and_split(make_shot):
    train = make_shot()
    test = make_shot("car/0001/001", "car", "car/0001", "test")
    manifest = manifest_of(train, test)
    assert manifest.shot("car/0001/001") is test
    assert manifest.split("train") == (train,)
    assert manifest.split("val") == ()
    assert manifest.split("all") == (train, test)
    assert manifest.frame_count == 8


def test_an_unknown_shot_is_named(make_shot):
    with pytest.raises(ManifestError, match="fish/0001"):
        manifest_of(make_shot()).shot("fish/0001")


def test_an_unknown_split_is_named(make_shot):
    with pytest.raises(ConfigError, match="validation"):
        manifest_of(make_shot()).split("validation")


def test_every_contradiction_is_listed_at_once(make_shot):
    with pytest.raises(ManifestError) as caught:
        manifest_of(
            make_shot("a/1/1", "bird", "a/1"),
            make_shot("a/1/1", "car", "a/1"),
            make_shot("a/2/1", "bird", "a/2", "train"),
            make_shot("a/2/2", "bird", "a/2", "test"),
            make_shot("a/3/1", "fish", "a/3"),
            make_shot("a/4/1", "bird", "a/4", count=0),
            make_shot("a/5/1", "bird", "a/5", "holdout"),
            make_shot("a/6/1", "bird", "a/6", boxes={4: (BOX,)}),
            make_shot("a/7\udcff", "bird", "a/7"),
            classes=("bird", "car", "car"),
        )
    expected = {
        "class car: listed 2 times",
        "shot a/1/1: the id is used 2 times",
        "video a/1: in 2 classes (bird, car)",
        "video a/2: in 2 splits (test, train)",
        "shot a/3/1: its tag 'fish' is not among the classes",
        "shot a/4/1: no frames",
        "shot a/5/1: its split 'holdout' is none of train, val, test",
        "shot a/6/1: boxes for a frame beyond its 4 frames",
        "shot 'a/7\\udcff': a file name is not UTF-8",
    }
    assert set(caught.value.offenders) == expected


def test_a_data_set_without_shots_is_refused():
    with pytest.raises(ManifestError, match="no shots"):
        manifest_of()


def test_sampling_keeps_every_kth_frame_and_the_annotated_one(make_shot):
    shot = make_shot(count=8, boxes={5: (BOX,)})
    (sampled,) = manifest_of(shot).sampled(3).shots
    assert sampled.frames == ("frame0001.jpg", "frame0004.jpg", "frame0006.jpg", "frame0007.jpg")
    assert sampled.boxes == {2: (BOX,)}


def test_sampling_every_frame_returns_the_manifest_itself(make_shot):
    manifest = manifest_of(make_shot())
    assert manifest.sampled(1) is manifest


def test_sampling_less_than_every_frame_has_no_meaning(make_shot):
    with pytest.raises(ConfigError, match="every = 0"):
        manifest_of(make_shot()).sampled(0)


@given(length=st.integers(1, 40), every=st.integers(1, 50), data=st.data())
def test_sampling_loses_no_box_and_keeps_time_order(length, every, data):
    annotated = data.draw(st.sets(st.integers(0, length - 1)))
    frames = tuple(f"{number:03d}.jpg" for number in range(length))
    boxes = {t: (Box(t, 0, t + 1, 1),) for t in annotated}
    (sampled,) = manifest_of(Shot("s", "bird", "s", "train", "s", frames, boxes)).sampled(every).shots
    assert sampled.frames[0] == frames[0]
    assert list(sampled.frames) == sorted(sampled.frames)
    assert set(sampled.frames) == {frames[t] for t in {*range(0, length, every), *annotated}}
    assert {sampled.frames[t]: found for t, found in sampled.boxes.items()} == {
        frames[t]: found for t, found in boxes.items()
    }


def test_the_digest_is_of_ids_tags_and_frame_names(make_shot):
    manifest = manifest_of(make_shot("s1", "bird", "v1", count=2), make_shot("s2", "car", "v2", count=1))
    text = '["s1","bird",["frame0001.jpg","frame0002.jpg"]]\n["s2","car",["frame0001.jpg"]]\n'
    assert manifest.digest() == hashlib.sha256(text.encode()).hexdigest()


def test_the_digest_ignores_what_changes_no_cam(make_shot):
    shot = make_shot()
    moved = Manifest(
        Path("elsewhere"),
        "other",
        ("car", "bird"),
        (replace(shot, split="test", boxes={0: (BOX,)}, folder="x", video="v"),),
    )
    assert moved.digest() == manifest_of(shot).digest()


@pytest.mark.parametrize("change", [{"id": "other"}, {"tag": "car"}, {"frames": ("frame0002.jpg",)}])
def test_the_digest_changes_with_what_changes_a_cam(make_shot, change):
    shot = make_shot(count=1)
    assert manifest_of(replace(shot, **change)).digest() != manifest_of(shot).digest()


def test_the_digest_depends_on_the_order_of_shots(make_shot):
    first, second = make_shot("a", "bird", "a"), make_shot("b", "bird", "b")
    assert manifest_of(first, second).digest() != manifest_of(second, first).digest()


def test_a_manifest_can_be_carried_to_a_worker(make_shot):
    manifest = manifest_of(make_shot(boxes={1: (BOX,)}))
    assert pickle.loads(pickle.dumps(manifest)) == manifest
