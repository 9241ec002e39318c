import logging
from pathlib import Path

import pytest
from PIL import Image

from tcam_cache.datasets import scan_wsol, write_wsol
from tcam_cache.datasets.layouts.split_files import read_split_files
from tcam_cache.errors import FrameError, ManifestError
from tcam_cache.records import Box

REAL = Path(__file__).parents[2] / "../shared/data"
FOLDS = REAL / "yto_folds/YouTube-Objects-v2.2"


@pytest.fixture
def splits(two_classes, tmp_path, write_lines):
    """Split files: train shots, a val frame with two boxes, test frames; boxes on images twice as large."""
    folder = tmp_path / "splits"
    listed = {
        "train": ["bird/0001/002", "bird/0001/001"],
        "val": ["bird/0002/frame0003.jpg"],
        "test": ["car/0001/001/frame0002.jpg", "car/0001/001/frame0001.jpg"],
    }
    for split, paths in listed.items():
        write_lines(folder / split / "image_ids.txt", *paths)
        write_lines(folder / split / "class_labels.txt", *(f"{path},{int(path[0] == 'c')}" for path in paths))
        sizes = [f"{path},32,24" for path in paths if split != "train"]
        write_lines(folder / split / "image_sizes.txt", *sizes)
    write_lines(folder / "train/localization.txt")
    write_lines(
        folder / "val/localization.txt", f"{listed['val'][0]},2,4,8,10", f"{listed['val'][0]},0,0,32,24"
    )
    write_lines(folder / "test/localization.txt", *(f"{path},1,1,9,9.5" for path in listed["test"]))
    return folder


def test_folders_are_whole_shots_and_images_are_frames(two_classes, splits):
    manifest = scan_wsol(two_classes, splits).manifest()
    assert (manifest.layout, manifest.classes) == ("wsol", ("bird", "car"))
    assert [(shot.id, shot.video, shot.split, len(shot)) for shot in manifest.shots] == [
        ("bird/0001/001", "bird/0001", "train", 3),
        ("bird/0001/002", "bird/0001", "train", 3),
        ("bird/0002", "bird/0002", "val", 1),
        ("car/0001/001", "car/0001", "test", 2),
    ]
    assert manifest.shot("car/0001/001").frames == ("frame0001.jpg", "frame0002.jpg")


def test_boxes_are_scaled_to_the_files_as_they_are(two_classes, splits):
    manifest = scan_wsol(two_classes, splits).manifest()
    assert manifest.shot("bird/0002").boxes == {0: (Box(1, 2, 4, 5), Box(0, 0, 16, 12))}
    assert manifest.shot("car/0001/001").boxes[1] == (Box(0.5, 0.5, 4.5, 4.75),)


def test_boxes_of_frames_in_their_true_size_are_taken_as_they_stand(two_classes, splits):
    Image.new("RGB", (32, 24)).save(two_classes / "bird/0002/frame0003.jpg")
    assert scan_wsol(two_classes, splits).manifest().shot("bird/0002").boxes[0][0] == Box(2, 4, 8, 10)


def test_everything_that_is_not_there_is_listed_at_once(two_classes, splits):
    (two_classes / "bird/0002/frame0003.jpg").rename(two_classes / "bird/0002/Frame0003.JPG")
    (two_classes / "car/0001/001/frame0002.jpg").unlink()
    for image in (two_classes / "bird/0001/001").iterdir():
        image.unlink()
    (two_classes / "bird/0001/002").rename(two_classes / "elsewhere")
    with pytest.raises(ManifestError, match="4 fault") as caught:
        scan_wsol(two_classes, splits).manifest()
    assert caught.value.offenders == (
        "shot bird/0001/002 is missing",
        "shot bird/0001/001 is empty",
        "bird/0002/frame0003.jpg is missing; Frame0003.JPG is there, in another case",
        "car/0001/001/frame0002.jpg is missing",
    )


