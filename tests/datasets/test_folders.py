import logging
from pathlib import Path

import pytest

from tcam_cache.datasets import index_folders
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
        index_folders(two_classes)


def test_without_annotations_videos_are_split_by_seed(tmp_path, add_frames):
    for number in range(10):
        add_frames(tmp_path / f"bird/{number}", 1)
    manifest = index_folders(tmp_path, seed=1)
    assert [len(manifest.split(name)) for name in ("train", "val", "test")] == [6, 2, 2]
    assert index_folders(tmp_path, seed=1) == manifest
    assert index_folders(tmp_path, seed=2) != manifest


def test_annotations_without_splits_leave_the_seeded_split(two_classes, tmp_path):
    table = tmp_path / "boxes.csv"
    table.write_text("frame,class,xmin,ymin,xmax,ymax\nbird/0002/frame0001.jpg,bird,1,2,8,9\n")
    bare, boxed = index_folders(two_classes), index_folders(two_classes, table)
    assert [shot.split for shot in boxed.shots] == [shot.split for shot in bare.shots]
    assert boxed.shot("bird/0002").boxes == {0: ((1, 2, 8, 9),)}


def test_videos_that_a_split_column_leaves_out_are_train(two_classes, tmp_path):
    table = tmp_path / "splits.csv"
    table.write_text("frame,class,xmin,ymin,xmax,ymax,split\nbird/0002/frame0001.jpg,bird,,,,,test\n")
    manifest = index_folders(two_classes, table)
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
        index_folders(two_classes, table)


@pytest.mark.realdata
@pytest.mark.skipif(not REAL.is_dir(), reason="the real videos are not beside the checkout")
@pytest.mark.parametrize(
    ("name", "classes", "videos", "shots", "frames", "boxes"),
    [("davis", 6, 19, 19, 1264, 1264), ("yto_mini", 10, 30, 177, 1177, 1177)],
)
def test_real_video_is_indexed_whole(name, classes, videos, shots, frames, boxes):
    manifest = index_folders(REAL / name, REAL / name / "annotations.csv")
    assert len(manifest.classes) == classes
    assert len({shot.video for shot in manifest.shots}) == videos
    assert (len(manifest.shots), manifest.frame_count) == (shots, frames)
    assert sum(len(found) for shot in manifest.shots for found in shot.boxes.values()) == boxes
