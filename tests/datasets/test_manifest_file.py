import errno
import json
import os
from dataclasses import replace

import pytest

from tcam_cache.datasets import Manifest, parse_manifest, read_manifest, write_manifest
from tcam_cache.errors import ManifestError, StorageError
from tcam_cache.records import Box


@pytest.fixture
def manifest(tmp_path, make_shot):
    boxes = {0: (Box(1.5, 2.0, 5.0, 7.0),), 3: (Box(0, 0, 1, 1), Box(2, 2, 3, 3))}
    strange = make_shot("vögel\u2028/1", "bird", "v2", "test", count=1)
    return Manifest(tmp_path, "folders", ("bird", "car"), (make_shot(boxes=boxes), strange))


@pytest.fixture
def written(manifest, tmp_path):
    write_manifest(manifest, tmp_path / "m.jsonl")
    return tmp_path / "m.jsonl"


def rewrite(path, number, change):
    """Apply a function to one line, counted from 1."""
    lines = path.read_text(encoding="utf-8").split("\n")
    lines[number - 1] = change(lines[number - 1])
    path.write_text("\n".join(lines), encoding="utf-8")


def with_value(key, value):
    return lambda line: json.dumps({**json.loads(line), key: value})


def without(key):
    return lambda line: json.dumps({name: value for name, value in json.loads(line).items() if name != key})


def test_a_manifest_reads_back_as_it_was_written(manifest, written):
    assert read_manifest(written) == manifest


def test_the_file_is_a_header_and_a_line_a_shot(manifest, written, tmp_path):
    header, first, _ = map(json.loads, written.read_text(encoding="utf-8").rstrip("\n").split("\n"))
    assert header == {
        "format": "tcam-cache-manifest",
        "version": 1,
        "root": str(tmp_path),
        "layout": "folders",
        "classes": ["bird", "car"],
        "shots": 2,
    }
    assert first == {
        "id": "bird/0001/001",
        "class": "bird",
        "video": "bird/0001",
        "split": "train",
        "folder": "bird/0001/001",
        "frames": ["frame0001.jpg", "frame0002.jpg", "frame0003.jpg", "frame0004.jpg"],
        "boxes": {"0": [[1.5, 2.0, 5.0, 7.0]], "3": [[0, 0, 1, 1], [2, 2, 3, 3]]},
    }


def test_a_relative_root_is_written_as_an_absolute_one(manifest, tmp_path, monkeypatch, make_shot):
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    write_manifest(Manifest("data", "folders", ("bird",), (make_shot(),)), "m.jsonl")
    monkeypatch.chdir("/")
    assert read_manifest(tmp_path / "m.jsonl").root == tmp_path / "data"


def test_another_root_can_be_given(manifest, written, tmp_path):
    (tmp_path / "moved").mkdir()
    moved = read_manifest(written, root=tmp_path / "moved")
    assert moved.root == tmp_path / "moved"
    assert moved.shots == manifest.shots


def test_a_root_that_does_not_exist_points_to_the_option(written):
    rewrite(written, 1, with_value("root", "/nowhere/data"))
    with pytest.raises(ManifestError, match=r"/nowhere/data.*--root"):
        read_manifest(written)


def test_a_given_root_that_does_not_exist_is_named(written, tmp_path):
    with pytest.raises(ManifestError, match="nothing-here"):
        read_manifest(written, root=tmp_path / "nothing-here")


@pytest.mark.parametrize(
    "content", [b"", b"frame,class\n", b"[1]\n", b'{"format": "other"}\n', b"\xff\xfe\x00"]
)
def test_a_file_that_is_no_manifest_is_refused(tmp_path, content):
    (tmp_path / "m.jsonl").write_bytes(content)
    with pytest.raises(ManifestError, match="is not a manifest"):
        read_manifest(tmp_path / "m.jsonl")


def test_a_missing_manifest_is_named(tmp_path):
    with pytest.raises(ManifestError, match=r"absent\.jsonl: No such file"):
        read_manifest(tmp_path / "absent.jsonl")


def test_a_newer_version_is_refused(written):
    rewrite(written, 1, with_value("version", 2))
    with pytest.raises(ManifestError, match="version 2"):
        read_manifest(written)


@pytest.mark.parametrize("key", ["version", "root", "layout", "classes"])
def test_an_incomplete_header_is_refused(written, key):
    rewrite(written, 1, without(key))
    with pytest.raises(ManifestError, match=key):
        read_manifest(written)


def test_facts_are_kept_and_must_be_an_object(manifest, written):
    rewrite(written, 1, with_value("facts", {"sampling": {"every": 2}}))
    assert read_manifest(written) == replace(manifest, facts={"sampling": {"every": 2}})
    rewrite(written, 1, with_value("facts", [1]))
    with pytest.raises(ManifestError, match="facts"):
        read_manifest(written)


def test_broken_lines_are_listed_by_number(written):
    rewrite(written, 2, lambda line: line[:40])
    rewrite(written, 3, without("frames"))
    with pytest.raises(ManifestError) as caught:
        read_manifest(written)
    first, second = caught.value.offenders
    assert first.startswith("line 2: ")
    assert second == "line 3: 'frames' is missing"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("frames", "frame0001.jpg"),
        ("frames", [1, 2]),
        ("id", 3),
        ("boxes", {"zero": [[0, 0, 1, 1]]}),
        ("boxes", {"0": [[0, 0, 1]]}),
        ("boxes", {"0": [[5, 0, 1, 1]]}),
        ("boxes", {"0": [[0, 0, float("nan"), 1]]}),
        ("boxes", {"0": [[0, 0, float("inf"), 1]]}),
        ("boxes", {"0": [[float("-inf"), 0, 9, 9]]}),
        ("boxes", {"0": []}),
        ("boxes", {"+1": [[0, 0, 9, 9]]}),
        ("boxes", {"01": [[0, 0, 9, 9]]}),
        ("boxes", [1]),
    ],
)
def test_a_line_of_the_wrong_shape_is_broken(written, key, value):
    rewrite(written, 2, with_value(key, value))
    with pytest.raises(ManifestError, match="line 2"):
        read_manifest(written)


