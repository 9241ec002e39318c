import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from tcam_cache.datasets import ImageFrames
from tcam_cache.datasets.frames import image_sizes
from tcam_cache.errors import FrameError
from tcam_cache.records import Shot

NOISE = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)


def read(root, name, size=None, upright=True):
    shot = Shot("bird/0001/001", "bird", "bird/0001", "train", "bird/0001/001", (name,))
    return ImageFrames(root, upright).read(shot, 0, size)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "bird/0001/001"
    folder.mkdir(parents=True)
    return folder


def test_an_rgb_frame_is_read_as_stored(tmp_path, folder):
    Image.fromarray(NOISE).save(folder / "1.png")
    frame = read(tmp_path, "1.png")
    assert (frame.width, frame.height) == (16, 12)
    assert frame.pixels.dtype == np.uint8
    assert np.array_equal(frame.pixels, NOISE)


def test_pixels_can_be_written_to(tmp_path, folder):
    Image.fromarray(NOISE).save(folder / "1.png")
    assert read(tmp_path, "1.png").pixels.flags.writeable


def test_a_grey_frame_has_three_equal_channels(tmp_path, folder):
    Image.fromarray(NOISE[..., 0]).save(folder / "1.png")
    assert np.array_equal(read(tmp_path, "1.png").pixels, np.repeat(NOISE[..., :1], 3, axis=2))


def test_a_bilevel_frame_is_black_and_white(tmp_path, folder):
    Image.fromarray(NOISE[..., 0] > 127).save(folder / "1.png")
    assert np.array_equal(read(tmp_path, "1.png").pixels[..., 0], np.where(NOISE[..., 0] > 127, 255, 0))


def test_transparency_is_dropped_and_colours_kept(tmp_path, folder):
    Image.fromarray(np.dstack([NOISE, NOISE[..., 0]])).save(folder / "1.png")
    assert np.array_equal(read(tmp_path, "1.png").pixels, NOISE)


@pytest.mark.parametrize("given", [{}, {"transparency": 0}, {"transparency": bytes(range(64))}])
def test_a_palette_frame_shows_its_colours(tmp_path, folder, given):
    palette = Image.fromarray(NOISE).quantize(64)
    palette.save(folder / "1.png", **given)
    assert np.array_equal(read(tmp_path, "1.png").pixels, np.asarray(palette.convert("RGB")))


def test_a_cmyk_frame_shows_its_colours(tmp_path, folder):
    colours = [((0, 0, 0, 0), 255, 255, 255), ((0, 255, 255, 0), 255, 0, 0), ((0, 0, 0, 255), 0, 0, 0)]
    for number, (ink, *rgb) in enumerate(colours):
        Image.new("CMYK", (16, 12), ink).save(folder / f"{number}.jpg", quality=100)
        assert np.abs(read(tmp_path, f"{number}.jpg").pixels.astype(int) - rgb).max() <= 2


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path, folder):
    ramp = np.linspace(0, 65535, 192).round().astype(np.uint16).reshape(12, 16)
    Image.fromarray(ramp).save(folder / "1.png")
    expected = np.round(ramp / 257).astype(np.uint8)
    assert np.array_equal(read(tmp_path, "1.png").pixels, np.repeat(expected[..., None], 3, axis=2))


