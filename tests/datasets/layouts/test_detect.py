"""Tests of finding out how footage is laid out."""

import logging

import pytest

from tcam_cache.datasets import detect_layout
from tcam_cache.errors import ManifestError


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


@pytest.mark.parametrize(
    ("names", "layout"),
    [
        (["dog/a.mp4", "car/b.MOV"], "videos"),
        (["train/dog/a.mp4", "test/dog/b.mp4"], "videos"),
        (["dog/a.mp4", "dog/poster.jpg"], "videos"),
        (["dog/1/frame1.jpg", "car/2/001/frame1.png"], "folders"),
        (["train/dog/1/1.jpg", "val/dog/2/1.jpg"], "folders"),
        (["dog/1/1.jpg", "dog/readme.txt", "empty/notes.txt"], "folders"),
        (["cat/data/0001/shots/001/frame1.jpg", "cat/sets/train.txt"], "ytov1"),
        (["cat/00000001.jpg", "Ranges/ranges_cat.mat", "GroundTruth/cat/x.mat"], "ytov2.2"),
    ],
)
def test_a_layout_is_told_by_what_lies_below_the_tags(tmp_path, caplog, names, layout):
    caplog.set_level(logging.INFO, "tcam_cache")
    assert detect_layout(touch(tmp_path, *names)) == layout
    assert f"is read as --layout {layout}, " in caplog.text


def test_a_csv_lists_videos_and_another_file_is_refused(tmp_path):
    touch(tmp_path, "list.CSV", "a.txt")
    assert detect_layout(tmp_path / "list.CSV") == "videos"
    with pytest.raises(ManifestError, match=r"a\.txt is neither a folder nor a CSV"):
        detect_layout(tmp_path / "a.txt")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (
            ["dog/a.mp4", "car/1/1.jpg"],
            "holds video files, such as dog/a.mp4, and frames, such as car/1/1.jpg",
        ),
        (
            ["a.mp4"],
            "holds a.mp4, which has no tag. Move each video into a folder that is named after its tag",
        ),
        (["1.jpg", "2.jpg"], "holds 1.jpg, which has no tag"),
        (["dog/1.jpg"], "pictures that are in no video's folder, such as dog/1.jpg"),
        (
            ["data/dog/videos/a.mp4"],
            "one lies at data/dog/videos/a.mp4: give the folder that holds the folders",
        ),
        (["dog/notes.txt"], "holds no video and no frame at the level expected. Expected CLASS"),
    ],
)
def test_what_fits_no_layout_is_named_with_what_is_expected(tmp_path, names, said):
    with pytest.raises(ManifestError) as caught:
        detect_layout(touch(tmp_path, *names))
    assert said in caught.value.message


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ManifestError, match="is not a folder"):
        detect_layout(tmp_path / "nothing")
