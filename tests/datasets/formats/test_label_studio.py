"""Tests of reading Label Studio's JSON, as its documentation and exports show it."""

import json

import pytest

from tcam_cache.datasets import read_annotations
from tcam_cache.errors import AnnotationError


def picture(x, tag="dog", **value):
    value = {"x": x, "y": 25, "width": 50, "height": 50, "rotation": 0, "rectanglelabels": [tag], **value}
    names = {"from_name": "box", "to_name": "image", "original_width": 64, "original_height": 48}
    return {"id": "q", "type": "rectanglelabels", **names, "value": value}


def task(*regions, image="/data/local-files/?d=dogs/0001/a%20b.jpg", **more):
    return {"id": 7, "data": {"image": image}, "annotations": [{"id": 1, "result": list(regions)}], **more}


@pytest.fixture
def read(tmp_path):
    def read_tasks(*tasks):
        (tmp_path / "export.json").write_text(json.dumps(list(tasks)), encoding="utf-8")
        return read_annotations(tmp_path / "export.json")

    return read_tasks


def test_percent_of_a_picture_become_a_box_drawn_on_a_hundred_by_a_hundred(read):
    (row,) = read(task(picture(10))).rows
    assert (row.location, row.frame, row.tag) == ("task 7", "dogs/0001/a b.jpg", "dog")
    assert tuple(row.box) == (10, 25, 60, 75) and row.drawn_on == (100, 100)


@pytest.mark.parametrize(
    ("image", "frame"),
    [
        ("/data/upload/3/0123abcd-a_b.jpg", "a_b.jpg"),
        ("http://host:8080/data/upload/0123abcd-a.jpg", "a.jpg"),
        ("https://host/dogs/%C3%BC.jpg?x=1", "dogs/ü.jpg"),
        ("s3://bucket/dogs/a.jpg", "dogs/a.jpg"),
        ("dogs/a.jpg", "dogs/a.jpg"),
    ],
)
def test_a_picture_is_named_by_the_path_in_its_address(read, image, frame):
    assert read(task(picture(10), image=image)).rows[0].frame == frame


def test_a_task_that_was_written_here_names_its_frame_itself(read):
    region = task(picture(1))
    region["data"]["tcam_cache"] = "0001/a b.jpg"
    assert read(region).rows[0].frame == "0001/a b.jpg"


def test_annotations_count_before_predictions_and_cancelled_ones_do_not(read):
    predicted = {"predictions": [{"result": [picture(1)]}]}
    cancelled = {"result": [picture(3)], "was_cancelled": True}
    of = [
        task(picture(2), **predicted),
        {**task(**predicted), "annotations": []},
        {**task(), "annotations": [{"result": [picture(2)]}, {"result": [picture(4)]}, cancelled]},
        {**task(**predicted), "annotations": [cancelled]},
    ]
    assert [[row.box[0] for row in read(one).rows] for one in of] == [[2], [1], [4], []]


def test_a_track_is_interpolated_between_its_key_frames(read):
    def key(frame, x, enabled):
        return {"frame": frame, "x": x, "y": 0, "width": 10, "height": 10, "rotation": 0, "enabled": enabled}

    value = {"framesCount": 9, "duration": 0.36, "labels": ["dog"]}
    value["sequence"] = [key(1, 0, True), key(3, 20, False), key(6, 50, True)]
    region = {"id": "t", "type": "videorectangle", "from_name": "box", "to_name": "video", "value": value}
    data = {"video": "/data/upload/1/0123abcd-clip.mp4", "fps": 25}
    rows = read({"data": data, "annotations": [{"result": [region]}]}).rows
    assert {row.number: row.box[0] for row in rows} == {0: 0, 1: 10, 2: 20, 5: 50, 6: 50, 7: 50, 8: 50}
    assert {row.frame for row in rows} == {"clip.mp4"}


def test_regions_that_are_no_boxes_are_counted_and_left_out(read, caplog):
    found = read(task(picture(1), {"type": "brushlabels", "value": {"rle": []}}))
    assert len(found.rows) == 1 and "1 region(s) are no boxes" in caplog.text


def test_what_is_wrong_with_a_box_is_named_with_its_task(read):
    found = read(task(picture(1, rotation=30)), task(picture("x")), task({"type": "rectanglelabels"}))
    assert found.rows == ()
    assert found.faults[0] == "task 7: dogs/0001/a b.jpg: the box is rotated; draw it upright"
    assert "ValueError" in found.faults[1] and "KeyError: 'value'" in found.faults[2]


@pytest.mark.parametrize("content", ["[1]", '["a"]'])
def test_json_that_is_no_list_of_tasks_is_named(tmp_path, content):
    (tmp_path / "export.json").write_text(content)
    with pytest.raises(AnnotationError, match="no list of tasks"):
        read_annotations(tmp_path / "export.json")
