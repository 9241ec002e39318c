"""Tests of reading COCO, YOLO and Pascal VOC, as other programs write them."""

import json

import pytest

from tcam_cache.datasets import read_annotations
from tcam_cache.errors import AnnotationError

COCO = {
    "info": {},
    "images": [
        {"id": 9, "file_name": "0001/a.jpg", "width": 64, "height": 48},
        {"id": 10, "file_name": "b.jpg"},
    ],
    "annotations": [
        {"id": 1, "image_id": 9, "category_id": 3, "bbox": [1, 2, 10.5, 20], "area": 210, "iscrowd": 0},
        {"id": 2, "image_id": 10, "category_id": 3, "bbox": [1, 2, 10, 20], "score": 0.5},
        {"id": 3, "image_id": 11, "category_id": 3, "bbox": [1, 2, 10, 20]},
        {"id": 4, "image_id": 9, "category_id": 3, "bbox": [1, 2, 10]},
        {"id": 5, "image_id": 9, "category_id": 3, "bbox": [1, 2, -10, 20]},
    ],
    "categories": [{"id": 3, "name": "dog", "supercategory": "animal"}],
}


def coco(tmp_path, content):
    (tmp_path / "instances.json").write_text(json.dumps(content))
    return read_annotations(tmp_path / "instances.json")


def test_boxes_of_coco_are_corners_and_wrong_ones_are_named(tmp_path):
    found = coco(tmp_path, COCO)
    first, second = found.rows
    assert (first.frame, first.tag, tuple(first.box), first.drawn_on) == (
        "0001/a.jpg",
        "dog",
        (1, 2, 11.5, 22),
        (64, 48),
    )
    assert second.drawn_on is None
    assert [fault.partition(":")[0] for fault in found.faults] == [
        "annotation 3",
        "annotation 4",
        "annotation 5",
    ]
    assert "inverted" in found.faults[2]


@pytest.mark.parametrize("content", [{}, {"images": [], "annotations": []}, {"images": [1]}])
def test_json_of_another_kind_is_named(tmp_path, content):
    with pytest.raises(AnnotationError, match="is no COCO file"):
        coco(tmp_path, content)


def test_json_that_is_cut_is_named(tmp_path):
    (tmp_path / "instances.json").write_text(json.dumps(COCO)[:99])
    with pytest.raises(AnnotationError, match="is not whole JSON"):
        read_annotations(tmp_path / "instances.json")


@pytest.fixture
def yolo(tmp_path, write_lines):
    def write(*lines, names="names: {0: cat, 7: dog}", label="labels/train/0001/a.txt"):
        write_lines(tmp_path / "y/data.yaml", "train: images/train", "val: images/train", names)
        write_lines(tmp_path / "y" / label, *lines)
        return read_annotations(tmp_path / "y")

    return write


def test_lines_of_yolo_are_shares_of_the_picture(yolo):
    found = yolo("7 0.5 0.5 0.25 0.5", "0 0.25 0.5 0.5 1 0.93", "")
    assert [(row.frame, row.tag, tuple(row.box)) for row in found.rows] == [
        ("0001/a", "dog", (0.375, 0.25, 0.625, 0.75)),
        ("0001/a", "cat", (0, 0, 0.5, 1)),
    ]
    assert {row.drawn_on for row in found.rows} == {(1, 1)}


def test_names_of_classes_may_be_a_list_in_yaml_or_in_a_file_beside_the_labels(yolo, tmp_path, write_lines):
    assert yolo("1 0.5 0.5 0.25 0.5", names="names: [cat, dög]").rows[0].tag == "dög"
    write_lines(tmp_path / "z/classes.txt", "cat", "dog")
    write_lines(tmp_path / "z/a.txt", "1 0.5 0.5 0.25 0.5")
    (row,) = read_annotations(tmp_path / "z").rows
    assert (row.frame, row.tag) == ("a", "dog")


def test_the_file_with_the_names_stands_for_its_folder(yolo, tmp_path, write_lines):
    rows = yolo("7 0.5 0.5 0.25 0.5").rows
    assert read_annotations(tmp_path / "y/data.yaml").rows == rows
    write_lines(tmp_path / "z/classes.txt", "cat")
    write_lines(tmp_path / "z/a.txt", "0 0.5 0.5 0.25 0.5")
    assert read_annotations(tmp_path / "z/classes.txt").rows == read_annotations(tmp_path / "z").rows


def test_lines_that_are_no_boxes_are_named(yolo):
    found = yolo("2 0.5 0.5 0.25 0.5", "0 0.5 0.5", "0 a b c d", "0 .1 .1 .2 .1 .2 .2 .1 .2", "0 .5 .5 0 .1")
    assert [fault.partition(": ")[0] for fault in found.faults] == [
        f"labels/train/0001/a.txt line {n}" for n in (1, 2, 3, 4, 5)
    ]
    assert "class 2 has no name" in found.faults[0] and "an outline" in found.faults[3]


def test_a_folder_without_names_of_classes_is_named(tmp_path):
    with pytest.raises(AnnotationError, match="is no folder of boxes"):
        read_annotations(tmp_path)


VOC = """<annotation>
  <folder>VOC2012</folder><filename>a.jpg</filename>
  <size><width>64</width><height>48</height><depth>3</depth></size>
  <object><name>dog</name><difficult>0</difficult>
    <bndbox><xmin>2</xmin><ymin>1</ymin><xmax>64</xmax><ymax>48</ymax></bndbox>
    <part><name>head</name><bndbox><xmin>2</xmin><ymin>1</ymin><xmax>3</xmax><ymax>4</ymax></bndbox></part>
  </object>
  <object><name>dog</name><bndbox><xmin>2</xmin><ymin/><xmax>9</xmax><ymax>9</ymax></bndbox></object>
</annotation>"""


def test_pixels_of_pascal_voc_count_from_one_to_the_last_inclusive(tmp_path):
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations/a.xml").write_text(VOC)
    found = read_annotations(tmp_path)
    (row,) = found.rows
    assert (row.location, row.frame, row.tag) == ("a.xml: object 1", "VOC2012/a.jpg", "dog")
    assert tuple(row.box) == (1, 0, 64, 48) and row.drawn_on == (64, 48)
    assert found.faults == ("a.xml: object 2: VOC2012/a.jpg: bndbox 2,,9,9 is not four numbers",)
    assert read_annotations(tmp_path / "Annotations/a.xml").rows[0].location == "object 1"


def test_xml_of_another_kind_is_named(tmp_path):
    (tmp_path / "a.xml").write_text("<svg/>")
    with pytest.raises(AnnotationError, match="XML with <svg>"):
        read_annotations(tmp_path / "a.xml")