def test_a_byte_order_mark_and_windows_lines_do_no_harm(manifest, written):
    written.write_bytes(b"\xef\xbb\xbf" + written.read_bytes().replace(b"\n", b"\r\n"))
    assert read_manifest(written) == manifest


def test_boxes_in_shares_of_the_picture_are_refused(written):
    rewrite(written, 2, with_value("boxes", {"0": [[0.1, 0.2, 0.5, 0.9]]}))
    rewrite(written, 3, with_value("boxes", {}))
    with pytest.raises(ManifestError, match=r"broken line.*\n.*shares of the picture; expected pixels"):
        read_manifest(written)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("folder", "../outside"),
        ("folder", "/etc"),
        ("folder", "bird/../../outside"),
        ("folder", "C:/Windows"),
        ("folder", "..\\outside"),
        ("frames", ["../../outside.jpg"]),
        ("frames", ["/etc/passwd"]),
        ("id", "../outside"),
        ("id", "/etc"),
    ],
)
def test_a_shot_that_leaves_the_root_is_refused(written, key, value):
    rewrite(written, 2, with_value("boxes", {}))
    rewrite(written, 2, with_value(key, value))
    with pytest.raises(ManifestError, match="leaves the root"):
        read_manifest(written)


def test_a_link_out_of_the_root_is_refused_unless_it_was_meant(manifest, written, tmp_path):
    folder = manifest.root / manifest.shots[0].folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    outside = tmp_path.parent / f"{tmp_path.name} outside"
    outside.mkdir()
    folder.symlink_to(outside)
    with pytest.raises(ManifestError, match="--follow-links") as caught:
        read_manifest(written)
    assert caught.value.offenders == (manifest.shots[0].folder,)
    rewrite(written, 1, with_value("facts", {"follow_links": True}))
    assert read_manifest(written).shots == manifest.shots


@pytest.mark.parametrize("letter", ["\r", "\n", "\x00", "\x1b", "\x7f"])
@pytest.mark.parametrize("key", ["id", "folder", "video", "frames"])
def test_a_control_character_in_a_name_is_refused(written, key, letter):
    rewrite(written, 2, with_value("boxes", {}))
    value = f"bird{letter}1"
    rewrite(written, 2, with_value(key, [value] if key == "frames" else value))
    with pytest.raises(ManifestError, match="control character"):
        read_manifest(written)


@pytest.mark.parametrize("letter", ["\x85", "\u2028", "\u2029", '"', ",", "\\"])
def test_rare_separators_in_a_name_read_back_as_they_are(manifest, tmp_path, letter):
    shot = replace(manifest.shots[0], frames=tuple(f"{t}{letter}.jpg" for t in range(4)))
    odd = replace(manifest, shots=(shot, *manifest.shots[1:]))
    write_manifest(odd, tmp_path / "odd.jsonl")
    assert read_manifest(tmp_path / "odd.jsonl") == odd


@pytest.mark.parametrize("line", ["3", "null", "[]", '"text"', ""])
def test_a_line_that_is_no_shot_is_broken(written, line):
    rewrite(written, 2, lambda _: line)
    with pytest.raises(ManifestError, match="line 2"):
        read_manifest(written)


def test_a_file_cut_at_a_line_end_is_noticed(written):
    lines = written.read_text(encoding="utf-8").split("\n")
    written.write_text("\n".join(lines[:2]) + "\n", encoding="utf-8")
    with pytest.raises(ManifestError, match="ends after 1 of 2 shots"):
        read_manifest(written)


def test_contradictions_in_the_file_are_found(written):
    rewrite(written, 3, with_value("id", "bird/0001/001"))
    with pytest.raises(ManifestError, match="used 2 times"):
        read_manifest(written)


def test_the_bytes_of_a_manifest_read_the_same_wherever_they_lay(manifest, written):
    data = written.read_bytes()
    assert parse_manifest(data, "s3://b/m") == parse_manifest(data.replace(b"\n", b"\r\n"), "m") == manifest
    for broken in (data[:-3], b"\xff", b"{}"):
        with pytest.raises(ManifestError, match="s3://b/m"):
            parse_manifest(broken, "s3://b/m")


def test_a_full_disk_leaves_the_old_manifest(manifest, written, monkeypatch):
    before = written.read_bytes()

    def full(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="disk is full"):
        write_manifest(manifest.sampled(2), written)
    assert written.read_bytes() == before
    assert [path.name for path in written.parent.iterdir()] == ["m.jsonl"]


def test_the_bytes_of_a_manifest_are_parsed_and_their_source_named(manifest, written):
    assert parse_manifest(written.read_bytes(), "cache/m.jsonl") == manifest
    assert parse_manifest(written.read_bytes().replace(b"\n", b"\r\n"), "cache/m.jsonl") == manifest
    with pytest.raises(ManifestError, match=r"cache/m\.jsonl is not a manifest"):
        parse_manifest(b"\xff", "cache/m.jsonl")
