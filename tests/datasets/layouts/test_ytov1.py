import logging
import shutil

import pytest

from tcam_cache.datasets import scan_ytov1
from tcam_cache.datasets.layouts.ytov1 import published_validation
from tcam_cache.errors import ManifestError
from tcam_cache.records import Box


def warnings_of(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_videos_shots_and_frames_are_where_the_distribution_puts_them(whole_ytov1):
    manifest = scan_ytov1(whole_ytov1).manifest()
    assert (manifest.layout, len(manifest.classes)) == ("ytov1", 10)
    assert len({shot.video for shot in manifest.shots}) == 80
    shot = manifest.shot("cat/data/0002/shots/001")
    assert (shot.tag, shot.video, shot.folder) == ("cat", "cat/data/0002", "cat/data/0002/shots/001")
    assert shot.frames == ("frame0001.jpg", "frame0002.jpg")
    assert (whole_ytov1 / shot.path(1)).is_file()


def test_boxes_are_read_from_the_sidecars_and_clipped_at_0(whole_ytov1):
    manifest = scan_ytov1(whole_ytov1).manifest()
    assert manifest.shot("cat/data/0002/shots/001").boxes == {0: (Box(2.5, 3, 20, 18),)}
    assert manifest.shot("cat/data/0008/shots/001").boxes == {0: (Box(2.5, 3, 20, 18), Box(0, 1, 9, 9))}
    assert manifest.shot("cat/data/0007/shots/001").boxes == {}


def test_test_videos_are_those_of_the_set_and_five_annotated_ones_are_val(whole_ytov1):
    splits = {shot.video: shot.split for shot in scan_ytov1(whole_ytov1).manifest().shots}
    for number, tag in enumerate(dict.fromkeys(video.partition("/")[0] for video in splits)):
        chosen = published_validation([f"{n:04d}" for n in range(1, 7)], number)
        assert {
            video for video, split in splits.items() if split == "val" and video.startswith(f"{tag}/")
        } == {f"{tag}/data/{video}" for video in chosen}
        assert (splits[f"{tag}/data/0007"], splits[f"{tag}/data/0008"]) == ("train", "test")


def test_a_class_with_fewer_annotated_videos_than_five_gives_all_of_them():
    assert sorted(published_validation(["0003", "0001"], 4)) == ["0001", "0003"]


def test_the_swapped_box_is_put_in_order_with_a_line_in_the_log(ytov1, caplog):
    manifest = scan_ytov1(ytov1).manifest()
    assert manifest.shot("horse/data/0004/shots/055").boxes == {0: (Box(2, 3, 20, 18),)}
    assert any("frame0020.jpg: x0 and x1 of its box were exchanged" in line for line in warnings_of(caplog))


def test_the_box_wider_than_its_image_ends_a_pixel_before_it_with_a_line_in_the_log(ytov1, caplog):
    manifest = scan_ytov1(ytov1).manifest()
    assert manifest.shot("boat/data/0006/shots/026").boxes == {0: (Box(0, 3, 31, 18),)}
    assert any("0006/shots/026/frame0001.jpg: its box is wider" in line for line in warnings_of(caplog))


def test_mended_boxes_that_are_whole_are_left_alone(ytov1, sidecar, caplog):
    sidecar(ytov1 / "horse/data/0004/shots/055/frame0020.jpg", (2, 3, 20, 18))
    sidecar(ytov1 / "boat/data/0006/shots/026/frame0001.jpg", (0, 3, 30, 18))
    manifest = scan_ytov1(ytov1).manifest()
    assert manifest.shot("horse/data/0004/shots/055").boxes == {0: (Box(2, 3, 20, 18),)}
    assert manifest.shot("boat/data/0006/shots/026").boxes == {0: (Box(0, 3, 30, 18),)}
    assert not any("known defect" in line for line in warnings_of(caplog))


def test_empty_shots_gaps_and_other_folders_are_counted_in_the_log(ytov1, caplog):
    (ytov1 / "cow/data/0011").mkdir()
    scan = scan_ytov1(ytov1)
    assert scan.faults == () and scan.manifest().facts == {"orientation": "stored", "empty_shots": 1}
    said = warnings_of(caplog)
    assert "1 empty shot(s) left out, such as bird/data/0001/shots/002" in said
    assert "1 shot(s) with gaps in the numbers of their frames, such as bird/data/0001/shots/003" in said
    assert "1 folder(s) that are no class ignored, such as thumbnails" in said
    assert "1 video(s) in neither set left out, such as cow/data/0011" in said


def test_a_download_that_stopped_half_way_lists_everything_missing_at_once(ytov1):
    shutil.rmtree(ytov1 / "train")
    shutil.rmtree(ytov1 / "cat/data/0008")
    shutil.rmtree(ytov1 / "dog/data/0003/shots")
    (ytov1 / "cow/sets/test.txt").unlink()
    (ytov1 / "car/data/0002/shots/001/frame0001.jpg").unlink()
    (ytov1 / "bird/data/0005/shots/001/frame0001.jpg_sticks.mat").write_bytes(b"")
    with pytest.raises(ManifestError, match="6 fault") as caught:
        scan_ytov1(ytov1).manifest()
    assert caught.value.offenders == (
        "class train is missing",
        "bird/data/0005/shots/001/frame0001.jpg_sticks.mat is empty. Expected a MATLAB file.",
        "car/data/0002/shots/001/frame0001.jpg is missing, but it has boxes",
        "video cat/data/0008 is missing, but in cat/sets",
        "cow/sets/test.txt is missing",
        "video dog/data/0003/shots is missing, but in dog/sets",
    )


def test_a_class_too_many_and_a_class_in_another_case_are_named(ytov1):
    (ytov1 / "bird").rename(ytov1 / "Bird")
    shutil.copytree(ytov1 / "cat", ytov1 / "tiger")
    assert scan_ytov1(ytov1).faults[:1] == ("class bird is missing; Bird is there, in another case",)
    assert any(fault.startswith("class tiger is none of aeroplane") for fault in scan_ytov1(ytov1).faults)


def test_names_of_frames_in_another_case_are_pointed_at(ytov1):
    frame = ytov1 / "car/data/0002/shots/001/frame0001.jpg"
    frame.rename(frame.with_name("Frame0001.JPG"))
    assert scan_ytov1(ytov1).faults == (
        "car/data/0002/shots/001/frame0001.jpg is missing; Frame0001.JPG is there, in another case,"
        " but it has boxes",
    )


def test_sets_that_are_wrong_are_named(ytov1):
    (ytov1 / "car/sets/test.txt").write_text("0008\n0001\nall\n")
    (ytov1 / "cow/sets/train.txt").write_bytes(b"\xff\xfe")
    assert scan_ytov1(ytov1).faults == (
        "car/sets/test.txt: 'all' is no number of a video",
        "video car/data/0001 is in both sets",
        "cow/sets/train.txt is not text",
    )


@pytest.mark.parametrize(
    ("corners", "fault"),
    [
        ((20, 3, 2, 18), "box 20,3,2,18 is inverted or empty; expected x0,y0,x1,y1, no width and height"),
        ((2, 18, 20, 3), "box 2,18,20,3 is inverted or empty; expected x0,y0,x1,y1, no width and height"),
        ((2, 3, 20), "box 2,3,20 is not four numbers"),
        ((2, 3, 20, float("nan")), "box 2,3,20,nan has a NaN or infinite corner"),
        ((40, 3, 50, 18), "box 40,3,50,18 is outside its 32x24 image"),
    ],
)
def test_a_box_in_the_wrong_order_or_outside_is_a_fault(ytov1, sidecar, corners, fault):
    frame = "cow/data/0002/shots/001/frame0001.jpg"
    sidecar(ytov1 / frame, corners)
    assert scan_ytov1(ytov1).faults == (f"sidecar: {frame}: {fault}",)


def test_boxes_in_one_array_are_read_row_by_row(ytov1, write_mat):
    import numpy as np

    frame = ytov1 / "cow/data/0002/shots/001/frame0001.jpg"
    write_mat(frame.with_name(f"{frame.name}_sticks.mat"), "coor", np.array([[1, 2, 3, 4.0], [5, 6, 7, 8]]))
    boxes = scan_ytov1(ytov1).manifest().shot("cow/data/0002/shots/001").boxes
    assert boxes == {0: (Box(1, 2, 3, 4), Box(5, 6, 7, 8))}


def test_text_for_boxes_is_a_fault(ytov1, write_mat):
    frame = ytov1 / "cow/data/0002/shots/001/frame0001.jpg"
    write_mat(frame.with_name(f"{frame.name}_sticks.mat"), "coor", ["none"], 7.3)
    assert "box none is not four numbers" in scan_ytov1(ytov1).faults[0]


def test_a_root_that_is_no_folder_is_named(tmp_path):
    with pytest.raises(ManifestError, match="nowhere is not a folder"):
        scan_ytov1(tmp_path / "nowhere")


def test_an_undecodable_frame_name_is_named(ytov1):
    from pathlib import Path

    Path(f"{ytov1}/cow/data/0002/shots/001/frame\udcff.jpg").write_bytes(b"")
    with pytest.raises(ManifestError, match=r"cow/data/0002/shots/001.*not UTF-8"):
        scan_ytov1(ytov1).manifest()


def test_a_link_that_leads_to_itself_is_named(ytov1):
    (ytov1 / "cow/data/0002/shots/002").symlink_to("002")
    with pytest.raises(ManifestError, match=r"shots/002 cannot be followed"):
        scan_ytov1(ytov1)