def test_faults_of_the_files_and_of_the_boxes_come_together(two_classes, splits, write_lines):
    frame = "bird/0002/frame0003.jpg"
    write_lines(splits / "val/localization.txt", f"{frame},9,4,8,10", f"{frame},40,4,60,10")
    faults = scan_wsol(two_classes, splits).faults
    assert faults == (
        f"val/localization.txt line 1: {frame}: box 9,4,8,10 is inverted or empty; "
        "expected x0,y0,x1,y1, no width and height",
        f"val/localization.txt line 2: {frame}: box 20,2,30,5 is outside its 16x12 image",
    )


def test_a_video_in_two_splits_is_refused(two_classes, splits, write_lines):
    write_lines(splits / "train/image_ids.txt", "bird/0001/001", "bird/0002")
    write_lines(splits / "train/class_labels.txt", "bird/0001/001,0", "bird/0002,0")
    with pytest.raises(ManifestError, match="bird/0002"):
        scan_wsol(two_classes, splits).manifest()


def test_frames_of_one_shot_have_one_class(two_classes, splits, write_lines):
    paths = [f"car/0001/001/frame000{n}.jpg" for n in (1, 2)]
    write_lines(splits / "test/class_labels.txt", *(f"{path},{n}" for n, path in enumerate(paths)))
    (splits / "class_id.yaml").write_text("{bird: 0, car: 1}")
    assert scan_wsol(two_classes, splits).faults == ("shot car/0001/001 has frames of 2 classes: bird, car",)


def test_an_image_outside_any_folder_is_named_where_others_are_of_videos(two_classes, splits, write_lines):
    write_lines(splits / "train/image_ids.txt", "frame0001.jpg", "bird/0001/001")
    write_lines(splits / "train/class_labels.txt", "frame0001.jpg,0", "bird/0001/001,0")
    (splits / "class_id.yaml").write_text("{bird: 0, car: 1}")
    assert "frame0001.jpg lies in no folder" in scan_wsol(two_classes, splits).faults[0]


def test_a_frame_listed_beside_its_whole_shot_must_be_there_too(two_classes, splits, write_lines):
    write_lines(
        splits / "val/image_ids.txt", "bird/0002", "bird/0002/frame0009.jpg", "bird/0002/frame0003.jpg"
    )
    write_lines(
        splits / "val/class_labels.txt",
        *(f"bird/0002{n},0" for n in ("", "/frame0009.jpg", "/frame0003.jpg")),
    )
    scan = scan_wsol(two_classes, splits)
    assert scan.faults == ("bird/0002/frame0009.jpg is missing",)
    assert len(next(shot for shot in scan.shots if shot.id == "bird/0002")) == 3


def test_a_root_that_is_no_folder_is_named(tmp_path, splits):
    with pytest.raises(ManifestError, match="nowhere is not a folder"):
        scan_wsol(tmp_path / "nowhere", splits)


def test_what_is_written_reads_back_the_same(two_classes, splits, tmp_path):
    manifest = scan_wsol(two_classes, splits).manifest()
    write_wsol(manifest, tmp_path / "again")
    assert scan_wsol(two_classes, tmp_path / "again").manifest() == manifest
    assert (tmp_path / "again/val/localization.txt").read_text().splitlines()[0].endswith(",1,2,4,5")
    assert (tmp_path / "again/class_id.yaml").read_text() == "{bird: 0, car: 1}\n"


def test_what_the_format_cannot_hold_is_left_out_and_counted(two_classes, splits, tmp_path, caplog):
    from tcam_cache.datasets import index_folders, read_annotations

    table = tmp_path / "boxes.csv"
    rows = ["bird/0001/001/frame0001.jpg,bird,1,1,5,5,train", "bird/0002/frame0002.jpg,bird,1,1,5,5,val"]
    table.write_text("\n".join(["frame,class,xmin,ymin,xmax,ymax,split", *rows]))
    write_wsol(index_folders(two_classes).annotated(read_annotations(table)).manifest(), tmp_path / "out")
    found = read_split_files(tmp_path / "out")
    assert {split: list(ids) for split, ids in found.ids.items()} == {
        "train": ["bird/0001/001", "bird/0001/002", "car/0001/001"],
        "val": ["bird/0002/frame0002.jpg"],
    }
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert said == [
        "1 box(es) of train are left out: the split files hold none there",
        "2 frame(s) of val without a box are not listed",
    ]


