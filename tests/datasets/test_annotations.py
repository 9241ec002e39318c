import logging

import pytest

from tcam_cache.datasets import attach, index_folders, read_annotations
from tcam_cache.errors import AnnotationError

HEADER = "frame,class,xmin,ymin,xmax,ymax,split"


@pytest.fixture
def attached(two_classes, tmp_path):
    """Return a function that attaches rows to the 16x12 frames of `two_classes`."""

    def attach_rows(*rows, header=HEADER):
        table = tmp_path / "boxes.csv"
        table.write_text("\n".join((header, *rows)) + "\n")
        return attach(index_folders(two_classes).shots, read_annotations(table), two_classes)

    return attach_rows


def offenders_of(function, *rows, **given):
    with pytest.raises(AnnotationError) as caught:
        function(*rows, **given)
    return caught.value.offenders


def test_boxes_and_splits_reach_their_shots(attached):
    shots, splits = attached(
        "bird/0001/001/frame0002.jpg,bird,1,2,8,9,val",
        "bird/0001/001/frame0002.jpg,bird,3.5,2,8,9,val",
        "car/0001/001/frame0001.jpg,car,0,0,16,12,test",
    )
    boxes = {shot.id: dict(shot.boxes) for shot in shots}
    assert boxes == {
        "bird/0001/001": {1: ((1, 2, 8, 9), (3.5, 2, 8, 9))},
        "bird/0001/002": {},
        "bird/0002": {},
        "car/0001/001": {0: ((0, 0, 16, 12),)},
    }
    assert splits == {"bird/0001": "val", "car/0001": "test"}


def test_the_split_column_is_optional(attached):
    shots, splits = attached("bird/0002/frame0001.jpg,bird,1,2,8,9", header="frame,class,xmin,ymin,xmax,ymax")
    assert splits == {}
    assert sum(len(shot.boxes) for shot in shots) == 1


def test_a_row_may_give_only_a_split(attached):
    shots, splits = attached("bird/0002/frame0001.jpg,bird,,,,,test")
    assert splits == {"bird/0002": "test"}
    assert not any(shot.boxes for shot in shots)


def test_spaces_byte_order_marks_and_backslashes_do_no_harm(attached):
    shots, splits = attached(
        "bird\\0002\\frame0001.jpg, bird, 1, 2, 8, 9, val",
        "./bird/0002/frame0002.jpg,bird,1,2,8,9,val",
        header="\ufeff frame, class,xmin,ymin,xmax,ymax,split,note",
    )
    assert shots[2].boxes == {0: ((1, 2, 8, 9),), 1: ((1, 2, 8, 9),)}
    assert splits == {"bird/0002": "val"}


def test_columns_may_come_in_any_order(attached):
    shots, _ = attached("9,8,2,1,bird,bird/0002/frame0001.jpg", header="ymax,xmax,ymin,xmin,class,frame")
    assert shots[2].boxes == {0: ((1, 2, 8, 9),)}


def test_missing_columns_are_all_named(attached):
    assert offenders_of(attached, header="frame,xmin,ymin,xmax") == ("class", "ymax")


def test_an_empty_file_lacks_every_column(tmp_path):
    (tmp_path / "boxes.csv").write_text("")
    assert len(offenders_of(read_annotations, tmp_path / "boxes.csv")) == 6


@pytest.mark.parametrize("content", [b"\xff\xff\x00frame", b'frame,"' + b"x" * 200_000])
def test_a_file_that_is_no_csv_is_named(tmp_path, content):
    (tmp_path / "boxes.csv").write_bytes(content)
    with pytest.raises(AnnotationError, match=r"boxes\.csv is not a CSV file"):
        read_annotations(tmp_path / "boxes.csv")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(AnnotationError, match=r"absent\.csv: No such file"):
        read_annotations(tmp_path / "absent.csv")


