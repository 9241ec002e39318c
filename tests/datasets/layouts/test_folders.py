import logging
from pathlib import Path

import pytest

from tcam_cache.datasets import index_folders, read_annotations
from tcam_cache.errors import AnnotationError, ManifestError

REAL = Path(__file__).parents[2] / "../shared/data"


def warnings_of(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_both_depths_of_folders_are_indexed(two_classes):
    manifest = index_folders(two_classes)
    assert manifest.layout == "folders"
    assert manifest.classes == ("bird", "car")
    assert [(shot.id, shot.video, shot.tag) for shot in manifest.shots] == [
        ("bird/0001/001", "bird/0001", "bird"),
        ("bird/0001/002", "bird/0001", "bird"),
        ("bird/0002", "bird/0002", "bird"),
        ("car/0001/001", "car/0001", "car"),
    ]
    assert all((two_classes / shot.path(t)).is_file() for shot in manifest.shots for t in range(len(shot)))


def test_one_video_may_hold_frames_and_shots(tmp_path, add_frames):
    add_frames(tmp_path / "bird/0001", 2)
    add_frames(tmp_path / "bird/0001/001", 3)
    manifest = index_folders(tmp_path)
    assert [(shot.id, len(shot), shot.video) for shot in manifest.shots] == [
        ("bird/0001", 2, "bird/0001"),
        ("bird/0001/001", 3, "bird/0001"),
    ]


def test_frames_shots_and_videos_are_in_natural_order(tmp_path, add_frames):
    for folder in ("bird/10", "bird/9/2", "bird/9/10"):
        add_frames(tmp_path / folder, 1)
    for name in ("frame10.jpg", "frame2.jpg", "frame02.jpg", "frame1.jpg"):
        (tmp_path / "bird/10" / name).write_bytes(b"")
    (tmp_path / "bird/10/frame0001.jpg").unlink()
    manifest = index_folders(tmp_path)
    assert [shot.id for shot in manifest.shots] == ["bird/9/2", "bird/9/10", "bird/10"]
    assert manifest.shots[-1].frames == ("frame1.jpg", "frame02.jpg", "frame2.jpg", "frame10.jpg")


def test_common_image_suffixes_of_any_case_are_frames(tmp_path):
    folder = tmp_path / "bird/0001/001"
    folder.mkdir(parents=True)
    for name in ("1.jpg", "2.JPG", "3.jpeg", "4.PNG", "5.txt", "6.jpg.tmp", ".7.jpg", "._1.jpg"):
        (folder / name).write_bytes(b"")
    assert index_folders(tmp_path).shots[0].frames == ("1.jpg", "2.JPG", "3.jpeg", "4.PNG")


def test_hidden_and_stray_files_are_no_frames(two_classes, add_frames, caplog):
    add_frames(two_classes / ".thumbnails/0001/001")
    (two_classes / "videos.csv").write_text("")
    (two_classes / "cover.jpg").write_bytes(b"")
    (two_classes / "bird/cover.jpg").write_bytes(b"")
    add_frames(two_classes / "bird/0001/001/deeper")
    manifest = index_folders(two_classes)
    assert manifest.frame_count == 12
    assert warnings_of(caplog) == [
        "2 image(s) where no frame belongs ignored, such as cover.jpg",
        "1 folder(s) below a shot ignored, such as bird/0001/001/deeper",
    ]


def test_a_missing_root_is_named(tmp_path):
    with pytest.raises(ManifestError, match="nowhere"):
        index_folders(tmp_path / "nowhere")


def test_an_empty_root_says_what_was_expected(tmp_path):
    with pytest.raises(ManifestError, match="CLASS/VIDEO/SHOT"):
        index_folders(tmp_path)


def test_a_class_without_video_is_left_out_and_counted(two_classes, caplog):
    (two_classes / "fish").mkdir()
    (two_classes / "horse/0001/001").mkdir(parents=True)
    assert index_folders(two_classes).classes == ("bird", "car")
    assert "2 class(es) with no video left out, such as fish" in warnings_of(caplog)


def test_empty_shots_and_videos_are_left_out_and_counted(two_classes, caplog):
    (two_classes / "bird/0001/003").mkdir()
    (two_classes / "car/0002").mkdir()
    assert len(index_folders(two_classes).shots) == 4
    assert warnings_of(caplog) == ["2 empty shot folder(s) left out, such as bird/0001/003"]


def test_a_shot_of_one_frame_works_and_is_counted(tmp_path, add_frames, caplog):
    add_frames(tmp_path / "bird/0001/001", 1)
    with caplog.at_level(logging.INFO):
        assert len(index_folders(tmp_path).shots[0]) == 1
    assert "1 shot(s) of a single frame" in caplog.text
    assert warnings_of(caplog) == []


def test_one_video_under_two_classes_is_refused(two_classes):
    (two_classes / "car/0009").symlink_to(two_classes / "bird/0001")
    with pytest.raises(ManifestError, match="video bird/0001 and car/0009"):
        index_folders(two_classes)


def test_one_class_folder_under_two_names_is_refused(two_classes):
    (two_classes / "vogel").symlink_to(two_classes / "bird")
    with pytest.raises(ManifestError) as caught:
        index_folders(two_classes)
    assert len(caught.value.offenders) == 2


def test_a_class_kept_elsewhere_may_be_linked(two_classes, tmp_path, add_frames):
    add_frames(tmp_path / "other disk/0001/001")
    (two_classes / "fish").symlink_to(tmp_path / "other disk")
    assert index_folders(two_classes).classes == ("bird", "car", "fish")


def test_a_file_name_that_is_not_utf8_is_named(two_classes):
    Path(str(two_classes / "bird/0001/001/") + "/frame\udcff.jpg").write_bytes(b"")
    with pytest.raises(ManifestError, match=r"bird/0001/001.*not UTF-8"):
        index_folders(two_classes).manifest()


def test_without_annotations_videos_are_split_by_seed(tmp_path, add_frames):
    for number in range(10):
        add_frames(tmp_path / f"bird/{number}", 1)
    manifest = index_folders(tmp_path, seed=1).manifest()
    assert [len(manifest.split(name)) for name in ("train", "val", "test")] == [6, 2, 2]
    assert index_folders(tmp_path, seed=1).manifest() == manifest
    assert index_folders(tmp_path, seed=2).manifest() != manifest


def test_annotations_without_splits_leave_the_seeded_split(two_classes, tmp_path):
    table = tmp_path / "boxes.csv"
    table.write_text("frame,class,xmin,ymin,xmax,ymax\nbird/0002/frame0001.jpg,bird,1,2,8,9\n")
    bare = index_folders(two_classes)
    boxed = bare.annotated(read_annotations(table)).manifest()
    assert [shot.split for shot in boxed.shots] == [shot.split for shot in bare.shots]
    assert boxed.shot("bird/0002").boxes == {0: ((1, 2, 8, 9),)}


def test_videos_that_a_split_column_leaves_out_are_train(two_classes, tmp_path):
    table = tmp_path / "splits.csv"
    table.write_text("frame,class,xmin,ymin,xmax,ymax,split\nbird/0002/frame0001.jpg,bird,,,,,test\n")
    manifest = index_folders(two_classes).annotated(read_annotations(table)).manifest()
    assert {shot.video: shot.split for shot in manifest.shots} == {
        "bird/0001": "train",
        "bird/0002": "test",
        "car/0001": "train",
    }
    assert not any(shot.boxes for shot in manifest.shots)


def test_annotations_that_contradict_the_folders_are_refused(two_classes, tmp_path):
    table = tmp_path / "boxes.csv"
    table.write_text("frame,class,xmin,ymin,xmax,ymax\nbird/0002/frame0001.jpg,car,1,2,8,9\n")
    with pytest.raises(AnnotationError, match="video bird/0002"):
        index_folders(two_classes).annotated(read_annotations(table))


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("Training", "validation", "TEST"), ("train", "test")]
)
def test_folders_of_splits_on_top_are_the_splits(tmp_path, add_frames, names):
    for name in names:
        for video in ("cat/0001", "cat/0002/001", "dog/0001"):
            add_frames(tmp_path / name / video, 1)
    manifest = index_folders(tmp_path)
    assert manifest.classes == ("cat", "dog") and len(manifest.shots) == 3 * len(names)
    expected = {"train": "train", "training": "train", "val": "val", "validation": "val", "test": "test"}
    assert all(shot.split == expected[shot.id.split("/")[0].lower()] for shot in manifest.shots)
    assert {shot.tag for shot in manifest.shots if "dog" in shot.id} == {"dog"}


