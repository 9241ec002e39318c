from hypothesis import given
from hypothesis import strategies as st

from tcam_cache.datasets import seeded_splits
from tcam_cache.datasets.sampling import split_sizes, with_splits
from tcam_cache.records import Shot


def shots_of(**videos):
    return [
        Shot(f"{tag}/{number}/{shot}", tag, f"{tag}/{number}", "train", "f", ("1.jpg",))
        for tag, count in videos.items()
        for number in range(count)
        for shot in range(2)
    ]


@given(st.integers(1, 300))
def test_sizes_add_up_and_are_about_sixty_twenty_twenty(videos):
    train, val, test = split_sizes(videos)
    assert train + val + test == videos
    assert train >= 1
    assert (test >= 1) == (videos >= 2)
    assert (val >= 1) == (videos >= 3)
    if videos >= 5:
        assert abs(train / videos - 0.6) <= 0.15


def test_a_fifth_of_the_videos_is_rounded_to_the_nearest_number():
    # A fifth of 7, 8, 9 and 13 is 1.4, 1.6, 1.8 and 2.6.
    assert [split_sizes(videos) for videos in (7, 8, 9, 13)] == [(5, 1, 1), (4, 2, 2), (5, 2, 2), (7, 3, 3)]


def test_every_class_gets_its_own_sizes():
    splits = seeded_splits(shots_of(bird=6, car=1, cat=2), seed=0)
    words = {
        tag: sorted(word for video, word in splits.items() if video.startswith(tag))
        for tag in ("bird", "car", "cat")
    }
    assert words == {
        "bird": ["test", "train", "train", "train", "train", "val"],
        "car": ["train"],
        "cat": ["test", "train"],
    }


def test_the_same_seed_gives_the_same_split_and_another_one_another():
    shots = shots_of(bird=10, car=10)
    assert seeded_splits(shots, 3) == seeded_splits(shots, 3)
    assert seeded_splits(shots, 3) != seeded_splits(shots, 4)


def test_a_seed_draws_the_videos_that_it_has_always_drawn():
    splits = seeded_splits(shots_of(bird=5, cat=5, dog=2), seed=0)
    held_out = {video: split for video, split in splits.items() if split != "train"}
    assert held_out == {"bird/3": "val", "bird/4": "test", "cat/3": "val", "cat/2": "test", "dog/0": "test"}


def test_the_order_of_shots_and_other_classes_move_no_video():
    alone = seeded_splits(shots_of(bird=10), 0)
    among = seeded_splits(shots_of(car=4, bird=10)[::-1], 0)
    assert {video: among[video] for video in alone} == alone


def test_two_classes_of_equal_size_are_not_split_alike():
    splits = seeded_splits(shots_of(bird=20, car=20), 0)
    assert [splits[f"bird/{n}"] for n in range(20)] != [splits[f"car/{n}"] for n in range(20)]


def test_a_video_without_a_split_is_train():
    first, second = shots_of(bird=2)[::2]
    assert [shot.split for shot in with_splits([first, second], {second.video: "val"})] == ["train", "val"]
