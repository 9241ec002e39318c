"""Tests of reading CVAT's XML, as its documentation and exports show it."""

import zipfile

import pytest

from tcam_cache.datasets import read_annotations
from tcam_cache.errors import AnnotationError

PICTURES = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task><id>5</id><name>a</name><size>3</size><mode>annotation</mode></task></meta>
  <image id="0" name="0001/a &amp; &#252;.jpg" width="64" height="48">
    <box label="dog" source="manual" occluded="0" xtl="1.50" ytl="2.00" xbr="30.25" ybr="40.00" z_order="0">
      <attribute name="age">1</attribute>
    </box>
    <polygon label="dog" source="manual" occluded="0" points="1,1;2,2;3,1" z_order="0"></polygon>
  </image>
  <image id="1" name="0001/b.jpg" width="64" height="48"></image>
  <image id="2" name="0001/c.jpg" width="64" height="48">
    <box label="dog" occluded="0" xtl="1" ytl="two" xbr="3" ybr="4" z_order="0"/>
    <box label="dog" occluded="0" xtl="1" ytl="2" xbr="3" ybr="4" rotation="12.50" z_order="0"/>
  </image>
</annotations>"""
VIDEO = """<annotations>
  <version>1.1</version>
  <meta><task><size>8</size><mode>interpolation</mode><start_frame>0</start_frame><stop_frame>7</stop_frame>
  <original_size><width>64</width><height>48</height></original_size><source>my clip.mp4</source>
  </task></meta>
  <track id="0" label="dog" source="auto">
    <box frame="1" keyframe="1" outside="0" occluded="0" xtl="0" ytl="0" xbr="10" ybr="10" z_order="0"/>
    <box frame="3" keyframe="1" outside="0" occluded="0" xtl="4" ytl="0" xbr="14" ybr="10" z_order="0"/>
    <box frame="4" keyframe="1" outside="1" occluded="0" xtl="4" ytl="0" xbr="14" ybr="10" z_order="0"/>
  </track>
  <track id="1" label="dog" source="manual">
    <box frame="6" keyframe="1" outside="0" occluded="0" xtl="1" ytl="1" xbr="5" ybr="5" z_order="0"/>
  </track>
</annotations>"""


@pytest.fixture
def read(tmp_path):
    def read_text(text):
        (tmp_path / "annotations.xml").write_text(text, encoding="utf-8")
        return read_annotations(tmp_path / "annotations.xml")

    return read_text


def test_boxes_of_pictures_have_the_size_that_they_were_drawn_on(read):
    found = read(PICTURES)
    assert found.elsewhere
    ((_, frame, tag, box, split, drawn_on, number),) = found.rows
    assert (frame, tag, split, number) == ("0001/a & ü.jpg", "dog", "", None)
    assert tuple(box) == (1.5, 2, 30.25, 40) and drawn_on == (64, 48)
    assert found.faults == (
        "image 2: 0001/c.jpg: box 1,two,3,4 is not four numbers",
        "image 2: 0001/c.jpg: the box is rotated; draw it upright",
    )


def test_tracks_are_boxes_of_numbered_frames(read):
    rows = read(VIDEO).rows
    assert {(row.frame, row.tag, row.drawn_on) for row in rows} == {("my clip.mp4", "dog", (64, 48))}
    assert {row.number: row.box[0] for row in rows} == {1: 0, 2: 2, 3: 4, 6: 1, 7: 1}


def test_frames_of_a_video_that_was_exported_as_pictures_are_numbered(read):
    text = VIDEO.partition("<track")[0] + (
        '<image id="0" name="frame_000004" width="64" height="48">'
        '<box label="dog" xtl="1" ytl="2" xbr="3" ybr="4"/></image></annotations>'
    )
    (row,) = read(text).rows
    assert (row.frame, row.number) == ("my clip.mp4", 4)


def test_tracks_of_several_videos_in_one_file_are_refused(read):
    with pytest.raises(AnnotationError, match="tracks of 2 videos") as caught:
        read(VIDEO.replace("</meta>", "<task><source>b.mp4</source></task></meta>"))
    assert caught.value.offenders == ("my clip.mp4", "b.mp4")


def test_a_file_that_is_cut_is_named(read):
    with pytest.raises(AnnotationError, match=r"annotations\.xml is not whole XML"):
        read(PICTURES[:300])


def test_the_archive_that_it_comes_in_is_to_be_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        archive.writestr("annotations.xml", PICTURES)
    with pytest.raises(AnnotationError, match="is a ZIP archive"):
        read_annotations(tmp_path / "export.zip")
