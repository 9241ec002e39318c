"""Names as people read them: hand-worked orders, and decimals against floats."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcam_cache.names import conflicted_copy, in_order, left_behind, natural_key, one_name


@pytest.mark.parametrize(
    "name",
    [
        "@eaDir", "#recycle", "#snapshot", "@Recycle", "@Recently-Snapshot", "__MACOSX", "._1.jpg",
        "Thumbs.db", "THUMBS.DB", "desktop.ini", "$RECYCLE.BIN", "System Volume Information", "lost+found",
        ".Trash-1000", ".stfolder", ".stversions", ".dropbox.cache", "1.jpg.part", ".DS_Store", "1.tmp",
        "~$notes.docx", ".nfs000012", ".fuse_hidden0001", ".ipynb_checkpoints", "Icon\r", "1.jpg~",
        "1.crdownload", "1.jpg:Zone.Identifier", "1.jpg@SynoEAStream", ".AppleDouble", "~snapshot",
    ],
)  # fmt: skip
def test_what_systems_leave_behind_is_known_by_its_name(name):
    assert left_behind(name)


@pytest.mark.parametrize(
    "name", ["1.jpg", "part", "tmp", "cat", "Icon", "recycle", "snapshot", "-1.jpg", "a@b"]
)
def test_what_a_person_names_is_not(name):
    assert not left_behind(name)


@pytest.mark.parametrize(
    "name",
    [
        "1 (Ann's conflicted copy 2024-05-01).jpg",
        "1.sync-conflict-20240501-120000-ABCDEFG.jpg",
        "1 (Case Conflict).jpg",
    ],
)
def test_a_conflicted_copy_is_told_apart(name):
    assert conflicted_copy(name) and not left_behind(name)


@pytest.mark.parametrize(
    ("ordered", "word"),
    [
        (["0.25", "0.5", "1", "1.75", "2.125", "10.25", "10.5"], "decimals"),
        (["t0,25s.jpg", "t0,5s.jpg", "t1s.jpg"], "decimals"),
        (["v1.2", "v1.9", "v1.10", "v1.11"], "two numbers"),
        (["2024.1.2", "2024.1.10", "2024.01.11"], ""),
        (["-10.jpg", "-1.5.jpg", "-1.25.jpg", "-1.jpg", "0.jpg", "2.jpg"], "minus"),
        (["-1.jpg", "-abc.jpg"], ""),
        (["00a", "00f", "009", "010"], "alphabetically"),
        (["02.jpg", "2.jpg"], "zeros or case"),
        (["frame1.jpg", "Frame2.jpg", "frame10.jpg", "Frame11.jpg"], ""),
        (["img_1.2.jpg", "img_1.3.jpg", "img_2.1.jpg"], ""),
        (["0.25", "0.50", "10.00"], ""),
        (["1.jpg", "\u0663.jpg", "10.jpg"], ""),
        ([], ""),
    ],
)
def test_names_are_in_the_order_of_a_file_manager_and_what_they_leave_open_is_said(ordered, word):
    for names in (ordered, ordered[::-1], sorted(ordered)):
        found = in_order(names)
        assert found.names == ordered
        assert word in found.doubt and bool(word) == bool(found.doubt)


@given(st.lists(st.decimals(0, 1000, places=3), min_size=1, unique=True))
def test_times_in_seconds_are_in_the_order_of_time(times):
    names = {f"{format(time.normalize(), 'f')}.jpg": time for time in times}
    found = in_order(names)
    assert [names[name] for name in found.names] == sorted(times) or "two numbers" in found.doubt


@given(st.lists(st.integers(0, 10**6), min_size=1, unique=True))
def test_numbered_frames_are_in_the_order_of_their_numbers(numbers):
    assert in_order(f"f{number}.jpg" for number in numbers).names == [f"f{n}.jpg" for n in sorted(numbers)]


@given(st.lists(st.text(max_size=8), unique=True))
def test_any_names_have_one_order(names):
    assert in_order(names).names == in_order(names[::-1]).names
    assert in_order(names).names == in_order(sorted(names, key=natural_key)).names


def test_two_forms_of_a_name_are_one():
    assert one_name(unicodedata.normalize("NFD", "caf\u00e9")) == one_name("caf\u00e9") == "caf\u00e9"
