import io
import json
import pickle

import numpy as np
import pytest
from PIL import Image

from tcam_cache.cache import CamCache, ShotFrames, StoredFrames, encode_frame
from tcam_cache.errors import CacheError, FrameError, StorageError
from tcam_cache.records import Frame


def picture(shot, t, side=16):
    """Return a smooth picture of its own for each shot and frame, as photographs are."""
    y, x = np.mgrid[:side, :side] / side
    waves = [np.sin(3 * x + 2 * y + t + phase + len(shot.frames)) for phase in (0, 1, 2)]
    return np.uint8(127 + 120 * np.stack(waves, -1))


class Originals:
    """Frames of 40 x 30 pixels; whatever is read is noted."""

    def __init__(self):
        self.asked = []

    def read(self, shot, t, size=None):
        self.asked.append((shot.id, t, size))
        return Frame(picture(shot, t, size or 30), 40, 30)


def frames_of(shot, side=16):
    images = tuple(encode_frame(picture(shot, t, side)) for t in range(len(shot)))
    return ShotFrames(side, tuple((40 + t, 30) for t in range(len(shot))), images)


@pytest.fixture
def stored(path, plan, build_all):
    """The complete cache with the frames of its first two shots, and the source that reads them."""
    writer = build_all(path, plan)
    for shot in plan.shots[:2]:
        writer.write_frames(shot.id, frames_of(shot))
    return CamCache.open(path)


def test_a_stored_frame_is_its_picture_within_a_jpeg_s_tolerance_with_the_original_s_size(stored, plan):
    source = stored.frames(Originals(), [plan.shots[0].id])
    for t in range(len(plan.shots[0])):
        frame = source.read(plan.shots[0], t, 16)
        assert (frame.width, frame.height) == (40 + t, 30)
        error = np.abs(frame.pixels.astype(int) - picture(plan.shots[0], t))
        assert error.mean() < 2 and error.max() <= 12


def test_smaller_sizes_are_squashed_from_it_and_larger_ones_come_from_the_original(stored, plan):
    originals = Originals()
    source, shot = stored.frames(originals, []), plan.shots[0]
    small = source.read(shot, 3, 8).pixels
    whole = Image.fromarray(source.read(shot, 3, 16).pixels).resize((8, 8), Image.Resampling.BILINEAR)
    assert np.array_equal(small, np.array(whole)) and originals.asked == []
    source.read(shot, 3, 17)
    source.read(shot, 3)
    assert originals.asked == [(shot.id, 3, 17), (shot.id, 3, None)]


def test_a_shot_that_is_not_stored_is_read_from_its_originals_unless_it_is_demanded(stored, plan):
    originals = Originals()
    stored.frames(originals, []).read(plan.shots[2], 1, 16)
    assert originals.asked == [(plan.shots[2].id, 1, 16)]
    with pytest.raises(CacheError, match="build --frames") as caught:
        stored.frames(originals, [shot.id for shot in plan.shots])
    assert caught.value.offenders == (plan.shots[2].id, plan.shots[3].id)


def test_it_travels_between_processes(stored, plan):
    source = stored.frames(Originals(), [])
    first = source.read(plan.shots[0], 2, 16)
    again = pickle.loads(pickle.dumps(source))
    assert isinstance(again, StoredFrames)
    assert np.array_equal(again.read(plan.shots[0], 2, 16).pixels, first.pixels)


def test_what_is_stored_is_not_pending_and_another_size_is_refused_by_name(path, plan, build_all, stored):
    writer = build_all(path, plan)
    assert writer.pending_frames(16) == plan.shots[2:]
    assert writer.pending_frames(16, (1, 2)) == plan.shots[3:]
    with pytest.raises(CacheError, match="--frame-size") as caught:
        writer.pending_frames(32)
    assert caught.value.offenders == tuple(f"{shot.id}: 16 pixels, not 32" for shot in plan.shots[:2])


def test_a_shot_is_stored_whole_or_not_at_all(path, plan, build_all):
    writer = build_all(path, plan)
    short = frames_of(plan.shots[0])
    with pytest.raises(CacheError, match=r"got 4 frames .* expected 5"):
        writer.write_frames(plan.shots[0].id, ShotFrames(16, short.sizes[1:], short.images[1:]))
    assert writer.pending_frames(16) == plan.shots


def test_a_refused_write_leaves_nothing(path, plan, build_all, monkeypatch):
    writer = build_all(path, plan)
    real = __import__("os").replace

    def refuse(old, new):
        if "frames" in str(new):
            raise OSError(28, "No space left on device")
        return real(old, new)

    monkeypatch.setattr("os.replace", refuse)
    with pytest.raises(StorageError, match="disk is full"):
        writer.write_frames(plan.shots[0].id, frames_of(plan.shots[0]))
    monkeypatch.undo()
    assert writer.pending_frames(16) == plan.shots and CamCache.open(path).verify() == ()


def flip(data):
    return data[:-9] + bytes([data[-9] ^ 255]) + data[-8:]


