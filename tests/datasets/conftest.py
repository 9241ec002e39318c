"""Tiny tagged videos on disk, and manifests of them."""

from pathlib import Path

import pytest
from PIL import Image

from tcam_cache.records import Shot


@pytest.fixture
def add_frames():
    """Return a function that writes `count` small frames into a folder, and returns the folder."""

    def add(folder: Path, count: int = 3, size: tuple[int, int] = (16, 12), suffix: str = ".jpg") -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(1, count + 1):
            Image.new("RGB", size, (number * 20, 90, 40)).save(folder / f"frame{number:04d}{suffix}")
        return folder

    return add


@pytest.fixture
def two_classes(tmp_path, add_frames):
    """Return a root with bird/0001/{001,002}, bird/0002 and car/0001/001, three 16x12 frames each."""
    for folder in ("bird/0001/001", "bird/0001/002", "bird/0002", "car/0001/001"):
        add_frames(tmp_path / "data" / folder)
    return tmp_path / "data"


@pytest.fixture
def make_shot():
    """Return a function that makes a shot record whose frames need not exist."""

    def make(shot_id="bird/0001/001", tag="bird", video="bird/0001", split="train", count=4, boxes=None):
        frames = tuple(f"frame{number:04d}.jpg" for number in range(1, count + 1))
        return Shot(shot_id, tag, video, split, shot_id, frames, boxes or {})

    return make


@pytest.fixture
def write_lines():
    """Return a function that writes lines of text into a file, and returns the file."""

    def write(path: Path, *lines: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return path

    return write
