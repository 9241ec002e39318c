"""Tests of picture files: formats, frames of those that move, depths, and files that end too early."""

import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tcam_cache.config import ManifestConfig
from tcam_cache.datasets import (
    ImageFrames,
    VideoFrames,
    data_depth,
    frame_source,
    frame_times,
    image_names,
    is_moving,
    read_manifest,
)
from tcam_cache.datasets.picture_files import as_rgb, file_and_frame, frame_count, frame_names, used_bits
from tcam_cache.errors import FrameError
from tcam_cache.records import Shot
from tcam_cache.stages.manifest import index_dataset

COLOURS = [(200, 30, 40), (20, 180, 60), (30, 40, 220)]


def pictures(count=3, size=(32, 24)):
    return [Image.new("RGB", size, COLOURS[number % 3]) for number in range(count)]


def save_moving(path, count=3):
    first, *others = pictures(count)
    options = {"lossless": True} if path.suffix == ".webp" else {}
    first.save(path, save_all=True, append_images=others, duration=80, **options)
    return path


def shot_of(folder, *frames):
    return Shot("new", "", "new", "test", folder, tuple(frames))


@pytest.mark.parametrize(
    "suffix",
    [
        ".jpg",
        ".jpeg",
        ".jfif",
        ".JPE",
        ".png",
        ".webp",
        ".bmp",
        ".tif",
        ".TIFF",
        ".gif",
        ".ppm",
        ".tga",
        ".jp2",
    ],
)
def test_every_format_that_pillow_opens_is_a_frame(tmp_path, suffix):
    kind = {".JPE": "JPEG", ".jfif": "JPEG", ".TIFF": "TIFF"}.get(suffix)
    pictures(1)[0].save(tmp_path / f"a{suffix}", kind)
    assert image_names(tmp_path) == (f"a{suffix}",)
    pixels = ImageFrames(tmp_path).read(shot_of(".", f"a{suffix}"), 0).pixels
    assert np.abs(pixels.astype(int) - COLOURS[0]).max() <= 6


def test_what_is_no_picture_is_left_out_counted_and_said(tmp_path, caplog):
    pictures(1)[0].save(tmp_path / "a.jpg")
    for name in ("a.pdf", "a.heic", "notes.txt"):
        (tmp_path / name).write_bytes(b"data")
    assert image_names(tmp_path) == ("a.jpg",)
    assert "3 file(s)" in caplog.text and "left out" in caplog.text


@pytest.mark.parametrize("name", ["clip.gif", "clip.webp", "clip.png", "clip.tif"])
def test_a_picture_that_moves_has_all_its_frames_in_order(tmp_path, name):
    path = save_moving(tmp_path / name, 5)
    names = frame_names(tmp_path, [name])
    assert frame_count(path) == 5 and names[4] == f"{name}#000004"
    for reader in (ImageFrames(tmp_path), ImageFrames(tmp_path, upright=False)):
        for t in (4, 0, 2):
            pixels = reader.read(shot_of(".", *names), t).pixels
            assert np.abs(pixels.astype(int) - COLOURS[t % 3]).max() <= 12
    assert reader.files(shot_of(".", *names)) == (tmp_path / name,)


def test_a_gif_of_parts_is_composed_as_a_viewer_shows_it(tmp_path):
    base = Image.new("P", (32, 24), 0)
    base.putpalette([10, 20, 30, 250, 240, 230] + [0] * 762)
    part = base.copy()
    part.paste(1, (8, 8, 16, 16))
    base.save(tmp_path / "a.gif", save_all=True, append_images=[part], disposal=1, duration=50)
    pixels = ImageFrames(tmp_path).read(shot_of(".", "a.gif#000001"), 0).pixels
    assert pixels[2, 2].tolist() == [10, 20, 30] and pixels[10, 10].tolist() == [250, 240, 230]


def test_still_ones_and_files_whose_names_hold_a_hash_are_themselves(tmp_path):
    for name in ("a.gif", "b.webp", "c.tif", "d.png", "e#000001.png"):
        pictures(1)[0].save(tmp_path / name)
    assert image_names(tmp_path) == ("a.gif", "b.webp", "c.tif", "d.png", "e#000001.png")
    ImageFrames(tmp_path).read(shot_of(".", "e#000001.png"), 0)
    assert file_and_frame("x/clip.gif#000012") == ("x/clip.gif", 12)


def test_a_moving_picture_alone_is_read_as_a_video_by_its_own_times(tmp_path):
    path = save_moving(tmp_path / "clip.webp", 4)
    assert is_moving(path) and not is_moving(tmp_path / "none.gif")
    names = frame_times(path)
    assert names == ("00000000ms", "00000080ms", "00000160ms", "00000240ms")
    source = VideoFrames(tmp_path)
    for t in (3, 0, 2):
        pixels = source.read(shot_of("clip.webp", *names), t).pixels
        assert np.abs(pixels.astype(int) - COLOURS[t % 3]).max() <= 12


@pytest.mark.parametrize("layout", ["folders", "videos"])
def test_a_data_set_of_moving_pictures_is_indexed_and_checked(tmp_path, layout):
    for tag in ("cat", "dog"):
        folder = tmp_path / "data" / tag / ("0001" if layout == "folders" else "")
        folder.mkdir(parents=True)
        save_moving(folder / "clip.gif")
    out = tmp_path / "m.jsonl"
    index_dataset(ManifestConfig(source=tmp_path / "data", layout=layout, out=out, workers=0, check=True))
    assert [len(shot) for shot in read_manifest(out).shots][:2] == [3, 3]


