import os

import pytest

from tcam_cache.datasets import index_folders
from tcam_cache.datasets.listing import absent, list_folder
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
