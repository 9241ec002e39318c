import pytest

from tcam_cache.datasets.tables import read_table
from tcam_cache.errors import AnnotationError, ManifestError


def test_rows_come_with_their_lines_and_cells_by_column(tmp_path):
    (tmp_path / "t.csv").write_text(
        '\ufefffile , class\n"a\nb.mp4", bird\nc.mp4\nd.mp4,car,7\n', encoding="utf-8"
    )
    assert read_table(tmp_path / "t.csv", ["file", "class"], "split", ManifestError) == [
        (3, {"file": "a\nb.mp4", "class": "bird"}),
        (4, {"file": "c.mp4", "class": ""}),
        (5, {"file": "d.mp4", "class": "car", None: ["7"]}),
    ]


def test_missing_columns_are_named_with_what_was_expected(tmp_path):
    (tmp_path / "t.csv").write_text("name,class\n")
    with pytest.raises(
        ManifestError, match=r"t\.csv lacks 2.*file,class,tag\[,split\] in line 1\."
    ) as caught:
        read_table(tmp_path / "t.csv", ["file", "class", "tag"], "split", ManifestError)
    assert caught.value.offenders == ("file", "tag")


@pytest.mark.parametrize(
    ("content", "got"),
    [
        ("", "an empty file"),
        ("\n\n", "an empty first line"),
        ("file|class\na|b\n", "the header 'file|class'"),
        ("name, class\n", "the header 'name,class'"),
        ("x" * 5000, f"the header '{'x' * 100}'"),
    ],
)
def test_missing_columns_are_told_with_the_header_that_there_is(tmp_path, content, got):
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(ManifestError) as caught:
        read_table(tmp_path / "t.csv", ["file", "class"], "split", ManifestError)
    assert f"column(s): got {got}, expected file,class[,split] in line 1. Correct it." in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"), [(None, "cannot read .*No such file"), (b"\xff\xff", "is not a CSV file")]
)
@pytest.mark.parametrize("kind", [ManifestError, AnnotationError])
def test_a_file_that_cannot_be_read_is_an_error_of_the_kind_asked_for(tmp_path, content, said, kind):
    if content:
        (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(kind, match=said):
        read_table(tmp_path / "t.csv", ["file"], "split", kind)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_tables_of_every_spreadsheet_are_read(tmp_path, encoding, end, mark):
    text = end.join([mark.join(["file", "class"]), mark.join(["a b.mp4", "caf\u00e9"]), ""])
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    rows = read_table(tmp_path / "t.csv", ["file", "class"], "split", ManifestError)
    assert rows == [(2, {"file": "a b.mp4", "class": "caf\u00e9"})]


def test_a_line_that_names_the_separator_counts_as_a_line(tmp_path):
    (tmp_path / "t.csv").write_text("sep=;\nfile;class\na;b\n")
    assert read_table(tmp_path / "t.csv", ["file", "class"], "split", ManifestError)[0][0] == 3


def test_latin_1_is_refused_with_what_to_do(tmp_path):
    (tmp_path / "t.csv").write_bytes("file,class\na,caf\u00e9\n".encode("latin-1"))
    with pytest.raises(ManifestError, match=r"UTF-8.*at byte 16\. Save it as UTF-8"):
        read_table(tmp_path / "t.csv", ["file", "class"], "split", ManifestError)


@pytest.mark.parametrize(
    ("line", "form"),
    [
        ("frame,class,x,y,w,h", "left, top, width and height"),
        ("frame,class,x,y,Width,Height", "left, top, width and height"),
        ("frame,class,x_center,y_center,width,height", "centre, width and height"),
        ("ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax", "OpenImages, whose corners are shares"),
        ('{"images": [], "annotations": []}', "JSON, such as COCO's"),
        ("<annotation><folder>a</folder>", "XML, such as Pascal VOC's"),
        ("0 0.5 0.5 0.25 0.125", "YOLO's centre, width and height"),
    ],
)
def test_other_forms_of_boxes_are_called_by_their_names(tmp_path, line, form):
    (tmp_path / "t.csv").write_text(f"{line}\n")
    with pytest.raises(AnnotationError) as caught:
        read_table(tmp_path / "t.csv", ["frame", "class", "xmin"], "split", AnnotationError)
    assert f"({form}" in str(caught.value)


def test_columns_may_have_the_names_of_other_programs_unless_the_right_one_is_there(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("file,Tag,x0\na.mp4,dog,1\n")
    ((_, cells),) = read_table(table, ("file", "class", "xmin"), "split", ManifestError)
    assert cells == {"file": "a.mp4", "class": "dog", "xmin": "1"}
    table.write_text("file,tag,class\na.mp4,wild,dog\n")
    ((_, cells),) = read_table(table, ("file", "class"), "split", ManifestError)
    assert cells == {"file": "a.mp4", "tag": "wild", "class": "dog"}
