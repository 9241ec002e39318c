"""Boxes that are written and read again are the same boxes, as precise as their format is."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcam_cache.datasets import attach, read_annotations
from tcam_cache.datasets.boxes_table import FoundBox, found_line, header
from tcam_cache.inference.formats.footage import Footage
from tcam_cache.inference.formats.writing import WRITERS
from tcam_cache.records import Box, Shot

WIDTH, HEIGHT, TAG = 640, 360, "dög & <cat>, 'x'"
# What is read, and how far a corner may be from the one that was written.
READ = {
    "csv": ("boxes.csv", 0),
    "coco": ("coco.json", 1e-9),
    "yolo": ("yolo", 2e-6 * WIDTH),
    "cvat": ("cvat.xml", 0.0051),
    "label-studio": ("label-studio.json", 1e-4),
    "voc": ("voc", 1.01),
}
NAMES = ("1.jpg", "2.png", "1.png", "ü, x.jpg", '<&">.jpeg', "a b.c.jpg", "=1+1.jpg", "frame 0001.JPG")


@st.composite
def boxes(draw):
    x, y = draw(st.integers(0, 100 * WIDTH - 200)) / 100, draw(st.integers(0, 100 * HEIGHT - 200)) / 100
    right = draw(st.integers(round(100 * x) + 200, 100 * WIDTH)) / 100
    return Box(x, y, right, draw(st.integers(round(100 * y) + 200, 100 * HEIGHT)) / 100)


def written(folder, footage, name):
    files = WRITERS[name](footage) if name in WRITERS else {}
    files["boxes.csv"] = header() + "".join(map(found_line, footage.found))
    for path, text in files.items():
        Path(folder, path).parent.mkdir(parents=True, exist_ok=True)
        Path(folder, path).write_text(text, encoding="utf-8")
    return Path(folder, READ[name][0])


def check(folder, footage, shots, name):
    annotations = read_annotations(written(folder, footage, name))
    sizes = {shot.path(t): (WIDTH, HEIGHT) for shot in shots for t in range(len(shot))}
    attached, splits = attach(shots, annotations, folder, lambda _, names: {one: sizes[one] for one in names})
    found = [shot.boxes.get(t, ()) for shot in attached for t in range(len(shot))]
    expected = [() if one.box is None else (one.box,) for one in footage.found]
    assert splits == {} and [len(one) for one in found] == [len(one) for one in expected]
    for one, other in zip(found, expected, strict=True):
        for box, true in zip(one, other, strict=True):
            assert box == pytest.approx(true, abs=READ[name][1])


@pytest.mark.parametrize("name", READ)
@settings(max_examples=20)
@given(of_frames=st.lists(st.none() | boxes(), min_size=len(NAMES), max_size=len(NAMES)))
def test_boxes_of_pictures_come_back(name, of_frames, tmp_path_factory):
    found = [
        FoundBox("my video", n, file, None, WIDTH, HEIGHT, TAG, 0.5, box, 1.0)
        for n, (file, box) in enumerate(zip(NAMES, of_frames, strict=True))
    ]
    footage = Footage(found, ["bird"], "dogs", frozenset(one.path for one in found))
    folder = f"{TAG}/my video"
    check(tmp_path_factory.mktemp("out"), footage, [Shot(folder, TAG, folder, "test", folder, NAMES)], name)


@pytest.mark.parametrize("name", READ)
@settings(max_examples=20)
@given(of_frames=st.lists(st.none() | boxes(), min_size=1, max_size=6), cut=st.integers(0, 5))
def test_boxes_of_a_video_come_back(name, of_frames, cut, tmp_path_factory):
    clip, times = "my clip ü.mp4", [40 * n for n in range(len(of_frames))]
    found = [
        FoundBox(clip, n, f"{ms:08d}ms", ms / 1000, WIDTH, HEIGHT, TAG, 0.5, box, 1.0)
        for n, (ms, box) in enumerate(zip(times, of_frames, strict=True))
    ]
    names = tuple(one.name for one in found)
    parts = [part for part in (names[:cut], names[cut:]) if part]
    video = f"{TAG}/{clip}"
    shots = [Shot(f"{video}/{n:03d}", TAG, video, "test", video, part) for n, part in enumerate(parts)]
    check(tmp_path_factory.mktemp("out"), Footage(found, ["bird"], "dogs", frozenset()), shots, name)
