"""Tests of the names that other programs need: classes, pictures, labels, runs of a track."""

from tcam_cache.inference.formats.footage import Footage, runs

from .conftest import CLASSES, ODD, of_clip, picture


def footage(*found, pictures=()):
    return Footage(found, CLASSES, "dogs", frozenset(pictures))


def test_classes_of_the_run_come_first_and_a_tag_that_it_has_not_comes_after_them():
    one = footage(picture("a.jpg", tag="fox"), picture("b.jpg"))
    assert one.tags == {"bird": 0, ODD: 1, "car": 2, "fox": 3}
    assert footage().tags == {"bird": 0, ODD: 1, "car": 2}


def test_frames_that_are_no_files_are_named_as_pictures():
    one = footage(picture("a.png"), picture("b.gif#000002"), pictures=["0001/a.png"])
    assert one.picture_names == {
        "0001/a.png": "0001/a.png",
        "0001/b.gif#000002": "0001/b.gif#000002.jpg",
    }
    assert footage(of_clip(1)).picture_names == {"my clip, ü.mp4/00000040ms": "my clip, ü.mp4/00000040ms.jpg"}


def test_two_pictures_of_one_stem_keep_their_suffixes():
    names = ["a.png", "A.jpg", "b.jpg"]
    one = footage(*map(picture, names), pictures=[f"0001/{name}" for name in names])
    assert list(one.stems.values()) == ["0001/a.png", "0001/A.jpg", "0001/b"]


def test_runs_end_where_the_box_or_the_tag_ends(clip):
    found = {tag: [[one.number for one in run] for run in of_tag] for tag, of_tag in runs(clip.found).items()}
    assert found == {ODD: [[0, 1], [3]], "bird": [[4]]}
    assert runs([of_clip(0, (0, 0, 9, 9)), of_clip(2, (0, 0, 9, 9))])[ODD][1][0].number == 2
    assert runs([]) == {}


def test_videos_and_pictures_are_apart(clip, pictures):
    assert list(clip.videos) == ["my clip, ü.mp4"] and not clip.stills
    assert pictures.videos == {} and len(pictures.stills) == 3