@pytest.mark.parametrize(
    ("cells", "fault"),
    [
        ("bird,nan,2,8,9,val", "box nan,2,8,9 has a NaN or infinite corner"),
        ("bird,1,2,inf,9,val", "box 1,2,inf,9 has a NaN or infinite corner"),
        ("bird,one,2,8,9,val", "box one,2,8,9 is not four numbers"),
        ('bird,"1,5",2,8,9,val', "box 1,5,2,8,9 is not four numbers; decimals take a point"),
        ("bird,1,2,8,,val", "box 1,2,8, is not four numbers"),
        ("bird,1,2", "box 1,2,, is not four numbers"),
        ("bird,8,2,1,9,val", "box 8,2,1,9 is inverted or empty; expected x0,y0,x1,y1, no width and height"),
        ("bird,1,9,8,2,val", "box 1,9,8,2 is inverted or empty; expected x0,y0,x1,y1, no width and height"),
        ("bird,1,2,1,9,val", "box 1,2,1,9 is inverted or empty; expected x0,y0,x1,y1, no width and height"),
        ("bird,16,2,20,9,val", "box 16,2,20,9 is outside its 16x12 image"),
        ("bird,1,-9,8,0,val", "box 1,-9,8,0 is outside its 16x12 image"),
        (
            "bird,0.1,0.2,0.5,0.9,val",
            "box 0.1,0.2,0.5,0.9 is smaller than a pixel, a share of the picture; expected pixels",
        ),
        ("bird,0,0,1,1,val", "box 0,0,1,1 is smaller than a pixel, a share of the picture; expected pixels"),
        (
            "bird,1,2,30,9,val",
            "box 1,2,30,9 reaches far beyond its 16x12 image: is it of another frame size?",
        ),
        ("bird,1,2,8,9,valid", "split 'valid' is none of train, val, test"),
        ("bird,,,,,", "neither a box nor a split"),
    ],
)
def test_a_misfit_is_named_with_its_line_and_frame(attached, cells, fault):
    assert offenders_of(attached, f"bird/0002/frame0001.jpg,{cells}") == (
        f"line 2: bird/0002/frame0001.jpg: {fault}",
    )


def test_a_row_with_too_many_cells_is_named(attached):
    assert offenders_of(attached, "bird/0002/frame0001.jpg,bird,1,2,8,9,val,9") == (
        "line 2: more cells than columns",
    )


def test_a_frame_that_is_not_there_is_named(attached):
    assert offenders_of(attached, "bird/0002/frame0099.jpg,bird,1,2,8,9,val") == (
        "line 2: bird/0002/frame0099.jpg is not there",
    )


def test_a_video_of_another_class_is_named_once_with_its_lines(attached):
    rows = [f"bird/0001/001/frame000{n}.jpg,car,1,2,8,9,val" for n in (1, 2, 3)]
    rows += ["bird/0001/002/frame0001.jpg,car,1,2,8,9,val"]
    assert offenders_of(attached, *rows) == (
        "video bird/0001: lies under class 'bird', but line 2, line 3, line 4 and 1 more says 'car'",
    )


def test_a_video_in_two_splits_is_named_with_its_lines(attached):
    assert offenders_of(
        attached,
        "bird/0001/001/frame0001.jpg,bird,1,2,8,9,val",
        "bird/0001/002/frame0001.jpg,bird,1,2,8,9,test",
    ) == ("video bird/0001: in 2 splits (val in line 2, test in line 3)",)


def test_an_annotated_frame_that_cannot_be_read_is_named(attached, two_classes):
    (two_classes / "bird/0002/frame0001.jpg").write_bytes(b"")
    assert offenders_of(attached, "bird/0002/frame0001.jpg,bird,1,2,8,9,val") == (
        "bird/0002/frame0001.jpg: empty file",
    )


