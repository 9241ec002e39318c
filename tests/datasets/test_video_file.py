"""Tests of video files as they come: every frame has one set of pixels, upright, and damage has a name."""

import io
import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joblib import Parallel, delayed
from PIL import Image

from tcam_cache.datasets import ImageFrames, VideoFrames, frame_times, read_annotations, scan_videos
from tcam_cache.datasets.video import time_name
from tcam_cache.datasets.video_file import VideoFile, picture
from tcam_cache.errors import FrameError
from tcam_cache.records import Shot

QUIET = {"x265-params": "log-level=none"}
OPEN_GOP = {"bf": "2", "x264-params": "open-gop=1:keyint=12"}
HIDDEN = {"auto-alt-ref": "1", "lag-in-frames": "16"}
KINDS = [
    ("a.mpg", "mpeg1video", {"bf": "0"}), ("a.mpg", "mpeg2video", {"bf": "2"}),
    ("a.vob", "mpeg2video", {"bf": "2"}),
    ("a.ts", "mpeg2video", {"bf": "2"}), ("a.ts", "libx264", OPEN_GOP), ("a.m2ts", "libx264", {"bf": "2"}),
    ("a.avi", "mpeg4", {"bf": "2"}), ("a.avi", "msmpeg4v3", {}), ("a.avi", "mjpeg", {}),
    ("a.flv", "libx264", {"bf": "2"}), ("a.flv", "flv", {}),
    ("a.wmv", "wmv2", {}), ("a.asf", "msmpeg4v3", {}),
    ("a.mkv", "libx264", OPEN_GOP), ("a.mkv", "mpeg2video", {"bf": "2"}), ("a.webm", "libvpx-vp9", HIDDEN),
    ("a.webm", "libvpx", HIDDEN), ("a.ogv", "libvpx", {}), ("a.mp4", "libx264", OPEN_GOP),
    ("a.mp4", "libx265", {"x265-params": "open-gop=1:keyint=12:log-level=none"}), ("a.mov", "mjpeg", {}),
    ("a.3gp", "mpeg4", {}), ("a.mxf", "mpeg2video", {}), ("a.nut", "libx264", {"bf": "2"}),
    ("a.h264", "libx264", {"bf": "2"}),
    ("a.hevc", "libx265", QUIET), ("a.m2v", "mpeg2video", {"bf": "2"}), ("a.mjpeg", "mjpeg", {}),
    ("a.y4m", "wrapped_avframe", {}),
    ("a.webm", "libsvtav1", {"preset": "12"}),
]  # fmt: skip
LENGTH = 40