def test_sixteen_bit_colour_is_scaled_not_clipped(tmp_path, folder):
    wide = (NOISE.astype(np.uint16) << 8) + 77
    assert cv2.imwrite(str(folder / "1.png"), wide[..., ::-1])
    assert np.array_equal(read(tmp_path, "1.png").pixels, NOISE)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_exif_orientation_turns_an_image_as_it_is_shown(tmp_path, folder, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(NOISE).save(folder / f"1.{suffix}", exif=exif, quality=95)
    stored, frame = (read(tmp_path, f"1.{suffix}", upright=upright) for upright in (False, True))
    # Where the first row and the first column of the stored pixels are shown, after the EXIF standard.
    shown = {
        1: lambda p: p, 2: lambda p: p[:, ::-1], 3: lambda p: p[::-1, ::-1], 4: lambda p: p[::-1],
        5: lambda p: p.swapaxes(0, 1), 6: lambda p: p[::-1].swapaxes(0, 1),
        7: lambda p: p[::-1, ::-1].swapaxes(0, 1), 8: lambda p: p[:, ::-1].swapaxes(0, 1),
    }  # fmt: skip
    assert (stored.width, stored.height) == (16, 12)
    assert np.array_equal(frame.pixels, shown[orientation](stored.pixels))
    assert (frame.height, frame.width) == frame.pixels.shape[:2]
    for upright, size in ((True, (frame.width, frame.height)), (False, (16, 12))):
        name = f"bird/0001/001/1.{suffix}"
        assert image_sizes(tmp_path, [name], upright)[name] == size


def test_an_exif_tag_that_cannot_be_read_turns_nothing(tmp_path, folder):
    Image.fromarray(NOISE).save(folder / "1.jpg", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff", quality=95)
    assert read(tmp_path, "1.jpg").pixels.shape == (12, 16, 3)


def test_a_frame_is_squashed_whatever_its_aspect_and_keeps_its_size_on_record(tmp_path, folder):
    Image.fromarray(NOISE).save(folder / "1.png")
    frame = read(tmp_path, "1.png", size=8)
    assert frame.pixels.shape == (8, 8, 3)
    assert (frame.width, frame.height) == (16, 12)


def test_squashing_averages_fine_detail_away(tmp_path, folder):
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255
    Image.fromarray(board.astype(np.uint8)).save(folder / "1.png")
    inner = read(tmp_path, "1.png", size=8).pixels[1:-1, 1:-1].astype(int)
    assert np.abs(inner - 127.5).max() <= 4


def test_a_reader_can_be_carried_to_a_worker(tmp_path):
    assert pickle.loads(pickle.dumps(ImageFrames(tmp_path))) == ImageFrames(tmp_path)


def photograph_bytes(folder: Path, suffix: str) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / f"whole{suffix}")
    return (folder / f"whole{suffix}").read_bytes()


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty file"), (b"no image at all", "not an image"), (b"\xff\xd8\xff", "not an image")],
)
def test_a_file_that_is_no_image_is_named_with_the_reason(tmp_path, folder, content, reason):
    (folder / "1.jpg").write_bytes(content)
    with pytest.raises(FrameError) as caught:
        read(tmp_path, "1.jpg")
    assert caught.value.offenders == (f"bird/0001/001/1.jpg: {reason}",)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_frame_is_named_as_such(tmp_path, folder, suffix, share):
    whole = photograph_bytes(tmp_path, suffix)
    (folder / f"1{suffix}").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(FrameError) as caught:
        read(tmp_path, f"1{suffix}", size=8)
    assert caught.value.offenders == (f"bird/0001/001/1{suffix}: truncated",)


def test_any_cut_of_a_png_is_a_named_error(tmp_path, folder):
    whole = photograph_bytes(tmp_path, ".png")
    for length in range(120):
        (folder / "1.png").write_bytes(whole[:length])
        with pytest.raises(FrameError, match=r"bird/0001/001/1\.png"):
            read(tmp_path, "1.png")


def test_a_damaged_frame_is_named(tmp_path, folder):
    whole = bytearray(photograph_bytes(tmp_path, ".png"))
    whole[200:300] = bytes(100)
    (folder / "1.png").write_bytes(whole)
    with pytest.raises(FrameError, match=r"bird/0001/001/1\.png: damaged"):
        read(tmp_path, "1.png")


def test_a_missing_frame_is_named(tmp_path, folder):
    with pytest.raises(FrameError, match=r"bird/0001/001/1\.jpg: missing"):
        read(tmp_path, "1.jpg")


def test_a_folder_in_place_of_a_frame_is_named(tmp_path, folder):
    (folder / "1.jpg").mkdir()
    with pytest.raises(FrameError, match=r"1\.jpg: cannot be opened \(Is a directory\)"):
        read(tmp_path, "1.jpg")


def test_large_frames_are_read_without_a_warning_and_huge_ones_refused(tmp_path, folder, monkeypatch):
    Image.fromarray(NOISE).save(folder / "1.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 150)
    assert read(tmp_path, "1.png").pixels.shape == (12, 16, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    with pytest.raises(FrameError, match="too large"):
        read(tmp_path, "1.png")


def test_sizes_come_from_headers_alone(tmp_path, monkeypatch):
    whole = photograph_bytes(tmp_path, ".jpg")
    (tmp_path / "cut.jpg").write_bytes(whole[:1000])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 9000)
    sizes = image_sizes(tmp_path, ["whole.jpg", "cut.jpg", "absent.jpg"])
    assert sizes["whole.jpg"] == sizes["cut.jpg"] == (100, 100)
    assert sizes["absent.jpg"].offenders == ("absent.jpg: missing",)
