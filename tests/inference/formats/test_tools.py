"""Tests of writing CVAT and Label Studio, against files in the shapes that their documentation shows."""

import json
from xml.etree import ElementTree

import pytest

from tcam_cache.inference.formats.footage import Footage
from tcam_cache.inference.formats.tools import cvat_files, frame_rate, label_studio_files

from .conftest import CLASSES, ODD, of_clip

LABELS = "".join(
    f"""
        <label>
          <name>{name}</name>
          <attributes />
        </label>"""
    for name in ("bird", "dög &amp; &lt;cat&gt;", "car")
)
VIDEO = f"""<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta>
    <task>
      <name>my clip, ü.mp4</name>
      <size>6</size>
      <mode>interpolation</mode>
      <start_frame>0</start_frame>
      <stop_frame>5</stop_frame>
      <labels>{LABELS}
      </labels>
      <original_size>
        <width>64</width>
        <height>48</height>
      </original_size>
      <source>my clip, ü.mp4</source>
    </task>
  </meta>
  <track id="0" label="dög &amp; &lt;cat&gt;" source="auto">
    <box frame="0" keyframe="1" outside="0" occluded="0" xtl="0.00" ytl="0.00" xbr="32.00" ybr="24.00" z_order="0" />
    <box frame="1" keyframe="1" outside="0" occluded="0" xtl="16.00" ytl="12.00" xbr="48.00" ybr="36.00" z_order="0" />
    <box frame="2" keyframe="1" outside="1" occluded="0" xtl="16.00" ytl="12.00" xbr="48.00" ybr="36.00" z_order="0" />
    <box frame="3" keyframe="1" outside="0" occluded="0" xtl="1.00" ytl="1.00" xbr="9.00" ybr="9.00" z_order="0" />
    <box frame="4" keyframe="1" outside="1" occluded="0" xtl="1.00" ytl="1.00" xbr="9.00" ybr="9.00" z_order="0" />
  </track>
  <track id="1" label="bird" source="auto">
    <box frame="4" keyframe="1" outside="0" occluded="0" xtl="2.00" ytl="2.00" xbr="10.00" ybr="10.00" z_order="0" />
    <box frame="5" keyframe="1" outside="1" occluded="0" xtl="2.00" ytl="2.00" xbr="10.00" ybr="10.00" z_order="0" />
  </track>
</annotations>
"""  # noqa: E501


def test_a_video_of_cvat_has_tracks_of_key_frames_that_end_outside(clip):
    assert cvat_files(clip) == {"cvat.xml": VIDEO}


def test_pictures_of_cvat_have_their_sizes_and_boxes(pictures):
    (text,) = cvat_files(pictures).values()
    root = ElementTree.fromstring(text.encode())
    assert root.findtext("meta/task/mode") == "annotation"
    assert [image.attrib for image in root.iter("image")] == [
        {"id": "0", "name": "0001/a b.jpg", "width": "64", "height": "48"},
        {"id": "1", "name": "0001/ü,&.png", "width": "64", "height": "48"},
        {"id": "2", "name": "0001/c.jpg", "width": "64", "height": "48"},
    ]
    assert [box.attrib for box in root.iter("box")] == [
        {
            "label": tag, "source": "auto", "occluded": "0", "xtl": corners[0], "ytl": corners[1],
            "xbr": corners[2], "ybr": corners[3], "z_order": "0",
        }
        for tag, corners in (
            (ODD, ("1.50", "2.00", "30.25", "40.00")), ("fox", ("0.00", "0.00", "64.00", "48.00")),
        )
    ]  # fmt: skip


def test_several_videos_have_a_file_each_for_cvat():
    found = [of_clip(0, (0, 0, 9, 9), video=name) for name in ("a.mp4", "b/c.mp4")]
    files = cvat_files(Footage(found, CLASSES, "dogs", frozenset()))
    assert list(files) == ["cvat/a.mp4.xml", "cvat/b/c.mp4.xml"]
    assert "<source>b/c.mp4</source>" in files["cvat/b/c.mp4.xml"]


