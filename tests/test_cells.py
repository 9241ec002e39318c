"""Tests of names in tables and files: no formula, no mark-up, nothing lost."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcam_cache.cells import csv_line, csv_text, file_names, from_csv_text, markdown_text

ODD = st.text(alphabet="'=+-@\t\r\n,\";0.5ab ", max_size=8)


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_a_name_that_a_spreadsheet_would_compute_has_an_apostrophe_before_it(start):
    assert csv_text(f"{start}HYPERLINK(1)") == f"'{start}HYPERLINK(1)"


@pytest.mark.parametrize("number", ["-0.5", "+3", "-1e-05", "7", "-12."])
def test_a_number_stays_a_number(number):
    assert csv_text(number) == number


@pytest.mark.parametrize("text", ["-inf", "-1+1", "+nan", "-0.5 ", "-٣"])
def test_what_only_resembles_a_number_is_a_text(text):
    assert csv_text(text) == f"'{text}"


@given(ODD)
def test_a_cell_gives_its_text_back(text):
    assert from_csv_text(csv_text(text)) == text


@given(st.lists(ODD, min_size=2, max_size=4))
def test_a_line_gives_its_texts_back_whatever_they_hold(texts):
    ((*cells,),) = csv.reader(io.StringIO(csv_line(texts)))
    assert [from_csv_text(cell) for cell in cells] == texts


def test_a_line_keeps_numbers_as_they_are():
    assert csv_line(["=a", -0.5, 3, ""]) == "'=a,-0.5,3,\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<img src=x onerror=alert(1)>", "&lt;img src=x onerror=alert(1)&gt;"),
        ("a|b", r"a\|b"),
        ("[x](javascript:y)", r"\[x\](javascript:y)"),
        ("**a** `b` _c_ ~~d~~ # e", r"\*\*a\*\* \`b\` \_c\_ \~\~d\~\~ \# e"),
        ("a\r\nb\tc", "a b c"),
        ("&lt;", "&amp;lt;"),
        ("potted_plant", "potted_plant"),
        ("back\\slash", r"back\\slash"),
    ],
)
def test_a_text_in_a_markdown_table_means_nothing_but_itself(text, shown):
    assert markdown_text(text) == shown


def test_each_name_has_a_file_of_its_own():
    assert file_names(["a.png", "a.png.jpg", "A.PNG"], ".jpg") == {
        "a.png": "a.png..jpg", "a.png.jpg": "a.png.jpg", "A.PNG": "A.PNG...jpg",
    }  # fmt: skip


@given(
    st.lists(
        st.text(alphabet="aAé.jpgJPG", min_size=1, max_size=6).filter(lambda name: name.strip(".")),
        unique=True,
        max_size=8,
    )
)
def test_no_two_names_share_a_file_in_any_case(names):
    found = file_names(names, ".jpg")
    folded = [file.casefold() for file in found.values()]
    assert list(found) == names and len(set(folded)) == len(names)
    assert all(file.lower().endswith(".jpg") for file in found.values())


def test_no_file_stands_where_a_folder_is_needed():
    assert file_names(["a.png", "a.png.jpg/b.jpg"], ".jpg") == {
        "a.png": "a.png..jpg", "a.png.jpg/b.jpg": "a.png.jpg/b.jpg",
    }  # fmt: skip


def test_a_name_too_long_for_a_file_system_is_cut_and_two_of_them_stay_apart():
    long = [f"shot/{'é' * 125}{end}" for end in ("ab.png", "ac.png")]
    one, other = file_names(long, ".jpg").values()
    assert one != other
    for file in (one, other):
        folder, _, name = file.partition("/")
        assert folder == "shot" and len(name.encode()) <= 255 and name.endswith(".jpg")
