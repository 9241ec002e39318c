"""Tests of boxes.csv: what is written is read, rows of earlier versions too."""

from hypothesis import given
from hypothesis import strategies as st

from tcam_cache.datasets.boxes_table import FoundBox, found_boxes, found_line, header
from tcam_cache.records import Box

NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)
SHARES = st.integers(0, 10000).map(lambda value: value / 10000)
PIXELS = st.integers(0, 64000).map(lambda value: value / 100)


@st.composite
def found(draw):
    box = draw(st.none() | st.builds(Box, PIXELS, PIXELS, PIXELS, PIXELS))
    time = draw(st.none() | st.integers(0, 10**8).map(lambda ms: ms / 1000))
    place = draw(NAMES | st.just("")), draw(st.integers(0, 10**6)), draw(NAMES), time
    later = draw(st.none() | SHARES), draw(st.none() | SHARES), draw(st.none() | st.integers(0, 99))
    size, tag = (draw(st.integers(1, 9999)), 48), draw(NAMES)
    return FoundBox(*place, *size, tag, draw(SHARES), box, draw(SHARES), *later)


@given(st.lists(found(), max_size=4))
def test_what_is_written_is_read(rows):
    text = header() + "".join(map(found_line, rows))
    assert list(found_boxes(text)) == rows


def test_a_name_that_a_spreadsheet_would_compute_is_quoted_and_read_back():
    row = FoundBox("", 0, "=1+1.png", None, 8, 8, "-dog", 1.0, None, 1.0)
    line = found_line(row)
    assert "'=1+1.png" in line and "'-dog" in line
    assert list(found_boxes(header() + line)) == [row]


def test_rows_of_an_earlier_version_have_no_size():
    text = (
        "frame,predicted_class,probability,x0,y0,x1,y1,score\n"
        "0001/a.jpg,dog,0.9,1.0,2.0,3.5,4.0,0.8\n"
        "00000040ms,dog,0.9,,,,,0.8\n"
    )
    first, second = found_boxes(text)
    assert first == FoundBox("", 0, "0001/a.jpg", None, 0, 0, "dog", 0.9, Box(1, 2, 3.5, 4), 0.8)
    assert (second.frame, second.box, second.width) == ("00000040ms", None, 0)


def test_rows_of_before_confidence_presence_and_track_are_read():
    row = FoundBox("a.mp4", 1, "00000040ms", 0.04, 64, 48, "dog", 0.9, Box(1, 2, 3, 4), 1.0)
    before = [line.rsplit(",", 3)[0] for line in (header() + found_line(row)).splitlines()]
    assert before[0].endswith(",ymax,score")
    assert list(found_boxes("\n".join(before) + "\n")) == [row]


def test_a_row_that_is_cut_is_left_out():
    whole = found_line(FoundBox("a.mp4", 1, "00000040ms", 0.04, 64, 48, "dog", 0.9, None, 1.0))
    assert len(list(found_boxes(header() + whole + whole[:12]))) == 1
    assert list(found_boxes("")) == []


def test_a_frame_is_named_by_its_time_in_a_video_and_by_its_path_among_pictures():
    of_video = FoundBox("a.mp4", 1, "00000040ms", 0.04, 64, 48, "dog", 0.9, None, 1.0)
    assert (of_video.frame, of_video.path) == ("00000040ms", "a.mp4/00000040ms")
    picture = of_video._replace(video="0001", name="b.jpg", time=None)
    assert picture.frame == picture.path == "0001/b.jpg"
