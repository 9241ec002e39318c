from dataclasses import replace
from pathlib import Path

import pytest

from tcam_cache.datasets import Scan
from tcam_cache.datasets.annotations import Annotations, Row
from tcam_cache.errors import AnnotationError, ManifestError
from tcam_cache.records import Box, Shot


@pytest.fixture
def scan(make_shot):
    return Scan(
        Path("/data"), "ytov1", ("bird",), (make_shot(), make_shot("bird/0002/001", video="bird/0002"))
    )


def test_a_scan_without_faults_is_a_manifest(scan):
    manifest = scan.manifest()
    assert (manifest.layout, manifest.classes, manifest.shots) == ("ytov1", ("bird",), scan.shots)


def test_a_split_file_moves_videos_and_leaves_the_others_in_train(scan, caplog):
    moved = scan.with_splits({"bird/0002": "test"}, Path("splits.csv"))
    assert [shot.split for shot in moved.shots] == ["train", "test"] and moved.faults == ()
    assert "1 video(s) not in splits.csv are train, such as bird/0001" in caplog.text


def test_a_split_of_a_video_that_is_not_there_is_a_fault(scan):
    moved = scan.with_splits({"bird/0001": "val", "bird/0002": "val", "bird/9": "test"}, Path("splits.csv"))
    with pytest.raises(ManifestError) as caught:
        moved.manifest()
    assert caught.value.offenders == ("video bird/9 of splits.csv is not there",)


def test_a_box_that_fits_no_frame_is_a_fault_and_sets_no_box(scan):
    rows = [Row("sidecar", f"bird/0001/001/frame000{n}.jpg", "bird", Box(0, 0, 4, 4), "") for n in (1, 9)]
    scan = replace(scan, sizes_of=lambda root, names: dict.fromkeys(names, (16, 12)))
    boxed = scan.with_boxes(rows)
    assert boxed.faults == ("sidecar: bird/0001/001/frame0009.jpg is not there",)
    assert boxed.shots == scan.shots
    boxed = scan.with_boxes(rows[:1])
    assert boxed.shots[0].boxes == {0: (Box(0, 0, 4, 4),)}


def test_splits_of_annotations_take_precedence_over_those_of_the_layout(scan):
    row = Row("line 2", "bird/0002/001/frame0001.jpg", "bird", None, "test")
    annotations = Annotations(Path("boxes.csv"), (row,))
    assert [shot.split for shot in scan.annotated(annotations).shots] == ["train", "test"]
    listed = replace(scan, splits={"bird/0001": "val", "bird/0002": "val"})
    assert [shot.split for shot in listed.annotated(annotations).shots] == ["val", "test"]


def test_annotations_that_do_not_fit_are_refused(scan):
    row = Row("line 2", "bird/9.jpg", "bird", None, "test")
    with pytest.raises(AnnotationError, match=r"line 2: bird/9\.jpg is not there"):
        scan.annotated(Annotations(Path("boxes.csv"), (row,)))


def test_only_faults_of_broken_frames_go_with_them():
    shots = tuple(
        Shot(f"{tag}/1", tag, f"{tag}/1", "train", f"{tag}/1", ("a.jpg", "b.jpg"))
        for tag in ("cat", "bobcat")
    )
    faults = ("line 2: cat/1/a.jpg: empty file", "line 3: bobcat/1/a.jpg: box 1,1,0,0 is inverted")
    scan = Scan(Path("data"), "folders", ("cat", "bobcat"), shots, faults).without(
        {"cat/1/a.jpg": "empty file"}
    )
    assert scan.faults == faults[1:]
