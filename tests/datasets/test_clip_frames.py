"""Tests of the frames of a clip: those of random access, each once, in order, with faults named."""

import numpy as np
import pytest
from PIL import Image

from tcam_cache.datasets.clip_frames import clip_frames, frame_total
from tcam_cache.datasets.frames import ImageFrames, squashed
from tcam_cache.datasets.video import VideoFrames, frame_times
from tcam_cache.records import Shot

av = pytest.importorskip("av")


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """A video of 9 frames, each of another shade."""
    path = tmp_path_factory.mktemp("video") / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for t in range(9):
            pixels = np.full((48, 64, 3), 20 * t, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


def read(source, shot, **given):
    faults = []
    frames = list(clip_frames(source, shot, 8, **{"whole": True, "threads": 0, "faults": faults, **given}))
    return frames, faults


def shot_of(folder, frames=()):
    return Shot("new", "", "new", "test", folder, tuple(frames))


def test_frames_of_a_video_are_those_of_random_access(video):
    source, names = VideoFrames(video.parent), frame_times(video)
    frames, faults = read(source, shot_of("a.mp4"))
    assert ([frame.name for frame in frames], [frame.number for frame in frames]) == (
        list(names),
        [*range(9)],
    )
    for t, frame in enumerate(frames):
        alone = source.read(shot_of("a.mp4", names), t)
        assert np.array_equal(frame.pixels, alone.pixels) and (frame.width, frame.height) == (64, 48)
        assert np.array_equal(frame.squashed, squashed(alone.pixels, 8))
    assert not faults and frame_total(source, shot_of("a.mp4")) == 9


def test_some_frames_of_a_video_keep_their_numbers_and_those_that_are_not_there_are_named(video):
    wanted = ("00000080ms", "00000200ms", "00000201ms")
    frames, faults = read(
        VideoFrames(video.parent), shot_of("a.mp4", wanted), skip={"00000080ms"}, whole=False
    )
    assert [(frame.name, frame.number, frame.pixels) for frame in frames] == [("00000200ms", 5, None)]
    assert faults == ["a.mp4/00000201ms: no frame at this time"]


@pytest.mark.parametrize("share", [0, 0.7])
def test_of_a_damaged_video_the_frames_before_the_damage_are_read(video, tmp_path, share):
    data = video.read_bytes()
    (tmp_path / "a.avi").write_bytes(data[: int(share * len(data))])
    frames, faults = read(VideoFrames(tmp_path), shot_of("a.avi"))
    assert len(frames) < 9 and len(faults) == 1 and faults[0].startswith("a.avi: ")
    assert frame_total(VideoFrames(tmp_path), shot_of("a.avi")) is None


@pytest.mark.parametrize("threads", [0, 3])
def test_pictures_are_read_in_order_with_their_number_in_their_folder(tmp_path, threads):
    names = [f"{folder}/{n}.png" for folder in "ab" for n in range(4)]
    for t, name in enumerate(names):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (10 + t, 6), (20 * t, 0, 0)).save(tmp_path / name)
    (tmp_path / "a/2.png").write_bytes(b"")
    frames, faults = read(ImageFrames(tmp_path), shot_of(".", names), skip={"b/0.png"}, threads=threads)
    assert [(frame.name, frame.number) for frame in frames] == [
        ("a/0.png", 0), ("a/1.png", 1), ("a/3.png", 3), ("b/1.png", 1), ("b/2.png", 2), ("b/3.png", 3),
    ]  # fmt: skip
    assert [frame.width for frame in frames] == [10, 11, 13, 15, 16, 17]
    assert [fault.split("/")[-1] for fault in faults] == ["2.png: empty file"]
