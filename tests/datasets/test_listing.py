import os

import pytest

from tcam_cache.datasets import image_names, index_folders, refuse_links_out
from tcam_cache.datasets.listing import absent, list_folder, on_disk
from tcam_cache.errors import ManifestError


def test_folders_images_and_other_files_are_told_apart_in_natural_order(tmp_path):
    for name in ("10.jpg", "9.PNG", ".hidden.jpg", "9.jpg_sticks.mat"):
        (tmp_path / name).write_bytes(b"")
    for name in ("shot10", "shot9", ".git"):
        (tmp_path / name).mkdir()
    assert list_folder(tmp_path) == (
        ["shot9", "shot10"], ["9.PNG", "10.jpg"], ["9.jpg_sticks.mat"], [], ""
    )  # fmt: skip


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ManifestError, match="gone: No such file"):
        list_folder(tmp_path / "gone")


def test_a_link_that_leads_to_itself_is_named(two_classes):
    (two_classes / "bird/loop").symlink_to(two_classes / "bird/loop")
    with pytest.raises(ManifestError, match=r"bird/loop cannot be followed.*Remove the link"):
        index_folders(two_classes)


@pytest.mark.parametrize("place", ["bird/0003", "bird/0001/003"])
def test_a_link_back_up_adds_no_frame(two_classes, place):
    whole = index_folders(two_classes)
    (two_classes / place).symlink_to(two_classes, target_is_directory=True)
    assert index_folders(two_classes) == whole


def test_a_link_to_a_sibling_shot_is_refused(two_classes):
    (two_classes / "bird/0001/003").symlink_to("001")
    with pytest.raises(ManifestError, match="shot bird/0001/001 and bird/0001/003: one folder"):
        index_folders(two_classes)


def test_a_link_to_the_class_above_is_refused(two_classes):
    (two_classes / "car/again").symlink_to(two_classes / "bird")
    with pytest.raises(ManifestError, match="bird/0002 and car/again"):
        index_folders(two_classes)


def test_a_name_in_another_case_is_pointed_at():
    assert absent("a.jpg", ["b.jpg"]) == "a.jpg is missing"
    assert absent("a.jpg", ["b.jpg", "A.jpg"]) == "a.jpg is missing; A.jpg is there, in another case"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_a_folder_that_may_not_be_read_is_named(two_classes):
    (two_classes / "bird/0002").chmod(0)
    with pytest.raises(ManifestError, match="bird/0002: Permission denied"):
        index_folders(two_classes)


def test_what_systems_leave_behind_is_in_no_listing_at_any_depth(two_classes, add_frames):
    whole = index_folders(two_classes)
    images = image_names(two_classes)
    for place in ("", "bird", "bird/0001", "bird/0001/001"):
        add_frames(two_classes / place / "@eaDir/frame0001.jpg")
        add_frames(two_classes / place / "#recycle")
        add_frames(two_classes / place / "__MACOSX/0001/001")
        for name in ("._frame0001.jpg", "Thumbs.db", "desktop.ini", "frame0001.jpg.part", "Icon\r"):
            (two_classes / place / name).write_bytes(b"\0")
    assert index_folders(two_classes) == whole
    assert image_names(two_classes) == images


@pytest.mark.parametrize(
    "files",
    [
        {"cache.json": "{}"},
        {"config.json": "{}", "log.jsonl": ""},
        {"metrics.json": "{}", "frames.csv": ""},
        {"boxes.csv": "frame,predicted_class,probability,x0,y0,x1,y1,score\n"},
    ],
)
@pytest.mark.parametrize("place", ["out", "bird/out", "bird/0001/out"])
def test_the_programs_own_results_are_no_input(two_classes, add_frames, files, place):
    whole, images = index_folders(two_classes), image_names(two_classes)
    add_frames(two_classes / place / "overlays/0001")
    for name, text in files.items():
        (two_classes / place / name).write_text(text)
    assert index_folders(two_classes) == whole
    assert image_names(two_classes) == images


def test_overlays_written_beside_the_frames_are_no_input(two_classes, add_frames):
    images = image_names(two_classes)
    (two_classes / "boxes.csv").write_text("frame,predicted_class,probability,x0,y0,x1,y1,score\n")
    add_frames(two_classes / "overlays/bird")
    assert image_names(two_classes) == images


def test_a_file_of_true_boxes_beside_the_frames_hides_nothing(two_classes):
    whole = index_folders(two_classes)
    (two_classes / "bird/boxes.csv").write_text("frame,class,xmin,ymin,xmax,ymax\n")
    assert index_folders(two_classes) == whole


def test_a_conflicted_copy_is_left_out_and_said(two_classes, caplog):
    whole = index_folders(two_classes)
    (two_classes / "bird/0002/frame0001 (Ann's conflicted copy 2024-05-01).jpg").write_bytes(b"")
    assert index_folders(two_classes) == whole
    assert "1 conflicted cop(ies) left out, such as bird/0002/frame0001 (Ann" in caplog.text
    assert len(image_names(two_classes)) == 12


def test_two_names_that_differ_in_their_unicode_form_alone_are_refused(tmp_path, add_frames):
    for name in ("caf\u00e9", "cafe\u0301"):
        add_frames(tmp_path / name / "0001")
    with pytest.raises(ManifestError, match="NFC and NFD") as caught:
        list_folder(tmp_path)
    assert len(caught.value.offenders) == 1


def test_a_path_is_found_on_disk_in_the_other_form(tmp_path, add_frames):
    add_frames(tmp_path / "cafe\u0301/u\u0308")
    assert on_disk(tmp_path, "caf\u00e9/\u00fc") == "cafe\u0301/u\u0308"
    assert on_disk(tmp_path, "caf\u00e9/\u00f6") == "cafe\u0301/\u00f6"


def test_links_out_of_the_root_are_refused_and_those_within_are_not(two_classes, tmp_path, add_frames):
    (two_classes / "bird/0002").rename(two_classes / ".kept")
    (two_classes / "bird/0002").symlink_to(two_classes / ".kept")
    refuse_links_out(two_classes, index_folders(two_classes).shots, frames=True)
    add_frames(tmp_path / "elsewhere/0001")
    (two_classes / "fish").symlink_to(tmp_path / "elsewhere")
    (two_classes / "bird/0001/001/frame0009.jpg").symlink_to(tmp_path / "elsewhere/0001/frame0001.jpg")
    shots = index_folders(two_classes).shots
    for frames, links in ((False, ("fish",)), (True, ("fish", "bird/0001/001/frame0009.jpg"))):
        with pytest.raises(ManifestError, match="--follow-links") as caught:
            refuse_links_out(two_classes, shots, frames)
        assert caught.value.offenders == links
