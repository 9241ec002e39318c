import gc
import multiprocessing
import pickle
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tcam_cache.datasets import ImageFrames, Scan, VideoFrames, frame_source, frame_times, scan_videos
from tcam_cache.datasets.video import time_name, time_of
from tcam_cache.errors import ExtraError, FrameError
from tcam_cache.records import Shot

KINDS = [
    ("clip.mp4", "mpeg4", {"g": 12, "bf": 2}),
    ("clip.avi", "mpeg4", {"g": 12, "bf": 2}),
    ("clip.avi", "mjpeg", {}),
    ("clip.mkv", "mpeg4", {"g": 40}),
    ("clip.mpg", "mpeg2video", {"g": 12, "bf": 2}),
]


@pytest.fixture(params=KINDS, ids=lambda kind: f"{kind[1]} in {kind[0][5:]}")
def clip(request, tmp_path, write_video, make_scene):
    """Return the shot of a video of 40 frames, and its frames decoded one after the other."""
    name, codec, options = request.param
    path = write_video(tmp_path / "bird" / name, make_scene(1, 40), codec, **options)
    (shot,) = scan_videos(tmp_path, shots=False, workers=1).shots
    with av.open(str(path)) as container:
        pixels = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return tmp_path, shot, np.stack(pixels)


def test_frames_read_in_order_are_those_of_the_file(clip):
    root, shot, pixels = clip
    source = VideoFrames(root)
    assert np.array_equal([source.read(shot, t).pixels for t in range(len(shot))], pixels)


@pytest.mark.parametrize("seed", range(3))
def test_frames_read_in_any_order_are_those_of_the_file(clip, seed):
    root, shot, pixels = clip
    source = VideoFrames(root)
    for t in np.random.default_rng(seed).integers(0, len(shot), 25):
        assert np.array_equal(source.read(shot, int(t)).pixels, pixels[t])


def test_a_frame_is_squashed_as_an_image_is(clip):
    root, shot, pixels = clip
    frame = VideoFrames(root).read(shot, 7, 24)
    expected = Image.fromarray(pixels[7]).resize((24, 24), Image.Resampling.BILINEAR)
    assert np.array_equal(frame.pixels, expected) and (frame.width, frame.height) == (64, 48)


@pytest.fixture
def many(tmp_path, write_video, make_scene):
    """Six short videos, more than stay open at once."""
    for number in range(6):
        write_video(tmp_path / f"bird/{number}.mp4", make_scene(number, 6))
    return tmp_path, scan_videos(tmp_path, workers=1).shots


def test_more_videos_than_stay_open_are_read_all_the_same(many):
    root, shots = many
    source = VideoFrames(root)
    first = [source.read(shot, 2).pixels for shot in shots]
    again = [source.read(shot, 2).pixels for shot in shots]
    assert np.array_equal(first, again) and len(source._open) == 4


def test_a_reader_in_use_can_be_carried_to_a_worker(many):
    root, shots = many
    source = VideoFrames(root)
    source.read(shots[0], 3)
    carried = pickle.loads(pickle.dumps(source))
    assert carried == source and hash(carried) == hash(source)
    assert np.array_equal(carried.read(shots[0], 3).pixels, source.read(shots[0], 3).pixels)


_SHARED = None


def _read_shared(place):
    return _SHARED[0].read(_SHARED[1][place[0]], place[1]).pixels


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_does_not_wait_for_threads_of_frames_that_are_garbage():
    frame = av.VideoFrame.from_ndarray(np.zeros((720, 1280, 3), np.uint8)).reformat(format="yuv420p")
    frame.reformat(format="rgb24")
    gc.disable()
    try:
        cycle = [frame]
        cycle.append(cycle)
        del cycle, frame
        child = multiprocessing.get_context("fork").Process(target=gc.collect)
        child.start()
        child.join(20)
        child.kill()
        child.join()
    finally:
        gc.enable()
    assert child.exitcode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_forked_processes_do_not_move_each_others_place(many):
    global _SHARED
    _SHARED = VideoFrames(many[0]), many[1]
    places = [(number, t) for t in (1, 4, 2, 5) for number in range(6)]
    expected = [_read_shared(place) for place in places]
    with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
        forked = list(pool.map(_read_shared, places))
    assert np.array_equal(forked, expected)
    assert np.array_equal([_read_shared(place) for place in places], expected)


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "missing"), (b"", "empty file"), (b"no video" * 99, "cannot be decoded")]
)
def test_a_file_that_is_no_video_is_named_with_the_reason(tmp_path, content, reason):
    if content is not None:
        (tmp_path / "clip.mp4").write_bytes(content)
    shot = Shot("v/001", "bird", "v", "train", "clip.mp4", (time_name(40),))
    with pytest.raises(FrameError) as caught:
        VideoFrames(tmp_path).read(shot, 0)
    assert caught.value.offenders[0].startswith(f"clip.mp4/00000040ms: {reason}")


def test_a_time_without_a_frame_is_named(many):
    root, (shot, *_) = many
    for name, reason in (
        ("00000041ms", "no frame at this time"),
        ("00099999ms", "no frame"),
        ("7.jpg", "no time"),
    ):
        with pytest.raises(FrameError, match=reason):
            VideoFrames(root).read(Shot("x", "bird", "x", "train", shot.folder, (name,)), 0)


def test_after_an_error_the_next_frame_is_read(many):
    root, (shot, *_) = many
    source = VideoFrames(root)
    expected = source.read(shot, 4).pixels
    with pytest.raises(FrameError):
        source.read(Shot("x", "bird", "x", "train", shot.folder, ("00099999ms",)), 0)
    assert np.array_equal(source.read(shot, 4).pixels, expected)


def test_without_pyav_the_error_is_the_extra_s_and_says_what_to_install(many, monkeypatch):
    root, (shot, *_) = many
    monkeypatch.setitem(sys.modules, "av", None)
    for read in (lambda: VideoFrames(root).read(shot, 0), lambda: frame_times(root / shot.folder)):
        with pytest.raises(ExtraError, match=r'package av, .*pip install "tcam-cache\[video\]"'):
            read()


def test_a_layout_has_its_reader(tmp_path):
    def source(layout, **facts):
        return frame_source(Scan(tmp_path, layout, (), (), (), facts))

    since = {"orientation": "upright", "times": "from the first frame"}
    assert source("videos", **since) == VideoFrames(tmp_path)
    assert source("folders", orientation="upright") == ImageFrames(tmp_path, depth=16)
    assert source("ytov1", orientation="stored") == ImageFrames(tmp_path, upright=False, depth=16)
    assert VideoFrames(tmp_path) != ImageFrames(tmp_path)


def test_headers_of_before_mean_stored_pixels_and_the_container_s_clock(tmp_path):
    assert frame_source(Scan(tmp_path, "videos", (), ())) == VideoFrames(
        tmp_path, upright=False, absolute=True
    )
    assert frame_source(Scan(tmp_path, "folders", (), ())) == ImageFrames(tmp_path, upright=False, depth=16)


def test_times_are_names_and_back():
    assert time_of(time_name(83_456_789)) == 83_456_789
    assert time_name(5) < time_name(40) < time_name(1000)
    assert Path(time_name(1240)).suffix == ""
