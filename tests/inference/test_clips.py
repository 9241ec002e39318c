"""Tests of the clips of what `predict` is given: which they are, their names, and what is no input."""

import json
from pathlib import Path

import pytest
from PIL import Image

from tcam_cache.datasets.boxes_table import header
from tcam_cache.errors import FrameError
from tcam_cache.inference.clips import Clip, find_clips, share_of


@pytest.fixture
def place(tmp_path):
    """Return a function that makes an empty video or a small picture, and returns its path."""

    def make(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".mp4":
                path.write_bytes(b"")
            else:
                Image.new("RGB", (8, 6)).save(path)
        return tmp_path / names[0]

    return make


def names_of(inputs, out="nowhere", lines=()):
    clips, faults = find_clips([Path(one) for one in inputs], Path(out), lines)
    return [clip.name for clip in clips], faults


def test_an_only_video_picture_or_folder_of_pictures_is_a_clip_without_a_name(place, tmp_path):
    video, picture = place("v/a.mp4"), place("p/1/a.png")
    place("p/2/b.png")
    for given, frames in ((video, ()), (picture, ("a.png",)), (tmp_path / "p", ("1/a.png", "2/b.png"))):
        (clip,), faults = find_clips([given], tmp_path / "out", tag="dog")
        assert (clip.name, clip.above, clip.path, faults) == ("", "", given, [])
        assert (clip.shot.frames, clip.shot.tag, clip.moving) == (frames, "dog", given == video)


def test_a_folder_with_videos_has_a_clip_for_each_and_for_each_folder_of_pictures(place, tmp_path):
    place("in/dog/a b.mp4", "in/dog/0001/1.png", "in/dog/0001/2.png", "in/ü.mp4", "in/top.png")
    clips, faults = find_clips([tmp_path / "in"], tmp_path / "in/out")
    assert {clip.name: (clip.above, clip.shot.folder, clip.shot.frames) for clip in clips} == {
        "ü.mp4.boxes": ("", "ü.mp4", ()),
        "in.boxes": ("", ".", ("top.png",)),
        "dog/a b.mp4.boxes": ("dog", "a b.mp4", ()),
        "dog/0001.boxes": ("dog/0001", ".", ("1.png", "2.png")),
    }
    assert not faults


def test_several_inputs_are_named_below_the_folder_they_have_in_common(place, tmp_path, monkeypatch):
    place("videos/dog/1.mp4", "videos/car/1.mp4", "videos/car/x/2.mp4")
    given = [tmp_path / "videos/dog/1.mp4", tmp_path / "videos/car"]
    assert names_of(given) == (["dog/1.mp4.boxes", "car/1.mp4.boxes", "car/x/2.mp4.boxes"], [])
    monkeypatch.chdir(tmp_path / "videos/dog")
    assert names_of(["1.mp4", "../car/1.mp4"]) == (["dog/1.mp4.boxes", "car/1.mp4.boxes"], [])


def test_an_input_that_is_given_twice_is_one_clip_and_pictures_of_a_folder_are_one(place, tmp_path):
    place("in/a.mp4", "in/1.png", "in/2.png", "other/3.png")
    given = [tmp_path / name for name in ("in/a.mp4", "in/a.mp4", "in/2.png", "in/1.png", "other/3.png")]
    clips, _ = find_clips(given, tmp_path / "out")
    assert [clip.name for clip in clips] == ["in/a.mp4.boxes", "in.boxes", "other.boxes"]
    assert clips[1].shot.frames == ("2.png", "1.png")
    whole, _ = find_clips([tmp_path / "in/1.png", tmp_path / "in"], tmp_path / "out")
    assert whole[-1].shot.frames == ("1.png", "2.png")


def test_patterns_and_lists_are_expanded_in_natural_order(place, tmp_path):
    place("in/10.mp4", "in/2.mp4", "in/deep/3.mp4", "in/odd[1].mp4")
    assert names_of([tmp_path / "in/*0.mp4"]) == ([""], [])
    assert names_of([tmp_path / "in/**/[0-9]*.mp4"])[0] == ["2.mp4.boxes", "10.mp4.boxes", "deep/3.mp4.boxes"]
    assert names_of([tmp_path / "in/odd[1].mp4"]) == ([""], [])
    lines = [f"{tmp_path}/in/2.mp4\n", "\n", f"{tmp_path}/in/none.mp4\r\n"]
    assert names_of(["-"], lines=lines) == (["2.mp4.boxes"], [f"{tmp_path}/in/none.mp4: missing"])


def test_what_holds_nothing_is_named_and_nothing_at_all_is_an_error(place, tmp_path):
    video = place("in/a.mp4")
    (tmp_path / "empty").mkdir()
    assert names_of([video, tmp_path / "empty", tmp_path / "no*.mp4"])[1] == [
        f"{tmp_path}/empty: no picture and no video in it",
        f"{tmp_path}/no*.mp4: missing",
    ]
    with pytest.raises(FrameError, match="no image in any of the 2 inputs") as caught:
        names_of([tmp_path / "empty", tmp_path / "none.mp4"])
    assert len(caught.value.offenders) == 2


def test_boxes_that_were_written_before_are_no_input_even_where_out_is_the_input(place, tmp_path):
    place("in/a.mp4", "in/p/1.png")
    before = names_of([tmp_path / "in"], tmp_path / "in")
    for folder in ("in", "in/a.mp4.boxes", "in/p.boxes", "in/elsewhere"):
        place(f"{folder}/overlays/1.jpg")
        (tmp_path / folder / "boxes.csv").write_text(header())
        (tmp_path / folder / "boxes.mp4").write_bytes(b"")
    assert names_of([tmp_path / "in"], tmp_path / "in") == before == (["a.mp4.boxes", "p.boxes"], [])


def test_shots_of_a_manifest_keep_their_tags_and_those_of_one_video_are_one_clip(place, tmp_path):
    place("data/dog/a.mp4", "data/car/b.mp4")
    header_line = {
        "format": "tcam-cache-manifest", "version": 1, "root": str(tmp_path / "data"), "layout": "videos",
        "classes": ["car", "dog"], "shots": 3, "facts": {"orientation": "stored", "times": "first"},
    }  # fmt: skip
    shots = [("dog/a.mp4/001", "dog", "dog/a.mp4", 0), ("dog/a.mp4/002", "dog", "dog/a.mp4", 40),
             ("car/b.mp4/001", "car", "car/b.mp4", 0)]  # fmt: skip
    lines = [
        {"id": id_, "class": tag, "video": video, "split": "test", "folder": video,
         "frames": [f"{at:08d}ms"], "boxes": {}}
        for id_, tag, video, at in shots
    ]  # fmt: skip
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, [header_line, *lines])))
    clips, _ = find_clips([tmp_path / "m.jsonl"], tmp_path / "out", tag="bird")
    assert [(clip.name, clip.shot.tag, clip.shot.frames, clip.above) for clip in clips] == [
        ("dog/a.mp4.boxes", "dog", ("00000000ms", "00000040ms"), "dog"),
        ("car/b.mp4.boxes", "car", ("00000000ms",), "car"),
    ]
    assert not clips[0].source.upright and not clips[0].source.absolute


def test_shares_are_disjoint_and_together_the_whole(place, tmp_path):
    place(*(f"in/{n}.mp4" for n in range(5)))
    clips, _ = find_clips([tmp_path / "in"], tmp_path / "out")
    shares = [share_of(clips, (index, 3)) for index in range(3)]
    assert [len(share) for share in shares] == [2, 2, 1]
    assert {clip.name for share in shares for clip in share} == {clip.name for clip in clips}
    assert all(isinstance(clip, Clip) for clip in clips)
