import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from tcam_cache.datasets import scan_ytov2_2
from tcam_cache.errors import ManifestError
from tcam_cache.records import Box


def warnings_of(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


@pytest.fixture
def ranges(ytov2_2, write_mat):
    """Return a function that writes the ranges of class cow."""

    def write(*columns):
        write_mat(ytov2_2 / "Ranges/ranges_cow.mat", "ranges", np.array(columns, float).T)
        return ytov2_2

    return write


def test_a_column_of_the_ranges_is_a_shot_under_its_published_id(whole_ytov2_2):
    manifest = scan_ytov2_2(whole_ytov2_2).manifest()
    shot = manifest.shot("cat/video-0004/shot-000000")
    assert (shot.tag, shot.video, shot.folder) == ("cat", "cat/video-0004", "cat")
    assert shot.frames == ("00000001.jpg", "00000002.jpg", "00000003.jpg")
    assert len({shot.video for shot in manifest.shots}) == 61
    assert all((whole_ytov2_2 / shot.path(0)).is_file() for shot in manifest.shots)


def test_boxes_are_read_from_the_ground_truth_of_both_parts(whole_ytov2_2):
    manifest = scan_ytov2_2(whole_ytov2_2).manifest()
    assert manifest.shot("cat/video-0003/shot-000003").boxes == {1: (Box(1, 2, 32, 24),)}
    assert manifest.shot("cat/video-0005/shot-000004").boxes == {0: (Box(2, 3, 20, 18), Box(5, 5, 9, 9))}


def test_the_first_three_training_videos_of_the_ranges_are_val(whole_ytov2_2):
    manifest = scan_ytov2_2(whole_ytov2_2).manifest()
    splits = {shot.video: shot.split for shot in manifest.shots if shot.tag == "cat"}
    assert splits == {
        "cat/video-0004": "val",
        "cat/video-0002": "val",
        "cat/video-0001": "val",
        "cat/video-0003": "train",
        "cat/video-0005": "test",
        "cat/video-0006": "train",
    }


def test_the_frame_of_two_ranges_stays_in_the_first_with_a_line_in_the_log(ytov2_2, caplog):
    manifest = scan_ytov2_2(ytov2_2).manifest()
    assert manifest.shot("horse/video-0007/shot-000007").frames[-1] == "00038465.jpg"
    assert manifest.shot("horse/video-0007/shot-000008").frames == ("00038466.jpg",)
    assert any("horse: frame 38465 is in two ranges, a known defect" in line for line in warnings_of(caplog))


def test_bare_videos_and_frames_in_no_range_are_counted(ytov2_2, caplog):
    scan_ytov2_2(ytov2_2)
    said = warnings_of(caplog)
    assert "1 frame(s) in no range left out, such as aeroplane/00000099.jpg" in said
    assert "11 video(s) without any box, taken as train, such as aeroplane/video-0006" in said


def test_ranges_that_overlap_are_all_named(ranges):
    root = ranges((1, 6, 4), (2, 3, 2), (5, 8, 1), (9, 10, 3), (10, 16, 5))
    assert [fault for fault in scan_ytov2_2(root).faults if "overlap" in fault] == [
        "Ranges/ranges_cow.mat: columns 1 and 2 overlap: frames 1 to 6 and 2 to 3",
        "Ranges/ranges_cow.mat: columns 1 and 3 overlap: frames 1 to 6 and 5 to 8",
        "Ranges/ranges_cow.mat: columns 4 and 5 overlap: frames 9 to 10 and 10 to 16",
    ]


def test_ranges_that_run_past_the_last_frame_are_named(ranges):
    root = ranges((1, 3, 4), (4, 10, 2), (11, 20, 5), (21, 2_000_000_000, 6))
    assert scan_ytov2_2(root).faults == (
        "cow: shot cow/video-0005/shot-000002, frames 11 to 20, runs past the last frame, 16",
        "cow: shot cow/video-0006/shot-000003, frames 21 to 2000000000, runs past the last frame, 16",
    )


@pytest.mark.parametrize(
    ("column", "fault"),
    [
        ((3, 1, 4), "column 1: 3 to 1 runs backwards"),
        ((0, 3, 4), "column 1: 0, 3, 4 are not whole numbers above 0"),
        ((1, 2.5, 4), "column 1: 1, 2.5, 4 are not whole numbers above 0"),
        ((1, 3, -1), "column 1: 1, 3, -1 are not whole numbers above 0"),
        ((1, float("nan"), 1), "column 1: 1, nan, 1 are not whole numbers above 0"),
    ],
)
def test_a_range_without_meaning_is_named(ranges, column, fault):
    faults = scan_ytov2_2(ranges(column, (4, 16, 5))).faults
    assert f"Ranges/ranges_cow.mat: {fault}" in faults


def test_ranges_of_another_shape_are_named(ytov2_2, write_mat):
    write_mat(ytov2_2 / "Ranges/ranges_cow.mat", "ranges", np.ones((2, 5)))
    assert (
        "Ranges/ranges_cow.mat: expected three rows: first frame, last frame, video"
        in scan_ytov2_2(ytov2_2).faults
    )


def test_a_download_that_stopped_half_way_lists_everything_missing_at_once(ytov2_2):
    shutil.rmtree(ytov2_2 / "train")
    (ytov2_2 / "bird/00000005.jpg").unlink()
    (ytov2_2 / "cat/00000002.jpg").unlink()
    (ytov2_2 / "cat/00000003.jpg").rename(ytov2_2 / "cat/00000003.JPG")
    (ytov2_2 / "dog/00000016.jpg").unlink()
    (ytov2_2 / "dog/00000015.jpg").unlink()
    (ytov2_2 / "GroundTruth/cow/bb_gtTest_cow.mat").unlink()
    (ytov2_2 / "Ranges/ranges_car.mat").write_bytes(b"<html>404</html>")
    with pytest.raises(ManifestError) as caught:
        scan_ytov2_2(ytov2_2).manifest()
    listed = "\n".join(caught.value.offenders)
    for fault in (
        "class train is missing",
        "bird/00000005.jpg is missing (shot bird/video-0002/shot-000001)",
        "cat: 2 frames of shot cat/video-0004/shot-000000 are missing: 00000002.jpg, 00000003.jpg",
        "dog: shot dog/video-0006/shot-000006, frames 15 to 16, runs past the last frame, 14",
        "bb_gtTest_cow.mat: No such file",
        "Ranges/ranges_car.mat is not a MATLAB file of version 5 or 7.3.",
    ):
        assert fault in listed, listed


def test_a_frame_in_another_case_is_pointed_at(ytov2_2):
    (ytov2_2 / "cat/00000002.jpg").rename(ytov2_2 / "cat/00000002.JPG")
    assert scan_ytov2_2(ytov2_2).faults == (
        "cat/00000002.jpg is missing; 00000002.JPG is there, in another case"
        " (shot cat/video-0004/shot-000000)",
    )


def test_a_class_too_many_is_named(ytov2_2):
    shutil.copy(ytov2_2 / "Ranges/ranges_cat.mat", ytov2_2 / "Ranges/ranges_tiger.mat")
    (ytov2_2 / "GroundTruth/lion").mkdir()
    assert [fault.split(" of")[0] for fault in scan_ytov2_2(ytov2_2).faults] == [
        "class tiger is none",
        "class lion is none",
    ]


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ({"im": "cow00000099", "bb": np.ones((1, 4))}, "cow00000099 is in no range"),
        ({"im": "cat00000001", "bb": np.ones((1, 4))}, "expected an id such as cow00000001 and rows of four"),
        ({"im": "cow00000011", "bb": np.ones((1, 3))}, "expected an id such as cow00000001 and rows of four"),
        ({"im": "cow00000011", "bb": np.array([[9.0, 3, 2, 18]])}, "box 9,3,2,18 is inverted"),
        (
            {"im": "cow00000001", "bb": np.array([[1.0, 1, 2, 2]])},
            "cow/video-0004 has boxes for training and for test",
        ),
    ],
)
def test_an_entry_of_the_ground_truth_that_cannot_be_used_is_named(ytov2_2, write_mat, entry, fault):
    good = {"im": "cow00000012", "bb": np.array([[1.0, 1, 2, 2]])}
    write_mat(ytov2_2 / "GroundTruth/cow/bb_gtTest_cow.mat", "bb_gtTest", [good, entry])
    faults = scan_ytov2_2(ytov2_2).faults
    assert len(faults) == 1 and fault in faults[0]


def test_an_undecodable_name_is_no_frame_of_a_range(ytov2_2, caplog):
    Path(f"{ytov2_2}/cow/frame\udcff.jpg").write_bytes(b"")
    assert scan_ytov2_2(ytov2_2).faults == ()
    assert any("2 frame(s) in no range left out" in line for line in warnings_of(caplog))
