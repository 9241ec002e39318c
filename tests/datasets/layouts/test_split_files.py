import pytest

from tcam_cache.datasets import read_video_splits
from tcam_cache.datasets.layouts.split_files import read_split_files
from tcam_cache.errors import ManifestError

FRAME = "bird/0001/001/frame0001.jpg"


@pytest.fixture
def files(tmp_path, write_lines):
    """Return a function that writes the val files, some of them given, the others of one frame of a bird."""
    defaults = {
        "image_ids": [FRAME],
        "class_labels": [f"{FRAME},0"],
        "image_sizes": [f"{FRAME},160,120"],
        "localization": [f"{FRAME},10,20.5,30,40"],
    }

    def write(split="val", **given):
        for name, lines in {**defaults, **given}.items():
            write_lines(tmp_path / "splits" / split / f"{name}.txt", *lines)
        return tmp_path / "splits"

    return write


def test_a_frame_its_class_its_size_and_its_boxes_are_read(files):
    found = read_split_files(files(localization=[f"{FRAME},10,20.5,30,40", f"{FRAME},0,0,5,5"]))
    assert found.classes == ("bird",)
    assert found.ids == {"val": {FRAME: "bird"}}
    assert found.sizes == {FRAME: (160, 120)}
    assert [(path, tuple(box)) for path, box, _ in found.boxes] == [
        (FRAME, (10, 20.5, 30, 40)),
        (FRAME, (0, 0, 5, 5)),
    ]
    assert found.faults == ()


def test_the_null_box_says_that_a_frame_has_none(files):
    found = read_split_files(files(localization=[f"{FRAME},0.0,0.0,0.0,0.0"]))
    assert (found.boxes, found.faults) == ((), ())


def test_sizes_and_boxes_may_be_absent_as_for_train(files, write_lines):
    folder = files()
    write_lines(folder / "train/image_ids.txt", "bird/0002/001")
    write_lines(folder / "train/class_labels.txt", "bird/0002/001,0")
    found = read_split_files(folder)
    assert found.ids["train"] == {"bird/0002/001": "bird"} and found.faults == ()


def test_a_path_may_hold_commas_and_blank_lines_say_nothing(files):
    name = "bird/a, b/1.jpg"
    found = read_split_files(
        files(
            image_ids=[name, ""],
            class_labels=[f"{name},0"],
            image_sizes=[f"{name},16,12"],
            localization=[f"{name},1,2,3,4", ""],
        )
    )
    assert [path for path, _, _ in found.boxes] == [name] and found.faults == ()


@pytest.mark.parametrize("text", ["{sea bird: 1, aeroplane: 0}\n", "aeroplane: 0\nsea bird: 1\n"])
def test_classes_are_named_in_the_order_of_their_numbers(files, text):
    folder = files(class_labels=[f"{FRAME},1"])
    (folder / "class_id.yaml").write_text(text)
    found = read_split_files(folder)
    assert found.classes == ("aeroplane", "sea bird")
    assert found.ids["val"][FRAME] == "sea bird"


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"image_ids": [FRAME, FRAME]}, f"val/image_ids.txt line 2: {FRAME} is listed twice"),
        ({"class_labels": []}, f"val/image_ids.txt line 1: {FRAME} has no class in class_labels.txt"),
        ({"class_labels": [f"{FRAME},bird"]}, "val/class_labels.txt line 1: class 'bird'"),
        ({"class_labels": [f"{FRAME},0", "x.jpg,0"]}, "val/class_labels.txt line 2: x.jpg is not in"),
        ({"image_sizes": []}, f"val/localization.txt line 1: {FRAME} has a box, but no size"),
        ({"image_sizes": [f"{FRAME},0,9"]}, "val/image_sizes.txt line 1: size 0,9"),
        ({"image_sizes": [f"{FRAME},9"]}, "val/image_sizes.txt line 1"),
        ({"localization": [f"{FRAME},30,20,10,40"]}, f"line 1: {FRAME}: box 30,20,10,40 is inverted"),
        ({"localization": [f"{FRAME},1,2,3,x"]}, f"line 1: {FRAME}: box 1,2,3,x is not four numbers"),
        ({"localization": [f"{FRAME},1,2,3,inf"]}, "box 1,2,3,inf has a NaN or infinite corner"),
        ({"localization": ["y.jpg,1,2,3,4"]}, "val/localization.txt line 1: y.jpg is not in image_ids.txt"),
        ({"localization": ["1,2,3,4"]}, "val/localization.txt line 1: '1,2,3,4' has not 5 cells"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(files, given, fault):
    faults = read_split_files(files(**given)).faults
    assert any(fault in text for text in faults), faults


def test_one_number_for_two_names_asks_for_their_file(files):
    given = [FRAME, "car/0001/1.jpg"]
    found = read_split_files(files(image_ids=given, class_labels=[f"{path},0" for path in given]))
    assert "class 0 has the names bird, car" in found.faults[0] and "class_id.yaml" in found.faults[0]


def test_a_number_without_a_name_is_named(files):
    folder = files(class_labels=[f"{FRAME},7"])
    (folder / "class_id.yaml").write_text("{bird: 0}")
    assert read_split_files(folder).faults[0] == f"class 7 of {FRAME} is not in class_id.yaml"


def test_a_folder_without_split_files_says_what_was_expected(tmp_path):
    with pytest.raises(ManifestError, match=r"image_ids\.txt"):
        read_split_files(tmp_path)


def test_files_that_are_no_text_are_named(files):
    folder = files()
    (folder / "val/localization.txt").write_bytes(b"\xff\xff\x00")
    with pytest.raises(ManifestError, match=r"localization\.txt is not .*text in UTF-8"):
        read_split_files(folder)


def test_split_files_give_each_video_its_split(files):
    files()
    folder = files(
        split="train", image_ids=["bird/data/0002/shots/001"], class_labels=["bird/data/0002/shots/001,0"],
        image_sizes=[], localization=[],
    )  # fmt: skip
    assert read_video_splits(folder) == {"bird/0001": "val", "bird/data/0002": "train"}


def test_a_plain_file_gives_each_video_its_split(tmp_path, write_lines):
    path = write_lines(tmp_path / "splits.csv", "bird/0001,val", "bird/a, b,test")
    assert read_video_splits(path) == {"bird/0001": "val", "bird/a, b": "test"}


def test_every_wrong_line_of_a_plain_file_is_named(tmp_path, write_lines):
    path = write_lines(tmp_path / "splits.csv", "bird/0001,val", "bird/0001,test", "bird/2,dev", "bird")
    with pytest.raises(ManifestError) as caught:
        read_video_splits(path)
    assert caught.value.offenders == (
        "splits.csv line 3: split 'dev' is none of train, val, test",
        "splits.csv line 4: 'bird' has not 2 cells",
        "splits.csv line 2: video bird/0001 is in val already",
    )


def test_a_missing_file_of_splits_is_named(tmp_path):
    with pytest.raises(ManifestError, match=r"gone\.csv: No such file"):
        read_video_splits(tmp_path / "gone.csv")
