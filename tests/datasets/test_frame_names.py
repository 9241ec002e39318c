"""Tests of names of frames: which of the known frames another program's path means."""

import pytest

from tcam_cache.datasets.frame_names import frames_named, meant_paths
from tcam_cache.records import Shot

KNOWN = ["dog/1/a.jpg", "dog/2/a.jpg", "cat/1/b.png", "cat/1/b.jpg", "cat/1/c.jpg", "cat/x.mp4/00000040ms"]


@pytest.mark.parametrize(
    ("wanted", "meant"),
    [
        ("dog/1/a.jpg", ["dog/1/a.jpg"]),
        ("./dog/1/a.jpg", ["dog/1/a.jpg"]),
        ("1/a.jpg", ["dog/1/a.jpg"]),
        ("a.jpg", ["dog/1/a.jpg", "dog/2/a.jpg"]),
        ("images/train/dog/2/a.jpg", ["dog/2/a.jpg"]),
        ("1/b", ["cat/1/b.png", "cat/1/b.jpg"]),
        ("1/b.png", ["cat/1/b.png"]),
        ("c", ["cat/1/c.jpg"]),
        ("c.png", ["cat/1/c.jpg"]),
        ("x.mp4/00000040ms.jpg", ["cat/x.mp4/00000040ms"]),
        # A folder counts as a whole, and one that contradicts is none.
        ("og/1/a.jpg", None),
        ("fox/1/a.jpg", None),
        ("d.jpg", None),
    ],
)
def test_a_path_means_what_ends_like_it(wanted, meant):
    assert meant_paths(KNOWN, [wanted]).get(wanted) == meant


def test_composed_and_decomposed_names_are_one():
    assert meant_paths(["hünd/a.jpg"], ["hu\u0308nd/a.jpg"]) == {"hu\u0308nd/a.jpg": ["hünd/a.jpg"]}


def clip(number, start, stop, name="clip.mp4"):
    frames = tuple(f"{40 * n:08d}ms" for n in range(start, stop))
    return Shot(f"dog/{name}/{number:03d}", "dog", f"dog/{name}", "train", f"dog/{name}", frames)


def test_a_number_counts_through_all_shots_of_a_video():
    shots = [clip(1, 0, 3), clip(2, 3, 5)]
    named = frames_named(shots, [("clip.mp4", 0), ("clip.mp4", 3), ("clip.mp4", 5), ("other.mp4", 0)])
    assert named == {("clip.mp4", 0): [(shots[0], 0)], ("clip.mp4", 3): [(shots[1], 0)], ("clip.mp4", 5): []}


def test_a_video_without_a_name_is_the_only_one():
    one, other = clip(1, 0, 3), clip(1, 0, 3, "b.mp4")
    assert frames_named([one], [("", 1)]) == {("", 1): [(one, 1)]}
    assert len(frames_named([one, other], [("", 1)])["", 1]) == 2