def test_a_csv_has_the_last_word_on_a_split(tmp_path, add_frames):
    for name in ("train/cat/1", "train/cat/2", "val/cat/3"):
        add_frames(tmp_path / "data" / name, 1)
    table = tmp_path / "boxes.csv"
    table.write_text("frame,class,xmin,ymin,xmax,ymax,split\ntrain/cat/2/frame0001.jpg,cat,,,,,test\n")
    scan = index_folders(tmp_path / "data").annotated(read_annotations(table))
    found = {shot.id: shot.split for shot in scan.shots}
    assert found == {"train/cat/1": "train", "train/cat/2": "test", "val/cat/3": "val"}


def test_a_class_may_be_called_train(tmp_path, add_frames):
    for name in ("train/0001", "boat/0001"):
        add_frames(tmp_path / name, 1)
    assert index_folders(tmp_path).classes == ("boat", "train")


def test_splits_beside_other_folders_or_below_a_class_are_refused(tmp_path, add_frames):
    for name in ("a/train/cat/1", "a/val/cat/2", "a/labels/cat/3", "b/cat/train/1", "b/cat/test/2"):
        add_frames(tmp_path / name, 1)
    with pytest.raises(ManifestError, match=r"\(train, val\) beside others") as caught:
        index_folders(tmp_path / "a")
    assert caught.value.offenders == ("labels",)
    with pytest.raises(ManifestError, match=r"splits below a class.*SPLIT/CLASS/VIDEO"):
        index_folders(tmp_path / "b")


