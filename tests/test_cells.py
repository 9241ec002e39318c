"""Tests of names in tables and files: nothing runs, nothing is marked up, nothing hides another."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcam_cache.cells import csv_line, csv_text, file_names, from_csv_text, markdown_text


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "'=1"])
def test_no_cell_begins_a_formula_and_its_text_comes_back(text):
    assert not csv_text(text).startswith(("=", "+", "-", "@", "\t", "\r"))
    assert from_csv_text(csv_text(text)) == text


@given(st.text())
def test_any_text_comes_back_from_a_csv(text):
    ((cell, number),) = csv.reader(io.StringIO(csv_line([text, -0.5]), newline=""))
    assert number == "-0.5"
    assert from_csv_text(cell) == text


@pytest.mark.parametrize("text", ["bird", "it's", "a-b", "'quoted'"])
def test_ordinary_names_stay_as_they_are(text):
    assert csv_text(text) == from_csv_text(text) == text


def test_markdown_has_neither_columns_nor_tags_nor_lines_of_a_name():
    assert markdown_text("a|b <img src=x>\r\nc *d*") == "a\\|b \\<img src=x\\> c \\*d\\*"


def test_pictures_of_like_names_do_not_hide_each_other():
    names = ["a.png", "a.png.jpg", "A.PNG", "a.jpg", "b/a.png", "a.png..jpg"]
    made = file_names(names, ".jpg")
    assert list(made) == names
    assert len({file.casefold() for file in made.values()}) == len(names)
    assert all(file.endswith(".jpg") for file in made.values())
    assert (made["a.jpg"], made["b/a.png"]) == ("a.jpg", "b/a.png.jpg")


@given(
    st.lists(
        st.text(
            st.characters(blacklist_characters="/\0", blacklist_categories=["Cs"]), min_size=1, max_size=300
        )
    )
)
def test_every_name_fits_a_file_system(names):
    for file in file_names(dict.fromkeys(names), ".jpg").values():
        assert len(file.encode()) <= 255 and file.endswith(".jpg")


def test_two_long_names_that_begin_alike_stay_apart():
    one, other = (f"{'x' * 260}{end}.png" for end in "ab")
    made = file_names([one, other], ".jpg")
    assert made[one] != made[other]
