"""Tests of the files beside boxes.csv: which are asked for, their pictures, and what is left of before."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tcam_cache.config.predict import FORMATS
from tcam_cache.datasets import ImageFrames
from tcam_cache.datasets.boxes_table import FoundBox
from tcam_cache.inference.boxes_folder import BoxesFolder
from tcam_cache.inference.formats.writing import WRITERS, write_formats
from tcam_cache.records import Box, Shot

NAMES = ("0001/a b.png", "0001/ü.png", "0001/moves.gif#000000", "0001/moves.gif#000001")


@pytest.fixture
def write(tmp_path):
    """Return a function that writes the boxes of two pictures and two frames of a GIF in some formats."""
    root = tmp_path / "in"
    (root / "0001").mkdir(parents=True)
    shades = [Image.new("RGB", (64, 48), (60 * n, 60, 30)) for n in range(1, 3)]
    for name in NAMES[:2]:
        shades[0].save(root / name)
    shades[0].save(root / "0001/moves.gif", save_all=True, append_images=shades[1:], duration=40)
    shot = Shot("new", "", "new", "test", ".", NAMES)

    def run(*formats):
        folder = BoxesFolder.begin(tmp_path / "out", dict.fromkeys(NAMES, "stamp"), {"input": str(root)})
        with folder:
            for number, name in enumerate(NAMES):
                box = None if number == 1 else Box(1.5, 2, 30, 40)
                place = "0001", number, Path(name).name, None
                folder.add(FoundBox(*place, 64, 48, "dog", 0.9, box, 0.8))
        return write_formats(folder, formats, ["dog"], ImageFrames(root), shot, root)

    return run


def files_of(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


OWN = ["boxes.csv", "files.json", "frames.jsonl", "predict.json"]


def test_every_format_that_can_be_asked_for_has_a_writer():
    assert set(FORMATS) == {"csv", *WRITERS}


def test_only_what_is_asked_for_is_written(write, tmp_path):
    assert write("csv") == []
    assert files_of(tmp_path / "out") == ["boxes.csv", "frames.jsonl", "predict.json"]
    assert write("csv", "cvat", "label-studio") == ["cvat.xml", "label-studio.json", "label-studio.xml"]
    assert files_of(tmp_path / "out") == sorted([*OWN, "cvat.xml", "label-studio.json", "label-studio.xml"])


def test_of_a_file_for_each_frame_the_folder_is_named_or_what_opens_it(write):
    assert write("voc", "yolo") == ["voc/", "yolo/data.yaml"]


def test_what_is_not_asked_for_again_is_removed_and_other_files_stay(write, tmp_path):
    write("yolo", "coco", "voc")
    (tmp_path / "out/voc/mine.xml").write_text("keep")
    write("csv")
    assert files_of(tmp_path / "out") == sorted([*OWN, "voc/mine.xml"])


def test_yolo_finds_the_picture_of_each_label(write, tmp_path):
    assert write("yolo") == ["yolo/data.yaml"]
    images = tmp_path / "out/yolo/images/0001"
    assert sorted(path.name for path in images.iterdir()) == [
        "a b.png", "moves.gif#000000.jpg", "moves.gif#000001.jpg", "ü.png",
    ]  # fmt: skip
    for path in images.iterdir():
        with Image.open(path) as picture:
            assert picture.size == (64, 48)
    shades = [np.asarray(Image.open(images / f"moves.gif#00000{n}.jpg"))[0, 0, 0] for n in (0, 1)]
    assert shades == [pytest.approx(60, abs=3), pytest.approx(120, abs=3)]
    labels = [path.relative_to(tmp_path / "out/yolo/labels") for path in (images.parents[1]).rglob("*.txt")]
    assert sorted(map(str, labels)) == [
        "0001/a b.txt", "0001/moves.gif#000000.txt", "0001/moves.gif#000001.txt", "0001/ü.txt",
    ]  # fmt: skip


def test_pictures_of_files_are_not_written_again(write, tmp_path):
    write("coco")
    assert files_of(tmp_path / "out/pictures") == ["0001/moves.gif#000000.jpg", "0001/moves.gif#000001.jpg"]
    names = [one["file_name"] for one in json.loads((tmp_path / "out/coco.json").read_text())["images"]]
    assert names == [*NAMES[:2], f"{NAMES[2]}.jpg", f"{NAMES[3]}.jpg"]


def test_the_same_call_writes_the_same_files(write, tmp_path):
    formats = tuple(WRITERS)
    write(*formats)
    before = {name: (tmp_path / "out" / name).read_bytes() for name in files_of(tmp_path / "out")}
    write(*formats)
    assert {name: (tmp_path / "out" / name).read_bytes() for name in files_of(tmp_path / "out")} == before
