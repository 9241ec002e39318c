"""Tests of writing COCO, YOLO and Pascal VOC: exact files, and what their own programs read in them."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from tcam_cache.inference.formats.detection import coco_files, voc_files, xml_text, yolo_files, yolo_pictures


def written(folder, files):
    for name, text in files.items():
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return Path(folder)


def test_coco_has_every_frame_and_every_box_with_its_score(pictures):
    content = json.loads(coco_files(pictures)["coco.json"])
    assert content["images"][1] == {"id": 2, "file_name": "0001/ü,&.png", "width": 64, "height": 48}
    assert content["categories"][3] == {"id": 4, "name": "fox"}
    first, second = content["annotations"]
    assert first == {
        "id": 1, "image_id": 1, "category_id": 2, "bbox": [1.5, 2, 28.75, 38], "score": 0.75,
        "area": 1092.5, "iscrowd": 0,
    }  # fmt: skip
    assert (second["id"], second["image_id"], second["bbox"]) == (2, 3, [0, 0, 64, 48])


def test_pycocotools_scores_the_boxes_as_right_against_themselves(pictures, tmp_path, capsys):
    coco = pytest.importorskip("pycocotools.coco")
    from pycocotools.cocoeval import COCOeval

    folder = written(tmp_path, coco_files(pictures))
    truth = coco.COCO(str(folder / "coco.json"))
    scores = COCOeval(truth, truth.loadRes(str(folder / "coco_results.json")), "bbox")
    scores.evaluate()
    scores.accumulate()
    scores.summarize()
    assert scores.stats[0] == pytest.approx(1) and scores.stats[8] == pytest.approx(1)


def test_yolo_has_shares_of_the_picture_and_an_empty_file_without_a_box(pictures):
    files = yolo_files(pictures)
    assert files["yolo/labels/0001/a b.txt"] == "1 0.248047 0.437500 0.449219 0.791667\n"
    assert files["yolo/labels/0001/ü,&.txt"] == ""
    assert files["yolo/labels/0001/c.txt"] == "3 0.500000 0.500000 1.000000 1.000000\n"
    data = yaml.safe_load(files["yolo/data.yaml"])
    assert data == {
        "train": "images",
        "val": "images",
        "names": {0: "bird", 1: "dög & <cat>", 2: "car", 3: "fox"},
    }


def test_a_label_lies_where_the_name_of_its_picture_says(pictures, clip):
    for footage in (pictures, clip):
        labels = {name for name in yolo_files(footage) if name.endswith(".txt")}
        links = yolo_pictures(footage).values()
        assert {
            str(Path(link.replace("/images/", "/labels/")).with_suffix(".txt")) for link in links
        } == labels
    assert yolo_pictures(clip)["my clip, ü.mp4/00000040ms"] == "yolo/images/my clip, ü.mp4/00000040ms.jpg"


def test_supervision_reads_the_boxes_of_coco_yolo_and_voc(pictures, tmp_path):
    sv = pytest.importorskip("supervision")
    pictures = type(pictures)(
        [one._replace(video="") for one in pictures.found],
        pictures.classes,
        "",
        frozenset(one.name for one in pictures.found),
    )
    folder = written(
        tmp_path, coco_files(pictures) | yolo_files(pictures) | voc_files(pictures) | {"yolo/images/x": ""}
    )
    images = folder / "yolo/images"
    (images / "x").unlink()
    for one in pictures.found:
        Image.new("RGB", (64, 48)).save(images / one.name)
    read = {
        "coco": sv.DetectionDataset.from_coco(str(images), str(folder / "coco.json")),
        "yolo": sv.DetectionDataset.from_yolo(
            str(images), str(folder / "yolo/labels"), str(folder / "yolo/data.yaml")
        ),
        "voc": sv.DetectionDataset.from_pascal_voc(str(images), str(folder / "voc")),
    }
    for name, data in read.items():
        found = {Path(path).name: boxes for path, boxes in data.annotations.items()}
        assert len(found["ü,&.png"]) == 0
        for one in (pictures.found[0], pictures.found[2]):
            tolerance = 1 if name == "voc" else 0.01
            np.testing.assert_allclose(found[one.name].xyxy, [one.box], atol=tolerance)
            assert data.classes[found[one.name].class_id[0]] == one.tag


def test_voc_counts_whole_pixels_from_one_to_the_last_inclusive(pictures):
    files = voc_files(pictures)
    assert (
        files["voc/0001/c.xml"]
        == """<?xml version="1.0" encoding="utf-8"?>
<annotation>
  <folder>0001</folder>
  <filename>c.jpg</filename>
  <size>
    <width>64</width>
    <height>48</height>
    <depth>3</depth>
  </size>
  <segmented>0</segmented>
  <object>
    <name>fox</name>
    <pose>Unspecified</pose>
    <truncated>0</truncated>
    <difficult>0</difficult>
    <bndbox>
      <xmin>1</xmin>
      <ymin>1</ymin>
      <xmax>64</xmax>
      <ymax>48</ymax>
    </bndbox>
  </object>
</annotation>
"""
    )
    assert "<filename>ü,&amp;.png</filename>" in files["voc/0001/ü,&.xml"]
    assert "<object>" not in files["voc/0001/ü,&.xml"]


def test_no_frame_gives_files_that_say_so(pictures):
    none = type(pictures)([], pictures.classes, "dogs", frozenset())
    assert json.loads(coco_files(none)["coco.json"])["images"] == []
    assert json.loads(coco_files(none)["coco_results.json"]) == []
    assert list(yolo_files(none)) == ["yolo/data.yaml"] and voc_files(none) == {}


def test_characters_that_xml_has_no_place_for_are_replaced():
    from xml.etree import ElementTree

    root = ElementTree.Element("name", {"of": "a\x01b"})
    assert ElementTree.fromstring(xml_text(root).encode()).get("of") == "a\ufffdb"