def test_names_of_another_folder_are_found_by_their_end_and_their_tag(two_classes, tmp_path):
    table = tmp_path / "boxes.csv"
    columns = "video,frame,name,width,height,tag,xmin,ymin,xmax,ymax"
    rows = ["0001/001,0,frame0001.jpg,16,12,car,1,2,8,9", "0002,0,frame0003.jpg,32,24,bird,2,4,16,18"]
    table.write_text("\n".join([columns, *rows]) + "\n")
    shots, _ = attach(index_folders(two_classes).shots, read_annotations(table), two_classes)
    found = {shot.id: dict(shot.boxes) for shot in shots if shot.boxes}
    assert found == {"car/0001/001": {0: ((1, 2, 8, 9),)}, "bird/0002": {2: ((1, 2, 8, 9),)}}
    table.write_text("\n".join([columns, ",0,frame0001.jpg,16,12,bird,1,2,8,9"]) + "\n")
    with pytest.raises(AnnotationError) as caught:
        attach(index_folders(two_classes).shots, read_annotations(table), two_classes)
    assert caught.value.offenders == (
        "line 2: frame0001.jpg may be bird/0001/001/frame0001.jpg, bird/0001/002/frame0001.jpg, "
        "bird/0002/frame0001.jpg; name it by its path",
    )


def test_how_a_frame_is_named_is_said_where_one_is_not_there_and_only_there(attached, two_classes):
    how = f"A frame is named by its path below {two_classes}, such as bird/0001/001/frame0001.jpg."
    with pytest.raises(AnnotationError) as caught:
        attached(f"{two_classes}/bird/0002/frame0001.jpg,bird,1,2,8,9,val")
    assert caught.value.message.endswith(f"Correct them. {how}")
    with pytest.raises(AnnotationError) as caught:
        attached("bird/0002/frame0001.jpg,bird,8,2,1,9,val")
    assert caught.value.message.endswith("in 1 point(s). Correct them.")


def test_all_misfits_are_reported_at_once(attached):
    found = offenders_of(
        attached,
        "bird/0001/001/frame0001.jpg,bird,nan,2,8,9,val",
        "bird/0001/001/frame0099.jpg,bird,1,2,8,9,val",
        "bird/0001/001/frame0001.jpg,car,1,2,8,9,val",
        "bird/0001/001/frame0002.jpg,bird,8,2,1,9,val",
        "bird/0001/002/frame0001.jpg,bird,99,2,100,9,test",
        "bird/0002/frame0001.jpg,bird,1,2,8,9,vall",
    )
    words = ("NaN", "not there", "under class", "inverted", "outside", "2 splits", "'vall'")
    assert len(found) == len(words)
    assert all(any(word in text for text in found) for word in words)


def test_a_box_partly_outside_is_clipped_and_counted(attached, caplog):
    with caplog.at_level(logging.WARNING):
        shots, _ = attached(
            "bird/0002/frame0001.jpg,bird,-3,2,8,9,val",
            "bird/0002/frame0002.jpg,bird,1,2,16.5,13,val",
            "bird/0002/frame0003.jpg,bird,0,0,16,12,val",
        )
    assert shots[2].boxes == {0: ((0, 2, 8, 9),), 1: ((1, 2, 16, 12),), 2: ((0, 0, 16, 12),)}
    assert [record.getMessage() for record in caplog.records] == [
        "2 box(es) reached beyond their image and were clipped to it"
    ]


def test_a_frame_named_in_another_case_is_pointed_at(attached):
    assert offenders_of(attached, "bird/0002/Frame0001.JPG,bird,1,2,8,9,val") == (
        "line 2: bird/0002/Frame0001.JPG is not there; bird/0002/frame0001.jpg is, in another case",
    )


def test_a_table_of_a_spreadsheet_in_another_tongue_is_read(two_classes, tmp_path):
    (tmp_path / "boxes.csv").write_bytes(
        "sep=;\r\nframe;class;xmin;ymin;xmax;ymax\r\nbird\\0002\\frame0001.jpg;bird;1;2;8;9\r\n".encode(
            "utf-16"
        )
    )
    manifest = index_folders(two_classes).annotated(read_annotations(tmp_path / "boxes.csv")).manifest()
    assert manifest.shot("bird/0002").boxes == {0: ((1, 2, 8, 9),)}