def numbered(count, width=96, height=48):
    """Yield frames of moving noise that carry their number as eight black or white blocks along the top."""
    noise = np.random.default_rng(0).integers(0, 255, (6, 40, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    for number in range(count):
        pixels = noise[:height, 2 * number : 2 * number + width].copy()
        for bit in range(8):
            pixels[:16, bit * 12 : bit * 12 + 12] = 255 * (number >> bit & 1)
        yield pixels


def number_of(pixels):
    """Return the number that a frame carries."""
    return sum(1 << bit for bit in range(8) if pixels[3:12, bit * 12 + 3 : bit * 12 + 9].mean() > 127)


def encode(path, codec, options=None, frames=None, times=None, offset=0, **container):
    """Encode frames, 25 a second or at given times in 1/25 s, into a new file, and return it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = list(numbered(LENGTH)) if frames is None else frames
    with av.open(str(path), "w", **container) as out:
        try:
            # The macroblock tree of x264 depends on which of its threads is first.
            steady = {"mbtree": "0"} if codec == "libx264" else {}
            stream = out.add_stream(codec, rate=25, options={**steady, **(options or {})})
        except (ValueError, av.error.FFmpegError):
            pytest.skip(f"this FFmpeg has no encoder {codec}")
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.gop_size = 12
        for place, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(format=stream.pix_fmt)
            frame.pts, frame.time_base = offset + (times[place] if times else place), Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def shot_of(path):
    return Shot("s", "bird", "v", "train", path.name, frame_times(path))


def in_order(path):
    file = VideoFile(path)
    found = [picture(frame) for _, frame in file.in_order()]
    file.close()
    return found


def read_all(path, order):
    source, shot = VideoFrames(path.parent), shot_of(path)
    return [source.read(shot, t).pixels for t in order]


def assert_any_order_is_in_order(path, seed=0):
    expected = in_order(path)
    order = np.random.default_rng(seed).permutation(len(expected)).tolist()
    found = read_all(path, order)
    assert [
        t for t, pixels in zip(order, found, strict=True) if not np.array_equal(pixels, expected[t])
    ] == []
    return expected


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind[1]} in {kind[0]}")
def test_any_order_gives_the_frames_of_a_whole_decode_numbered_from_time_zero(tmp_path, kind):
    name, codec, options = kind
    path = encode(tmp_path / name, codec, options)
    found = assert_any_order_is_in_order(path)
    assert [number_of(pixels) for pixels in found] == list(range(LENGTH))
    assert frame_times(path)[:3] == ("00000000ms", "00000040ms", "00000080ms")


@pytest.mark.parametrize("name", ["a.mpg", "a.ts", "a.avi", "a.mkv"])
def test_two_processes_read_what_one_reads(tmp_path, name):
    path = encode(tmp_path / name, "mpeg2video" if name != "a.avi" else "mpeg4", {"bf": "2"})
    order = list(range(0, LENGTH, 3))
    alone = read_all(path, order)
    source, shot = VideoFrames(tmp_path), shot_of(path)
    shared = Parallel(n_jobs=2)(delayed(source.read)(shot, t) for t in order)
    assert np.array_equal(alone, [frame.pixels for frame in shared])


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """One file of each way to find a place, and what a whole decode of it gives."""
    root = tmp_path_factory.mktemp("several")
    made = [encode(root / "a.ts", "libx264", {"bf": "2"}), encode(root / "b.mkv", "libx264", OPEN_GOP)]
    made += [encode(root / "c.h264", "libx264", {"bf": "2"})]
    return [(path, shot_of(path), in_order(path)) for path in made]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, LENGTH - 1)), min_size=1, max_size=12))
def test_whatever_was_read_before_a_frame_is_the_same(several, wanted):
    source = VideoFrames(several[0][0].parent)
    for which, t in wanted:
        path, shot, expected = several[which]
        assert np.array_equal(source.read(shot, t).pixels, expected[t]), path.name


def test_an_avi_without_its_index_is_read_in_any_order(tmp_path):
    whole = encode(tmp_path / "whole.avi", "msmpeg4v3").read_bytes()
    (tmp_path / "a.avi").write_bytes(whole[: whole.rfind(b"idx1")])
    found = assert_any_order_is_in_order(tmp_path / "a.avi")
    assert [number_of(pixels) for pixels in found] == list(range(LENGTH))


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_frames_at_uneven_times_are_found_by_their_times(tmp_path, name):
    times = np.cumsum(np.random.default_rng(3).integers(1, 60, LENGTH)).tolist()
    path = encode(tmp_path / name, "libx264", {"bf": "2"}, times=[time - times[0] for time in times])
    assert_any_order_is_in_order(path)
    assert frame_times(path) == tuple(time_name(40 * (time - times[0])) for time in times)


@pytest.mark.parametrize(
    "flags", ["frag_keyframe+empty_moov", "frag_keyframe+empty_moov+default_base_moof", "faststart"]
)
def test_time_zero_is_the_first_frame_of_fragmented_files_too(tmp_path, flags):
    path = encode(tmp_path / "a.mp4", "libx264", {"bf": "2"}, container_options={"movflags": flags})
    found = assert_any_order_is_in_order(path)
    assert len(found) == LENGTH and frame_times(path)[10] == "00000400ms"


@pytest.mark.parametrize("start", [10_000, 2_386_090])
def test_a_transport_stream_whose_clock_starts_late_or_wraps_starts_at_zero(tmp_path, start):
    path = encode(tmp_path / "a.ts", "libx264", {"bf": "2"}, offset=start)
    assert_any_order_is_in_order(path)
    assert frame_times(path) == tuple(time_name(40 * t) for t in range(LENGTH))


def test_manifests_of_before_still_read_frames_by_the_container_s_clock(tmp_path):
    path = encode(tmp_path / "a.ts", "libx264", {"bf": "2"})
    with av.open(str(path)) as container:
        absolute = [round(1000 * frame.time) for frame in container.decode(video=0)]
    assert absolute[0] > 0
    shot = Shot("s", "bird", "v", "train", "a.ts", tuple(map(time_name, absolute)))
    source = VideoFrames(tmp_path, upright=False, absolute=True)
    for t in (30, 0, 17, 39, 5):
        assert number_of(source.read(shot, t).pixels) == t


def test_an_edit_list_hides_frames_and_nothing_is_missing(tmp_path):
    path = encode(tmp_path / "car/a.mp4", "libx264", {"bf": "0"})
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        first = int(Fraction(18, 25) / container.streams.video[0].time_base)
    struct.pack_into(">Ii", data, data.find(b"elst") + 12, 22 * 40, first)
    path.write_bytes(data)
    (shot,) = scan_videos(tmp_path, shots=False, workers=0).manifest().shots
    found = assert_any_order_is_in_order(path)
    assert shot.frames[0] == "00000000ms"
    assert [number_of(pixels) for pixels in found] == list(range(18, LENGTH))


@pytest.mark.parametrize(
    ("codec", "options"),
    [("libx264", {"bf": "2"}), ("libx264", OPEN_GOP), ("mpeg2video", {"bf": "2"}),
     ("libx265", {"x265-params": "open-gop=1:keyint=12:log-level=none"})],
    ids=["closed", "h264", "mpeg2", "hevc"],
)  # fmt: skip
def test_a_recording_that_begins_anywhere_begins_with_its_first_keyframe(tmp_path, codec, options):
    whole = encode(tmp_path / "whole.ts", codec, options).read_bytes()
    path = tmp_path / "a.ts"
    path.write_bytes(whole[188 * 20 :])
    numbers = [number_of(pixels) for pixels in assert_any_order_is_in_order(path)]
    assert numbers == list(range(numbers[0], LENGTH)) and 0 < numbers[0] <= 12
    assert frame_times(path)[0] == "00000000ms"


@pytest.mark.parametrize(
    ("name", "options", "container"),
    [("a.mkv", {"bf": "2"}, {"live": "1"}), ("a.ts", {"x264-params": "intra-refresh=1:keyint=12"}, {}),
     ("a.mp4", {"x264-params": "intra-refresh=1:keyint=12"}, {})],
    ids=["no index", "intra refresh in ts", "intra refresh in mp4"],
)  # fmt: skip
def test_files_with_hardly_a_keyframe_or_an_index_are_read_in_any_order(tmp_path, name, options, container):
    path = encode(tmp_path / name, "libx264", options, container_options=container)
    assert [number_of(pixels) for pixels in assert_any_order_is_in_order(path)] == list(range(LENGTH))


def add_packets(out, source, stream):
    for packet in source.demux(source.streams.video[0]):
        if packet.dts is not None:
            packet.stream = stream
            out.mux(packet)


@pytest.mark.parametrize("mark", ["attached_pic", "smaller", "default"])
def test_the_picture_is_the_stream_that_a_player_shows(tmp_path, mark):
    film = encode(tmp_path / "film.mp4", "libx264")
    small = [np.zeros((32, 48, 3), np.uint8)] * 3
    other = encode(tmp_path / "other.mp4", "mjpeg", frames=small)
    path = tmp_path / "a.mkv"
    marks = av.stream.Disposition
    with av.open(str(film)) as one, av.open(str(other)) as two, av.open(str(path), "w") as out:
        cover = out.add_stream_from_template(two.streams.video[0])
        main = out.add_stream_from_template(one.streams.video[0])
        cover.disposition, main.disposition = marks(0), marks(0)
        if mark == "attached_pic":
            cover.disposition = marks.attached_pic
        if mark == "default":
            cover.disposition = marks.default
        add_packets(out, two, cover)
        add_packets(out, one, main)
    frames = 3 if mark == "default" else LENGTH
    assert len(frame_times(path)) == frames


def test_each_frame_has_its_own_size_and_boxes_are_clipped_to_it(tmp_path, write_lines):
    path = tmp_path / "clips/car/a.mkv"
    path.parent.mkdir(parents=True)
    sizes = [(96, 64)] * 10 + [(48, 32)] * 10
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuvj420p"
        stream.time_base = Fraction(1, 25)
        out.start_encoding()
        for t, size in enumerate(sizes):
            data = io.BytesIO()
            Image.new("RGB", size, (t * 10, 90, 40)).save(data, "JPEG")
            packet = av.Packet(data.getvalue())
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, t, t, Fraction(1, 25)
            packet.is_keyframe = True
            out.mux(packet)
    table = write_lines(
        tmp_path / "boxes.csv", "frame,class,xmin,ymin,xmax,ymax",
        "car/a.mkv/00000200ms,car,10,10,90,60", "car/a.mkv/00000600ms,car,10,10,60,40",
    )  # fmt: skip
    scan = scan_videos(tmp_path / "clips", shots=False, workers=0)
    (shot,) = scan.annotated(read_annotations(table)).shots
    assert shot.boxes == {5: ((10, 10, 90, 60),), 15: ((10, 10, 48, 32),)}
    source = VideoFrames(tmp_path / "clips")
    for t in (15, 2, 12, 9, 10):
        frame = source.read(shot, t)
        assert (frame.width, frame.height) == sizes[t] and abs(int(frame.pixels[5, 5, 0]) - 10 * t) < 9


def with_matrix(path, *corners):
    """Write a display matrix a, b, c, d into the header of an MP4 file."""
    data = bytearray(path.read_bytes())
    at = data.find(b"tkhd")
    a, b, c, d = (round(corner * 65536) for corner in corners)
    matrix = (a, b, 0, c, d, 0, 0, 0, 1 << 30)
    struct.pack_into(">9i", data, at + 4 + (40 if data[at + 4] == 0 else 52), *matrix)
    path.write_bytes(data)


TURNS = {
    "not": ((1, 0, 0, 1), lambda p: p),
    "90 clockwise": ((0, 1, -1, 0), lambda p: np.rot90(p, -1)),
    "180": ((-1, 0, 0, -1), lambda p: np.rot90(p, 2)),
    "270 clockwise": ((0, -1, 1, 0), lambda p: np.rot90(p)),
    "mirrored": ((-1, 0, 0, 1), lambda p: p[:, ::-1]),
    "upside down": ((1, 0, 0, -1), lambda p: p[::-1]),
    "mirrored along the diagonal": ((0, 1, 1, 0), lambda p: p.swapaxes(0, 1)),
}


@pytest.mark.parametrize("turn", TURNS)
def test_a_display_matrix_turns_frames_and_the_boxes_are_upright(tmp_path, turn, write_lines):
    matrix, shown = TURNS[turn]
    path = encode(tmp_path / "clips/car/a.mp4", "libx264", frames=list(numbered(6)))
    with_matrix(path, *matrix)
    shot = shot_of(path)
    stored = VideoFrames(path.parent, upright=False).read(shot, 3)
    upright = VideoFrames(path.parent).read(shot, 3)
    assert stored.pixels.shape == (48, 96, 3) and number_of(stored.pixels) == 3
    assert np.array_equal(upright.pixels, shown(stored.pixels))
    assert (upright.height, upright.width) == upright.pixels.shape[:2]
    for orientation, frame in (("upright", upright), ("stored", stored)):
        beyond = f"car/a.mp4/00000000ms,car,1,1,{frame.width + 9},{frame.height + 9}"
        table = write_lines(tmp_path / "b.csv", "frame,class,xmin,ymin,xmax,ymax", beyond)
        scan = scan_videos(tmp_path / "clips", workers=0, orientation=orientation)
        assert scan.annotated(read_annotations(table)).shots[0].boxes == {
            0: ((1, 1, frame.width, frame.height),)
        }


def test_opencv_shows_the_same_frame_upright(tmp_path):
    cv2 = pytest.importorskip("cv2")
    path = encode(tmp_path / "a.mp4", "libx264", frames=list(numbered(6)))
    with_matrix(path, 0, 1, -1, 0)
    read, shown = cv2.VideoCapture(str(path)).read()
    ours = VideoFrames(tmp_path).read(shot_of(path), 0).pixels
    assert read and shown.shape == ours.shape
    assert np.abs(shown[..., ::-1].astype(int) - ours).max() <= 6


def test_orientation_is_part_of_the_digest_only_where_it_turns_something(tmp_path):
    encode(tmp_path / "car/a.mp4", "libx264", frames=list(numbered(6)))
    one, other = (
        scan_videos(tmp_path, workers=0, orientation=how).manifest() for how in ("upright", "stored")
    )
    assert one.shots == other.shots and one.digest() != other.digest()


SPACES = {
    "601": (5, (0.299, 0.587, 0.114)),
    "709": (1, (0.2126, 0.7152, 0.0722)),
    "unsaid": (2, (0.299, 0.587, 0.114)),
}


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("space", SPACES)
def test_colours_follow_the_space_and_the_range_of_the_frame(space, full):
    number, (red, green, blue) = SPACES[space]
    wanted = np.array([200, 30, 40])
    r, g, b = wanted / 255
    y = red * r + green * g + blue * b
    u, v = (b - y) / (2 - 2 * blue), (r - y) / (2 - 2 * red)
    values = (255 * y, 128 + 255 * u, 128 + 255 * v) if full else (16 + 219 * y, 128 + 224 * u, 128 + 224 * v)
    frame = av.VideoFrame(32, 16, "yuv420p")
    frame.colorspace, frame.color_range = number, 2 if full else 1
    for plane, value in zip(frame.planes, values, strict=True):
        plane.update(np.full(plane.height * plane.line_size, round(value), np.uint8).tobytes())
    assert np.abs(picture(frame).mean((0, 1)) - wanted).max() <= 3
    assert np.abs(picture(frame, side=4).mean((0, 1)) - wanted).max() <= 3


CUTS = ["a.mkv", "a.webm", "a.mp4", "a.avi", "a.flv", "a.ts", "a.ogv", "a.mxf"]
CODECS = {"a.webm": "libvpx", "a.ogv": "libvpx", "a.avi": "mpeg4", "a.mxf": "mpeg2video"}


@pytest.mark.parametrize("share", [0.35, 0.55, 0.9])
@pytest.mark.parametrize("name", CUTS)
def test_half_a_download_is_a_fault_with_a_name(tmp_path, name, share):
    flags = {"container_options": {"movflags": "faststart"}} if name == "a.mp4" else {}
    path = encode(tmp_path / "car" / name, CODECS.get(name, "libx264"), **flags)
    whole = path.read_bytes()
    assert scan_videos(tmp_path, workers=0).faults == ()
    # One byte of sync in a transport stream: its packets have 188 bytes each.
    path.write_bytes(whole[: int(len(whole) * share) // 188 * 188 + 1])
    (fault,) = scan_videos(tmp_path, workers=0).faults
    assert fault.startswith(f"car/{name}: ")


def damage(path, share):
    data = bytearray(path.read_bytes())
    place = int(len(data) * share)
    data[place : place + 400] = bytes(400)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "codec", "share"),
    [
        ("a.mp4", "libx264", 0.5),
        ("a.mkv", "libx264", 0.5),
        ("a.mpg", "mpeg2video", 0.5),
        ("a.avi", "mpeg4", 0.67),
        ("a.ts", "libx264", 0.5),
        ("a.ts", "libx264", 0.67),
        ("a.flv", "flv", 0.5),
    ],
)
def test_damage_inside_is_a_fault_with_a_name(tmp_path, name, codec, share):
    damage(encode(tmp_path / name, codec), share)
    with pytest.raises(FrameError, match=f"{name}: damaged"):
        frame_times(tmp_path / name)


def test_of_a_damaged_file_the_frames_that_lean_on_the_damage_are_not_made_up(tmp_path):
    path = encode(tmp_path / "a.mp4", "libx264")
    shot, whole = shot_of(path), in_order(path)
    damage(path, 0.5)
    source, broken = VideoFrames(tmp_path), 0
    for t in range(LENGTH):
        try:
            pixels = source.read(shot, t).pixels
        except FrameError:
            broken += 1
        else:
            assert np.array_equal(pixels, whole[t])
    assert 0 < broken < LENGTH


def test_sound_that_is_longer_than_the_picture_is_no_damage(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 48, "yuv420p"
        sound = out.add_stream("pcm_s16le", rate=8000, layout="mono")
        for t, pixels in enumerate(numbered(10)):
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts, frame.time_base = t, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
        for t in range(30):
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
            samples.sample_rate, samples.pts, samples.time_base = 8000, 800 * t, Fraction(1, 8000)
            out.mux(sound.encode(samples))
    assert len(frame_times(path)) == 10


def test_a_file_of_sound_or_of_a_cover_alone_is_refused_by_name(tmp_path):
    with av.open(str(tmp_path / "a.mkv"), "w") as out:
        sound = out.add_stream("pcm_s16le", rate=8000, layout="mono")
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        samples.sample_rate, samples.pts = 8000, 0
        out.mux(sound.encode(samples))
    with pytest.raises(FrameError, match="no moving picture in it"):
        frame_times(tmp_path / "a.mkv")


def test_image_and_video_readers_differ_by_what_they_do_with_orientation(tmp_path):
    assert VideoFrames(tmp_path) != VideoFrames(tmp_path, upright=False)
    assert ImageFrames(tmp_path) != ImageFrames(tmp_path, upright=False)
