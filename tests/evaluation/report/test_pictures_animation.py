"""Tests of moving pictures: read back, they have the frames, size and rate that were given."""

import sys

import numpy as np
import pytest
from PIL import Image

from tcam_cache.errors import ExtraError, FrameError, StorageError
from tcam_cache.evaluation.report.pictures import save_gif, save_mp4

COLOURS = [(220, 30, 30), (30, 200, 40), (40, 60, 230), (240, 240, 240), (10, 10, 10)]


def frames_of(height=41, width=67):
    """Return one frame a colour, over a slope that no palette of few colours can hold."""
    slope = np.linspace(0, 20, width)[None, :, None]
    return [np.clip(np.full((height, width, 3), c) + slope, 0, 255).astype(np.uint8) for c in COLOURS]


def interrupted():
    yield frames_of()[0]
    raise FrameError("1 frame cannot be read.")


def test_a_gif_has_every_frame_in_order_at_its_rate_and_never_ends(tmp_path):
    save_gif(tmp_path / "folder/a.gif", iter(frames_of()), fps=25)
    with Image.open(tmp_path / "folder/a.gif") as image:
        assert (image.n_frames, image.size, image.info["loop"]) == (5, (67, 41), 0)
        for number, given in enumerate(frames_of()):
            image.seek(number)
            assert image.info["duration"] == 40
            shown = np.asarray(image.convert("RGB")).astype(float)
            assert np.abs(shown.mean((0, 1)) - given.mean((0, 1))).max() < 6


def test_an_mp4_has_every_frame_in_order_at_its_rate_with_even_sides(tmp_path):
    av = pytest.importorskip("av")
    save_mp4(tmp_path / "folder/a.mp4", iter(frames_of()), fps=12.5)
    with av.open(tmp_path / "folder/a.mp4") as container:
        assert container.streams.video[0].average_rate == 12.5
        read = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(read) == 5 and {frame.shape for frame in read} == {(40, 66, 3)}
    for shown, given in zip(read, frames_of(), strict=True):
        assert np.abs(shown.astype(float).mean((0, 1)) - given.mean((0, 1))).max() < 12


@pytest.mark.parametrize("save", [save_gif, save_mp4])
def test_an_error_in_the_middle_leaves_nothing(tmp_path, save):
    pytest.importorskip("av")
    with pytest.raises(FrameError):
        save(tmp_path / "a", interrupted(), fps=10)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("save", [save_gif, save_mp4])
def test_a_full_disk_is_a_storage_error_and_leaves_nothing(tmp_path, monkeypatch, save):
    pytest.importorskip("av")

    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(StorageError, match="full"):
        save(tmp_path / "a", frames_of(), fps=10)
    assert not list(tmp_path.iterdir())


def test_without_av_the_extra_is_named_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ExtraError, match=r"tcam-cache\[video\]"):
        save_mp4(tmp_path / "a.mp4", frames_of(), fps=10)
    assert not list(tmp_path.iterdir())
