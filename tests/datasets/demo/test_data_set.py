import hashlib
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from tcam_cache.datasets import demo_tags, index_folders, read_annotations, write_demo
from tcam_cache.datasets.demo import data_set as demo_set
from tcam_cache.datasets.demo.photos import background, demo_facts
from tcam_cache.datasets.demo.scene import SceneFrame
from tcam_cache.errors import ConfigError, StorageError
from tcam_cache.records import Box

PER_TAG = len(demo_set.SPLIT_OF_VIDEO) * sum(demo_set.SHOT_LENGTHS)


def hashes_of(folder):
    return {
        path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def coins(tmp_path_factory):
    folder = tmp_path_factory.mktemp("coins")
    write_demo(folder, tags=("coin",))
    return folder


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    """Return what every shot of the whole set is composed of, without rendering it."""
    shots = []

    def note(_generator, look, props, length):
        shots.append((look, props))
        return [SceneFrame(Image.new("RGB", (8, 6)), Box(1, 1, 3, 3), 1.0)] * length

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo_set, "render_shot", note)
        write_demo(tmp_path_factory.mktemp("plan"))
    return shots


def test_the_set_is_laid_out_as_folders_with_splits_and_boxes(coins):
    manifest = index_folders(coins).annotated(read_annotations(coins / "annotations.csv")).manifest()
    assert manifest.classes == ("coin",)
    assert manifest.frame_count == PER_TAG == sum(len(shot.boxes) for shot in manifest.shots)
    videos = {shot.video: shot.split for shot in manifest.shots}
    assert Counter(videos.values()) == {"train": 3, "val": 1, "test": 2}
    assert {len(shot) for shot in manifest.shots} == set(demo_set.SHOT_LENGTHS)
    assert manifest.shots[0].path(0) == "coin/0001/001/frame0001.jpg"


def test_boxes_lie_in_their_frames_and_vary_in_size(coins):
    manifest = index_folders(coins).annotated(read_annotations(coins / "annotations.csv")).manifest()
    boxes = np.array([boxes[0] for shot in manifest.shots for boxes in shot.boxes.values()])
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= (240, 180)).all()
    shares = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) / (240 * 180)
    assert shares.min() > 0.05
    assert shares.max() < 0.5
    assert shares.max() > 2 * shares.min()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_leaves_nothing_behind(coins, tmp_path):
    write_demo(tmp_path, seed=1, tags=("coin",))
    other = hashes_of(tmp_path)
    assert other.keys() == hashes_of(coins).keys()
    assert not set(other.values()) & set(hashes_of(coins).values())
    write_demo(tmp_path, seed=0, tags=("coin",))
    assert hashes_of(tmp_path) == hashes_of(coins)


def test_every_tag_meets_every_background_once_in_training_and_once_elsewhere(plan):
    grounds = [background(fact).tobytes() for fact in demo_facts()["backgrounds"]]
    met = [grounds.index(props.ground.tobytes()) for _, props in plan]
    per_half, everything = len(grounds), list(range(len(grounds)))
    assert len(met) == len(demo_tags()) * 2 * per_half
    for start in range(0, len(met), per_half):
        assert sorted(met[start : start + per_half]) == everything


def test_a_post_is_never_of_the_material_behind_it(plan):
    assert all(props.post is not props.ground for _, props in plan)


def test_shots_have_up_to_two_different_distractors(plan):
    counts = Counter(len(props.distractors) for _, props in plan)
    assert set(counts) == {0, 1, 2}
    assert all(len(set(map(id, props.distractors))) == len(props.distractors) for _, props in plan)


def test_a_video_has_one_look_and_one_object(plan):
    per_video = len(demo_set.SHOT_LENGTHS)
    for start in range(0, len(plan), per_video):
        shots = plan[start : start + per_video]
        assert len({look for look, _ in shots}) == 1
        assert len({id(props.cutout) for _, props in shots}) == 1


def test_every_video_of_coins_shows_another_coin(plan):
    first = demo_tags().index("coin") * len(plan) // len(demo_tags())
    shown = {props.cutout.tobytes() for _, props in plan[first : first + len(plan) // len(demo_tags())]}
    assert len(shown) == len(demo_set.SPLIT_OF_VIDEO)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(StorageError, match="taken"):
        write_demo(tmp_path / "taken")


def test_an_interrupted_set_has_no_annotations_not_even_old_ones(tmp_path, monkeypatch):
    (tmp_path / "annotations.csv").write_text("of another seed")

    def fail(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo_set, "render_shot", fail)
    with pytest.raises(KeyboardInterrupt):
        write_demo(tmp_path, tags=("cup",))
    assert not (tmp_path / "annotations.csv").exists()


def test_an_unknown_tag_is_named(tmp_path):
    with pytest.raises(ConfigError, match="unicorn"):
        write_demo(tmp_path, tags=("cat", "unicorn"))
    assert list(tmp_path.iterdir()) == []