@pytest.mark.parametrize(
    "damage", [flip, lambda data: data[:-1], lambda data: data[:40], lambda data: b"", lambda data: b"x" * 99]
)
def test_verify_finds_damaged_frames_and_says_what_to_do(path, stored, plan, damage):
    assert stored.verify() == ()
    file = path / "frames/000000.bin"
    file.write_bytes(damage(file.read_bytes()))
    found = CamCache.open(path).verify()
    assert [line.partition(":")[0] for line in found] == ["frames/000000.bin"]
    assert "build --frames" in found[0]


def test_frames_of_another_cache_are_not_ours(path, plan, plan_of, build_all, stored, tmp_path):
    other = plan_of(method="gradcam")
    build_all(tmp_path / "other", other)
    (tmp_path / "other/frames").mkdir()
    (tmp_path / "other/frames/000000.bin").write_bytes((path / "frames/000000.bin").read_bytes())
    with pytest.raises(CacheError, match="holds no frames of 1 shot"):
        CamCache.open(tmp_path / "other").frames(Originals(), [plan.shots[0].id])


def test_a_frame_that_cannot_be_decoded_is_named(path, stored, plan):
    file = path / "frames/000000.bin"
    data = file.read_bytes()
    first = data.index(b"\xff\xd8\xff")
    file.write_bytes(data[:first] + bytes(len(data) - first))
    with pytest.raises(CacheError, match=r"000000\.bin is damaged at frame 1"):
        CamCache.open(path).frames(Originals(), []).read(plan.shots[0], 1, 16)


def test_a_missing_original_is_still_a_frame_error(stored, plan):
    class Broken:
        def read(self, shot, t, size=None):
            raise FrameError("1 frame cannot be read.", [shot.path(t)])

    with pytest.raises(FrameError):
        stored.frames(Broken(), []).read(plan.shots[2], 0, 16)


def test_a_jpeg_keeps_the_colour_of_every_pixel():
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:, ::2] = (255, 0, 0)
    with Image.open(io.BytesIO(encode_frame(pixels))) as image:
        assert np.abs(np.array(image).astype(int) - pixels).max() < 40


def test_frames_can_lie_elsewhere_too(plan, build_all):
    pytest.importorskip("fsspec")
    url = "memory://stored-frames"
    writer = build_all(url, plan)
    writer.write_frames(plan.shots[0].id, frames_of(plan.shots[0]))
    cache = CamCache.open(url)
    frame = cache.frames(Originals(), [plan.shots[0].id]).read(plan.shots[0], 4, 16)
    assert np.abs(frame.pixels.astype(int) - picture(plan.shots[0], 4)).mean() < 2
    assert cache.verify() == ()


def header_of(data):
    first = 16 + int.from_bytes(data[8:16], "little")
    return json.loads(data[16:first]), data[first:]


def with_header(header, payload):
    text = json.dumps(header).encode()
    return b"TCAMFRM1" + len(text).to_bytes(8, "little") + text + payload


@pytest.mark.parametrize(
    "change",
    [
        {"sizes": [[41, 30]] * 5},
        {"side": 15},
        {"lengths": [1, 2, 3]},
        {"sizes": [[40, 30]]},
        {"lengths": [-1] * 5},
        {"sizes": "no list"},
        {"shot": "bird/9999/001"},
    ],
    ids=str,
)
@pytest.mark.parametrize("digest", ["kept", "dropped", "null"])
def test_a_changed_header_is_found_and_never_read(stored, plan, change, digest):
    file = stored.path / "frames/000000.bin"
    header, payload = header_of(file.read_bytes())
    if digest != "kept":
        # A header of before, without a digest: what contradicts itself or its cache is found all the same.
        header.pop("header_sha256")
        if change in ({"sizes": [[41, 30]] * 5}, {"side": 15}):
            pytest.skip("nothing vouches for it")
    file.write_bytes(
        with_header(header | change | ({"header_sha256": None} if digest == "null" else {}), payload)
    )
    cache = CamCache.open(stored.path)
    (problem,) = cache.verify()
    assert problem.startswith("frames/000000.bin: is damaged")
    originals = Originals()
    cache.frames(originals, []).read(plan.shots[0], 2, 8)
    assert originals.asked == [(plan.shots[0].id, 2, 8)]


def test_every_flipped_byte_of_stored_frames_is_found(stored):
    file = stored.path / "frames/000001.bin"
    sound = file.read_bytes()
    first = 16 + int.from_bytes(sound[8:16], "little")
    for at in [*range(0, first, 7), first, len(sound) - 1]:
        file.write_bytes(sound[:at] + bytes([sound[at] ^ 4]) + sound[at + 1 :])
        assert CamCache.open(stored.path).verify(), at


def test_a_header_without_a_digest_is_read_as_before(stored, plan):
    file = stored.path / "frames/000000.bin"
    header, payload = header_of(file.read_bytes())
    header.pop("header_sha256")
    file.write_bytes(with_header(header, payload))
    cache = CamCache.open(stored.path)
    assert cache.verify() == ()
    assert cache.frames(Originals(), [plan.shots[0].id]).read(plan.shots[0], 1, 16).width == 41
