"""Tests of the clip that is written again: its frames, its times, its sound."""

from fractions import Fraction

import av
import numpy as np
import pytest

from tcam_cache.datasets import frame_times
from tcam_cache.inference.formats.video import drawn, write_video

from .conftest import of_clip

SIDE = 64


def frames(times, size=(48, SIDE)):
    return [(time, np.full((*size, 3), 40 + time // 10, np.uint8)) for time in times]


def write_clip(path, sound=None, count=10, container=None):
    """Write a clip of `count` frames at 25 a second, with a tone in a codec."""
    with av.open(str(path), "w", format=container) as out:
        video = out.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = SIDE, 48, "yuv420p"
        audio = out.add_stream(sound, rate=16000) if sound else None
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(np.full((48, SIDE, 3), 90, np.uint8), "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            out.mux(video.encode(frame))
        out.mux(video.encode())
        if audio:
            tone = (8000 * np.sin(np.arange(count * 640) / 8)).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(tone[None], "s16", "mono")
            frame.sample_rate, frame.pts = 16000, 0
            for part in (*av.AudioResampler("fltp" if sound == "aac" else "s16").resample(frame), None):
                out.mux(audio.encode(part))
    return path


def sound_of(path):
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return None
        parts = [frame.to_ndarray() for frame in container.decode(container.streams.audio[0])]
        return np.concatenate(parts, axis=1)


def test_frames_keep_their_times_and_their_pixels(tmp_path):
    clip, times = write_clip(tmp_path / "clip.mp4"), [0, 40, 100, 300, 320]
    write_video(tmp_path / "out.mp4", clip, frames(times), 25.0)
    assert [int(name[:-2]) for name in frame_times(tmp_path / "out.mp4")] == times
    with av.open(str(tmp_path / "out.mp4")) as container:
        shades = [frame.to_ndarray(format="rgb24").mean() for frame in container.decode(video=0)]
    np.testing.assert_allclose(shades, [40 + time // 10 for time in times], atol=3)


@pytest.mark.parametrize(("name", "codec"), [("clip.mp4", "aac"), ("clip.mkv", "libmp3lame")])
def test_sound_is_kept_as_it_is(tmp_path, name, codec):
    clip = write_clip(tmp_path / name, codec)
    write_video(tmp_path / "out.mp4", clip, frames(range(0, 400, 40)), 25.0)
    ours, theirs = sound_of(tmp_path / "out.mp4"), sound_of(clip)
    assert ours.shape[1] >= 0.9 * theirs.shape[1] > 5000
    assert np.abs(ours[:, 2000:5000]).max() > 0.05 * (1 if ours.dtype.kind == "f" else 32767)


def test_a_clip_without_sound_and_a_moving_picture_have_none(tmp_path):
    from PIL import Image

    write_video(tmp_path / "out.mp4", write_clip(tmp_path / "clip.mp4"), frames([0, 40]), 25.0)
    assert sound_of(tmp_path / "out.mp4") is None
    shades = [Image.new("RGB", (SIDE, 48), (60 * n, 60, 30)) for n in range(3)]
    shades[0].save(tmp_path / "clip.gif", save_all=True, append_images=shades[1:], duration=40)
    write_video(tmp_path / "gif.mp4", tmp_path / "clip.gif", frames([0, 40]), 25.0)
    assert len(frame_times(tmp_path / "gif.mp4")) == 2


def test_sound_that_mp4_does_not_hold_is_left_out_and_said(tmp_path, caplog):
    clip = write_clip(tmp_path / "clip.avi", "adpcm_ima_wav")
    write_video(tmp_path / "out.mp4", clip, frames([0, 40, 80]), 25.0)
    assert sound_of(tmp_path / "out.mp4") is None and "which MP4 does not hold" in caplog.text
    assert len(frame_times(tmp_path / "out.mp4")) == 3


def test_odd_sides_lose_a_pixel_and_other_sizes_are_scaled(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4")
    write_video(tmp_path / "out.mp4", clip, [*frames([0], (49, 65)), *frames([40], (24, 32))], 25.0)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert [(frame.width, frame.height) for frame in container.decode(video=0)] == [(64, 48)] * 2


def test_the_same_frames_are_encoded_to_the_same_bytes(tmp_path):
    noise = np.random.default_rng(0).integers(60, 140, (7, 48, SIDE, 3), np.uint8)
    clip, moving = write_clip(tmp_path / "clip.mp4"), []
    for t, pixels in enumerate(noise):
        pixels[10 + t : 30 + t, 10:40] = (220, 40, 30)
        moving.append((40 * t, pixels))
    encoded = set()
    for _ in range(20):
        write_video(tmp_path / "out.mp4", clip, moving, 25.0)
        encoded.add((tmp_path / "out.mp4").read_bytes())
    assert len(encoded) == 1


def test_memory_holds_one_frame_at_a_time(tmp_path):
    held, most = [], []

    def lazily():
        for time, pixels in frames(range(0, 2000, 40)):
            held.append(time)
            yield time, pixels
            most.append(len(held) - len(most))

    write_video(tmp_path / "out.mp4", write_clip(tmp_path / "clip.mp4", "aac"), lazily(), 25.0)
    assert max(most) == 1


def test_a_frame_is_drawn_with_its_box_and_tag_and_a_light_map():
    pixels = np.full((120, 160, 3), 100, np.uint8)
    found = of_clip(0, (40, 60, 120, 110), tag="dög")
    plain = drawn(pixels, found)
    changed = (plain != pixels).any(axis=2)
    assert changed[60:63, 40:120].all() and not changed[70:100, 50:110].any()
    assert changed[40:60, 40:60].any() and not changed[:30].any()
    scores = np.zeros((12, 16), np.float32)
    scores[7:10, 6:10] = 1
    warm = drawn(pixels, found, scores)
    assert (
        warm[85, 80, 0] != 100 and abs(int(warm[85, 80, 0]) - 100) <= 0.5 * 127 and (warm[5, 5] == 100).all()
    )


def test_without_a_box_a_frame_is_left_as_it_is_and_a_tag_without_room_stands_inside():
    pixels = np.full((120, 160, 3), 100, np.uint8)
    np.testing.assert_array_equal(drawn(pixels, of_clip(0)), pixels)
    inside = drawn(pixels, of_clip(0, (0, 0, 160, 120), tag="a\x01b"))
    assert (inside[:12, 3:20] != 100).any()


def test_presence_stands_beside_the_tag_and_alone_in_the_corner_where_the_object_is_not_there():
    pixels = np.full((120, 160, 3), 100, np.uint8)
    boxed, absent = of_clip(0, (40, 60, 120, 110), tag="dog"), of_clip(0, tag="dog")
    tagged, sure = drawn(pixels, boxed), drawn(pixels, boxed._replace(presence=0.98))
    assert (tagged != sure).any(axis=2)[40:60, 60:120].any()
    assert (drawn(pixels, boxed._replace(presence=0.12)) != sure).any()
    away = (drawn(pixels, absent._replace(presence=0.02)) != pixels).any(axis=2)
    assert away[2:10, 2:10].all() and not away[30:].any() and not away[:, 100:].any()