def test_a_level_that_means_nothing_is_passed_over_and_said(tmp_path, add_frames, caplog):
    for name in ("cat/videos/0001", "cat/videos/0002/001", "dog/data/0001/001", "fish/frames"):
        add_frames(tmp_path / name, 1)
    manifest = index_folders(tmp_path)
    assert [shot.video for shot in manifest.shots] == [
        "cat/videos/0001", "cat/videos/0002", "dog/data/0001", "fish/frames",
    ]  # fmt: skip
    assert "2 folder(s) between a class and its videos passed over, such as cat/videos" in caplog.text


def test_classes_taken_for_videos_are_noticed(tmp_path, add_frames, caplog):
    for name in ("data/cat/0001", "data/dog/0001"):
        add_frames(tmp_path / "one" / name, 1)
        add_frames(tmp_path / "two/left" / name[5:], 1)
        add_frames(tmp_path / "two/right" / name[5:], 1)
    index_folders(tmp_path / "two")
    assert "every class (left, right) has the same videos, cat, dog: are those the classes?" in caplog.text
    caplog.clear()
    index_folders(tmp_path / "one")
    assert (
        f"one class, data, with the videos cat, dog: if those are the classes, give {tmp_path}" in caplog.text
    )


def test_videos_taken_for_classes_are_noticed(two_classes, add_frames, caplog):
    add_frames(two_classes / "bird/0002/001")
    index_folders(two_classes / "bird")
    assert "every class is a number (0001, ...): if those are videos, give the folder above" in caplog.text


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("cat/clip.MP4", r"1 video file\(s\), such as cat/clip.MP4.*--layout videos"),
        ("cat/0001/clip.avi", r"such as cat/0001/clip.avi.*--layout videos"),
        ("clip.mkv", r"such as clip.mkv.*--layout videos"),
        ("cat/1.jpg", r"in no video's folder, such as cat/1.jpg.*a folder of its own"),
        ("1.jpg", r"in no video's folder, such as 1.jpg"),
        ("a/b/c/d/1.jpg", r"one lies at a/b/c/d/1.jpg"),
    ],
)
def test_a_root_without_frames_says_what_it_holds_and_what_to_do(tmp_path, path, said):
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_bytes(b"")
    with pytest.raises(ManifestError, match=said):
        index_folders(tmp_path)


def test_video_files_beside_frames_are_said(two_classes, caplog):
    (two_classes / "bird/0001/clip.mp4").write_bytes(b"")
    assert len(index_folders(two_classes).shots) == 4
    assert "1 video file(s) ignored: they are for --layout videos, such as bird/0001/clip.mp4" in caplog.text


def test_an_order_that_the_names_leave_open_is_said(tmp_path, caplog):
    (tmp_path / "cat/0001").mkdir(parents=True)
    for time in ("0.25", "0.5", "1", "10.5"):
        (tmp_path / f"cat/0001/{time}.jpg").write_bytes(b"")
    assert index_folders(tmp_path).shots[0].frames == ("0.25.jpg", "0.5.jpg", "1.jpg", "10.5.jpg")
    assert "leave the order of the frames open, such as cat/0001: digits around a point" in caplog.text


def test_a_csv_in_one_unicode_form_finds_folders_in_the_other(tmp_path, add_frames):
    add_frames(tmp_path / "data/cafe\u0301/u\u0308ber", 1)
    table = tmp_path / "boxes.csv"
    header = "frame,class,xmin,ymin,xmax,ymax,split\n"
    table.write_text(f"{header}caf\u00e9/\u00fcber/frame0001.jpg,caf\u00e9,1,2,9,9,val\n", encoding="utf-8")
    manifest = index_folders(tmp_path / "data").annotated(read_annotations(table)).manifest()
    (shot,) = manifest.shots
    assert (manifest.classes, shot.id, shot.split) == (("caf\u00e9",), "caf\u00e9/\u00fcber", "val")
    assert shot.boxes == {0: ((1, 2, 9, 9),)} and (tmp_path / "data" / shot.path(0)).is_file()


@pytest.mark.realdata
@pytest.mark.skipif(not REAL.is_dir(), reason="the real videos are not beside the checkout")
@pytest.mark.parametrize(
    ("name", "classes", "videos", "shots", "frames", "boxes"),
    [("davis", 6, 19, 19, 1264, 1264), ("yto_mini", 10, 30, 177, 1177, 1177)],
)
def test_real_video_is_indexed_whole(name, classes, videos, shots, frames, boxes):
    annotations = read_annotations(REAL / name / "annotations.csv")
    manifest = index_folders(REAL / name).annotated(annotations)
    assert len(manifest.classes) == classes
    assert len({shot.video for shot in manifest.shots}) == videos
    assert (len(manifest.shots), manifest.frame_count) == (shots, frames)
    assert sum(len(found) for shot in manifest.shots for found in shot.boxes.values()) == boxes