def test_an_annotated_frame_that_cannot_be_read_is_named_while_writing(two_classes, splits, tmp_path):
    manifest = scan_wsol(two_classes, splits).manifest()
    (two_classes / "bird/0002/frame0003.jpg").write_bytes(b"")
    with pytest.raises(FrameError, match=r"frame0003\.jpg: empty file"):
        write_wsol(manifest, tmp_path / "out")


def test_an_undecodable_name_in_a_listed_shot_is_named(two_classes, splits):
    Path(f"{two_classes}/bird/0001/001/frame\udcff.jpg").write_bytes(b"")
    with pytest.raises(ManifestError, match=r"bird/0001/001.*not UTF-8"):
        scan_wsol(two_classes, splits).manifest()


def test_a_listed_shot_that_is_a_link_to_itself_is_missing(two_classes, splits):
    (two_classes / "bird/0001/002").rename(two_classes / "elsewhere")
    (two_classes / "bird/0001/002").symlink_to("002")
    assert scan_wsol(two_classes, splits).faults == ("shot bird/0001/002 is missing",)


def written_folds(folder, listed, write_lines, numbers, boxes="{path},10,4,20,16"):
    """Write split files of 32x24 pictures, one box each."""
    for split, paths in listed.items():
        write_lines(folder / split / "image_ids.txt", *paths)
        write_lines(folder / split / "class_labels.txt", *(f"{path},{numbers(path)}" for path in paths))
        write_lines(folder / split / "image_sizes.txt", *(f"{path},32,24" for path in paths))
        write_lines(folder / split / "localization.txt", *(boxes.format(path=path) for path in paths))
    return folder


CUB = {
    split: [f"{tag}/{tag[4:]}_{number}.jpg" for tag in ("001.Gull", "002.Finch") for number in numbers]
    for split, numbers in {"train": (1, 2), "val": (3, 4), "test": (5, 6)}.items()
}
ILSVRC = {
    "train": ["train/n01/n01_1.JPEG", "train/n02/n02_7.JPEG"],
    "val": ["val2/0/a31041.jpeg", "val2/1/bcf8a5.jpeg"],
    "test": ["val/ILSVRC2012_val_00000001.JPEG", "val/ILSVRC2012_val_00000002.JPEG"],
}
OPEN_IMAGES = {
    split: [f"{split}/01226z/{split}a.jpg", f"{split}/01226z/{split}b.jpg", f"{split}/0138tl/{split}c.jpg"]
    for split in ("train", "val", "test")
}


@pytest.mark.parametrize(
    ("listed", "numbers", "classes"),
    [
        (CUB, lambda path: int(path[:3]) - 1, ("001.Gull", "002.Finch")),
        (ILSVRC, lambda path: int(path[-6] in "2f5") if "_7" not in path else 1, ("0", "1")),
        (OPEN_IMAGES, lambda path: int("0138tl" in path), ("01226z", "0138tl")),
    ],
    ids=["CUB", "ILSVRC", "OpenImages"],
)
def test_each_picture_of_the_protocols_data_sets_stands_for_itself(
    tmp_path, write_lines, listed, numbers, classes
):
    for path in (path for paths in listed.values() for path in paths):
        (tmp_path / "data" / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 12)).save(tmp_path / "data" / path, "JPEG")
    folds = written_folds(tmp_path / "folds", listed, write_lines, numbers)
    manifest = scan_wsol(tmp_path / "data", folds).manifest()
    assert manifest.classes == classes
    for split, paths in listed.items():
        assert {shot.id for shot in manifest.split(split)} == set(paths)
    for shot in manifest.shots:
        assert (shot.video, shot.path(0), len(shot)) == (shot.id, shot.id, 1)
        assert shot.boxes == {0: (Box(5, 2, 10, 8),)} and shot.tag == classes[numbers(shot.id)]
    write_wsol(manifest, tmp_path / "again")
    assert read_split_files(tmp_path / "again").ids["test"] == read_split_files(folds).ids["test"]