@pytest.mark.parametrize(("largest", "bits"), [(255, 8), (1000, 10), (3900, 12), (16000, 14), (65535, 16)])
def test_deep_grey_is_scaled_by_the_bits_it_uses(tmp_path, largest, bits):
    values = np.array([[0, largest // 2], [largest, 0]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    depth = data_depth(tmp_path, ["a.png"])
    pixels = ImageFrames(tmp_path, depth=depth).read(shot_of(".", "a.png"), 0).pixels[..., 0]
    with Image.open(tmp_path / "a.png") as image:
        assert used_bits(image) == bits
    assert depth == bits and np.abs(pixels - values * (255 / (2**bits - 1))).max() <= 0.51


def test_one_depth_holds_for_all_frames_of_a_data_set(tmp_path):
    folder = tmp_path / "data/cat/0001"
    folder.mkdir(parents=True)
    for name, largest in (("1.png", 900), ("2.png", 3900)):
        Image.fromarray(np.array([[0, 500], [largest, 0]], np.uint16)).save(folder / name)
    out = tmp_path / "m.jsonl"
    index_dataset(ManifestConfig(source=tmp_path / "data", layout="folders", out=out, workers=0))
    manifest = read_manifest(out)
    (shot,) = manifest.shots
    frames = [frame_source(manifest).read(shot, t).pixels[0, 1, 0] for t in range(2)]
    assert manifest.facts["depth"] == 12 and frames == [31, 31]
    whole = replace(
        manifest, facts={name: manifest.facts[name] for name in manifest.facts if name != "depth"}
    )
    assert whole.digest() != manifest.digest()
    assert frame_source(whole).read(shot, 0).pixels[0, 1, 0] == 2


def png_of(values, kind):
    """Return a PNG of 16 bits a channel, which Pillow does not write in colour."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, kind, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize(("channels", "kind"), [(3, 2), (4, 6), (2, 4)])
def test_twelve_bits_in_sixteen_of_colour_are_not_black(tmp_path, channels, kind):
    values = np.full((8, 8, channels), 300)
    values[:4] = 3900
    (tmp_path / "a.png").write_bytes(png_of(values, kind))
    depth = data_depth(tmp_path, ["a.png"])
    pixels = ImageFrames(tmp_path, depth=depth).read(shot_of(".", "a.png"), 0).pixels
    assert depth == 12 and pixels[0, 0, 0] > 240 and pixels[7, 7, 0] < 40


def test_a_film_is_known_behind_a_long_colour_profile(tmp_path):
    first, *others = pictures(3)
    profile = np.random.default_rng(0).bytes(9000)
    first.save(tmp_path / "a.png", save_all=True, append_images=others, icc_profile=profile)
    assert frame_count(tmp_path / "a.png") == 3


def test_floating_point_grey_keeps_its_contrast(tmp_path):
    Image.fromarray(np.array([[0, 0.5], [1, 0.25]], np.float32)).save(tmp_path / "share.tif")
    Image.fromarray(np.array([[0, 100], [200, 50]], np.float32)).save(tmp_path / "level.tif")
    source = ImageFrames(tmp_path)
    assert source.read(shot_of(".", "share.tif"), 0).pixels[..., 0].tolist() == [[0, 128], [255, 64]]
    assert source.read(shot_of(".", "level.tif"), 0).pixels[..., 0].tolist() == [[0, 100], [200, 50]]


def test_values_that_are_not_finite_are_a_named_fault(tmp_path):
    Image.fromarray(np.array([[0, np.nan]], np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(FrameError, match=r"a\.tif: damaged .values that are not finite"):
        ImageFrames(tmp_path).read(shot_of(".", "a.tif"), 0)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "HSV"])
def test_every_other_mode_is_eight_bits(mode):
    image = pictures(1)[0].convert(mode)
    assert used_bits(image) == 8 and as_rgb(image).mode == "RGB"


def zeroed(data):
    return data[: len(data) // 2] + bytes(len(data) - len(data) // 2)


def cut(data):
    return data[: len(data) // 2]


HALVES = [(name, damage) for name in ("a.jpg", "a.png", "a.gif", "a.webp") for damage in (cut, zeroed)]


# Zeros at the end of what is stored uncompressed are pixels like any other.
@pytest.mark.parametrize(("name", "damage"), [*HALVES, ("a.bmp", cut), ("a.tif", cut)])
def test_half_a_picture_is_a_named_fault(tmp_path, name, damage):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / name)
    (tmp_path / name).write_bytes(damage((tmp_path / name).read_bytes()))
    with pytest.raises(FrameError, match=name):
        ImageFrames(tmp_path).read(shot_of(".", name), 0)


def test_a_film_of_which_half_came_is_a_named_fault(tmp_path):
    path = save_moving(tmp_path / "a.gif", 6)
    path.write_bytes(cut(path.read_bytes()))
    with pytest.raises(FrameError, match=r"a\.gif"):
        frame_times(path)


def test_a_web_page_saved_as_a_picture_is_no_picture(tmp_path):
    (tmp_path / "a.jpg").write_text("<!doctype html><title>403</title>")
    with pytest.raises(FrameError, match=r"a\.jpg: not an image"):
        ImageFrames(tmp_path).read(shot_of(".", "a.jpg"), 0)
