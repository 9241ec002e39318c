import json

import pytest
from PIL import Image

from tcam_cache.datasets import check_frames, index_folders
from tcam_cache.errors import FrameError, ManifestError


@pytest.fixture
def broken(two_classes):
    """Return the manifest of a data set in which something is wrong in every shot but one."""
    manifest = index_folders(two_classes)
    whole = (two_classes / "bird/0001/001/frame0001.jpg").read_bytes()
    (two_classes / "bird/0001/001/frame0001.jpg").write_bytes(whole[:-30])
    (two_classes / "bird/0001/001/frame0002.jpg").write_bytes(b"")
    (two_classes / "bird/0001/002/frame0003.jpg").unlink()
    (two_classes / "bird/0001/002/frame0001.jpg").write_bytes(b"no image: just text")
    Image.new("L", (8, 6)).save(two_classes / "bird/0002/frame0002.jpg")
    Image.new("CMYK", (16, 12)).save(two_classes / "bird/0002/frame0003.jpg")
    return manifest


@pytest.mark.parametrize("workers", [0, 2])
def test_everything_missing_or_broken_is_listed_at_once(broken, workers):
    report = check_frames(broken, workers)
    assert (report.shots, report.frames) == (4, 12)
    assert report.broken == {
        "bird/0001/001/frame0001.jpg": "truncated",
        "bird/0001/001/frame0002.jpg": "empty file",
        "bird/0001/002/frame0001.jpg": "not an image",
        "bird/0001/002/frame0003.jpg": "missing",
    }
    assert report.mixed_sizes == {"bird/0002": ("16x12", "8x6")}
    assert report.modes == {"L": 1, "CMYK": 1}


def test_a_sound_data_set_raises_nothing(two_classes):
    report = check_frames(index_folders(two_classes), workers=1)
    assert (report.broken, report.mixed_sizes, report.modes) == ({}, {}, {})
    report.raise_if_broken()


def test_the_report_is_json(broken):
    values = json.loads(json.dumps(check_frames(broken, workers=1).to_json()))
    assert values["broken"]["bird/0001/002/frame0003.jpg"] == "missing"
    assert values["mixed_sizes"] == {"bird/0002": ["16x12", "8x6"]}


def test_the_report_can_be_raised_as_one_error(broken):
    with pytest.raises(FrameError, match="4 of 12 frames") as caught:
        check_frames(broken, workers=1).raise_if_broken()
    assert "bird/0001/001/frame0002.jpg: empty file" in caught.value.offenders


def test_the_report_can_be_read_by_people(broken):
    lines = check_frames(broken, workers=1).to_text().splitlines()
    assert lines[0] == "12 frames of 4 shots decoded, 4 cannot be read"
    assert "  bird/0001/001/frame0001.jpg: truncated" in lines
    assert "  shot bird/0002: frames of 16x12, 8x6" in lines
    assert "  1 frame(s) of mode CMYK, read as RGB" in lines


def test_what_is_known_to_be_wrong_already_stands_beside_the_frames(broken):
    report = check_frames(broken, workers=1, faults=("class fish is missing",))
    assert json.loads(json.dumps(report.to_json()))["faults"] == ["class fish is missing"]
    assert "  class fish is missing" in report.to_text().splitlines()
    with pytest.raises(FrameError, match=r"4 of 12 frames cannot be read, and 1 other") as caught:
        report.raise_if_broken()
    assert caught.value.offenders[-1] == "class fish is missing" and len(caught.value.offenders) == 5


def test_a_data_set_that_is_not_whole_is_refused_although_its_frames_can_be_read(two_classes):
    report = check_frames(index_folders(two_classes), workers=1, faults=("class fish is missing",))
    with pytest.raises(ManifestError, match="all 12 frames can be read, but"):
        report.raise_if_broken()