def test_frames_of_several_folders_a_class_are_those_of_videos(tmp_path, write_lines, add_frames):
    listed = {"train": ["1/frame0001.jpg", "1/frame0002.jpg", "2/frame0001.jpg"], "val": ["3/frame0001.jpg"]}
    for video in "123":
        add_frames(tmp_path / "data" / video, 2)
    folds = written_folds(tmp_path / "folds", listed, write_lines, lambda path: 0)
    (folds / "class_id.yaml").write_text("cat: 0")
    manifest = scan_wsol(tmp_path / "data", folds).manifest()
    assert [(shot.id, len(shot), shot.split) for shot in manifest.shots] == [
        ("1", 2, "train"), ("2", 1, "train"), ("3", 1, "val"),
    ]  # fmt: skip


def test_masks_are_said_not_to_be_read(tmp_path, write_lines, caplog):
    for path in OPEN_IMAGES["val"]:
        (tmp_path / "data" / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 12)).save(tmp_path / "data" / path)
    folds = written_folds(
        tmp_path / "folds",
        {"val": OPEN_IMAGES["val"]},
        write_lines,
        lambda path: int("0138tl" in path),
        "{path},{path}_m.png,{path}_ignore.png",
    )
    manifest = scan_wsol(tmp_path / "data", folds).manifest()
    assert len(manifest.shots) == 3 and not any(shot.boxes for shot in manifest.shots)
    assert "val/localization.txt names masks, which are not read: val has no boxes" in caplog.text


def test_what_is_odd_about_a_shot_is_said(two_classes, splits, caplog):
    for name in ("frame2 (conflicted copy).jpg", "frame01.jpg", "frame1.jpg"):
        Image.new("RGB", (16, 12)).save(two_classes / "bird/0001/001" / name)
    assert len(scan_wsol(two_classes, splits).manifest().shot("bird/0001/001")) == 5
    assert "1 conflicted cop(ies) left out, such as bird/0001/001/frame2" in caplog.text
    assert "leave the order of the frames open, such as bird/0001/001: " in caplog.text


def test_boxes_in_shares_of_the_picture_are_refused(two_classes, splits, write_lines):
    frame = "bird/0002/frame0003.jpg"
    write_lines(splits / "val/localization.txt", f"{frame},0.1,0.2,0.5,0.9")
    assert "a share of the picture; expected pixels" in scan_wsol(two_classes, splits).faults[0]


@pytest.mark.parametrize(("disk", "listed"), [("e\u0301", "\u00e9"), ("\u00e9", "e\u0301")])
def test_lists_in_one_unicode_form_find_files_in_the_other(tmp_path, write_lines, add_frames, disk, listed):
    add_frames(tmp_path / f"data/caf{disk}/0001", 1).joinpath("frame0001.jpg").rename(
        tmp_path / f"data/caf{disk}/0001/{disk}.jpg"
    )
    path = f"caf{listed}/0001/{listed}.jpg"
    folds = written_folds(tmp_path / "folds", {"val": [path]}, write_lines, lambda path: 0)
    (shot,) = scan_wsol(tmp_path / "data", folds).manifest().shots
    assert (shot.id, shot.tag, len(shot.boxes)) == ("caf\u00e9/0001", "caf\u00e9", 1)
    assert (tmp_path / "data" / shot.path(0)).is_file()


@pytest.mark.realdata
@pytest.mark.skipif(not REAL.is_dir(), reason="the real videos are not beside the checkout")
def test_published_split_files_fit_the_thumbnails(tmp_path):
    (tmp_path / "val").symlink_to(FOLDS / "val")
    (tmp_path / "class_id.yaml").symlink_to(FOLDS / "class_id.yaml")
    manifest = scan_wsol(REAL / "yto_mini", tmp_path).manifest()
    assert (len(manifest.classes), len(manifest.shots), manifest.frame_count) == (10, 177, 1177)
    boxes = {shot.path(t): found for shot in manifest.shots for t, found in shot.boxes.items()}
    with (REAL / "yto_mini/annotations.csv").open() as file:
        for line in file.readlines()[1:]:
            path, _, *corners, _ = line.strip().split(",")
            assert boxes[path][0] == pytest.approx([float(corner) for corner in corners], abs=0.06)
    write_wsol(manifest, tmp_path / "again")
    ids = [(folder / "val/image_ids.txt").read_text().split() for folder in (tmp_path, tmp_path / "again")]
    assert sorted(ids[0]) == sorted(ids[1])