def test_a_box_in_the_last_frame_needs_no_end(clip):
    found = [of_clip(0), of_clip(1, (0, 0, 9, 9))]
    root = ElementTree.fromstring(cvat_files(Footage(found, CLASSES, "", frozenset()))["cvat.xml"].encode())
    assert [(box.get("frame"), box.get("outside")) for box in root.iter("box")] == [("1", "0")]


def test_a_picture_of_label_studio_has_one_prediction_in_percent(pictures):
    tasks = json.loads(label_studio_files(pictures)["label-studio.json"])
    assert tasks[0] == {
        "data": {"image": "/data/local-files/?d=dogs/0001/a%20b.jpg", "tcam_cache": "0001/a b.jpg"},
        "predictions": [{
            "model_version": "tcam_cache",
            "score": 0.75,
            "result": [{
                "id": "box0", "type": "rectanglelabels", "from_name": "box", "to_name": "image",
                "image_rotation": 0, "original_width": 64, "original_height": 48, "score": 0.75,
                "value": {
                    "x": 2.34375, "y": 4.166667, "width": 44.921875, "height": 79.166667, "rotation": 0,
                    "rectanglelabels": [ODD],
                },
            }],
        }],
    }  # fmt: skip
    assert [len(task["predictions"]) for task in tasks] == [1, 1, 1]
    assert tasks[1]["predictions"][0]["result"] == []


def test_a_video_of_label_studio_counts_frames_from_one_and_has_one_prediction(clip):
    (task,) = json.loads(label_studio_files(clip)["label-studio.json"])
    assert task["data"] == {
        "video": "/data/local-files/?d=dogs/my%20clip%2C%20%C3%BC.mp4",
        "fps": 25.0,
        "tcam_cache": "my clip, ü.mp4",
    }
    (prediction,) = task["predictions"]
    first, second = prediction["result"]
    assert (first["type"], first["to_name"], first["value"]["labels"]) == ("videorectangle", "video", [ODD])
    assert (first["value"]["framesCount"], first["value"]["duration"]) == (6, 0.24)
    assert first["value"]["sequence"][1] == {
        "frame": 2, "time": 0.04, "x": 25.0, "y": 25.0, "width": 50.0, "height": 50.0, "rotation": 0,
        "enabled": False,
    }  # fmt: skip
    assert [(key["frame"], key["enabled"]) for key in first["value"]["sequence"]] == [
        (1, True),
        (2, False),
        (4, False),
    ]
    assert second["value"]["labels"] == ["bird"]


@pytest.mark.parametrize(
    ("kind", "names"), [("pictures", {"Image", "RectangleLabels"}), ("clip", {"Video", "VideoRectangle"})]
)
def test_the_set_up_of_label_studio_has_the_names_that_its_tasks_use(kind, names, request):
    footage = request.getfixturevalue(kind)
    files = label_studio_files(footage)
    root = ElementTree.fromstring(files["label-studio.xml"].encode())
    assert names <= {element.tag for element in root}
    tasks = json.loads(files["label-studio.json"])
    used = {(region["from_name"], region["to_name"]) for region in tasks[0]["predictions"][0]["result"]}
    offered = {(element.get("name"), element.get("toName")) for element in root}
    assert used <= offered
    values = {element.get("value") for element in root} - {None}
    assert {value.removeprefix("$") for value in values} <= set(tasks[0]["data"])
    assert [label.get("value") for label in root.iter("Label")] == list(footage.tags)


def test_the_rate_of_a_video_is_that_of_its_frames(clip):
    assert frame_rate(clip.found) == 25.0 and frame_rate(clip.found[:1]) == 25.0
    assert frame_rate([of_clip(0), of_clip(2)._replace(time=1.0)]) == 2.0
