"""Pictures, checked pixel by pixel."""

import numpy as np
import pytest
from PIL import Image

from tcam_cache.errors import ConfigError, StorageError
from tcam_cache.evaluation import Panel, draw_panel
from tcam_cache.evaluation.report.pictures import (
    PREDICTED_COLOUR,
    TRUE_COLOUR,
    contact_sheet,
    draw_boxes,
    faded,
    jet,
    justified_rows,
    label,
    overlay_cam,
    resize_map,
    save_image,
    scale,
    scale_to_width,
)
from tcam_cache.records import Box

GREY = np.full((40, 60, 3), 120, np.uint8)


def test_jet_runs_from_blue_over_green_to_red():
    blue, green, red = jet(np.array([[0.1, 0.5, 0.9]]))[0].astype(int)
    assert blue.argmax() == 2 and green.argmax() == 1 and red.argmax() == 0


def test_maps_are_resized_between_pixel_centres():
    np.testing.assert_allclose(resize_map(np.array([[0.0, 1.0]]), 4, 1), [[0, 0.25, 0.75, 1]])


def test_a_map_of_zeros_leaves_the_frame_as_it_is_and_the_strongest_pixel_is_tinted_most():
    assert np.array_equal(overlay_cam(GREY, np.zeros((7, 7))), GREY)
    cam = np.zeros((5, 5))
    cam[2, 2] = 1
    change = np.abs(overlay_cam(GREY, cam).astype(int) - GREY).sum(axis=2)
    assert np.unravel_index(change.argmax(), change.shape) == pytest.approx((20, 30), abs=2)
    assert not change[0].any()


def test_a_box_is_drawn_inside_its_exclusive_borders():
    drawn = draw_boxes(GREY, [(10, 5, 30, 25)], (1, 2, 3), width=2)
    touched = np.argwhere((drawn != GREY).any(axis=2))
    assert touched.min(axis=0).tolist() == [5, 10] and touched.max(axis=0).tolist() == [24, 29]
    assert drawn[5, 10].tolist() == [1, 2, 3] and drawn[15, 20].tolist() == [120, 120, 120]


def test_drawing_changes_no_input():
    pixels = GREY.copy()
    draw_boxes(pixels, [(0, 0, 5, 5)])
    overlay_cam(pixels, np.ones((2, 2)))
    label(pixels, "text")
    assert np.array_equal(pixels, GREY)


def test_a_label_adds_a_strip_above_and_cuts_long_text_to_its_width():
    short, long = label(GREY, "a"), label(GREY, "a" * 500)
    assert short.shape == long.shape == (62, 60, 3)
    assert np.array_equal(short[22:], GREY)
    assert (short[:22] < 100).any() and (long[:22, -4:] == 255).all()


def test_a_contact_sheet_keeps_the_order_and_the_pixels_of_its_tiles():
    tiles = [np.full((4, 6, 3), value, np.uint8) for value in (10, 20, 30)]
    sheet = contact_sheet(tiles, columns=2, gap=2)
    assert sheet.shape == (10, 14, 3)
    assert (sheet[:4, :6] == 10).all() and (sheet[:4, 8:] == 20).all() and (sheet[6:, :6] == 30).all()
    assert (sheet[6:, 8:] == 255).all() and (sheet[4:6] == 255).all()


def test_rows_have_no_holes_beside_a_portrait_and_keep_every_shape():
    wide, tall = np.full((20, 40, 3), 10, np.uint8), np.full((40, 20, 3), 20, np.uint8)
    sheet = justified_rows([(wide, ""), (tall, ""), (wide, "")], columns=2, width=50, gap=2)
    # Of 100 pixels the wide one has 80, the tall one 20: both are 40 high.
    assert sheet.shape == (62 + 2 + 47, 102, 3)
    assert (sheet[22:62, :80] == 10).all() and (sheet[22:62, 82:] == 20).all()
    assert (sheet[86:111, :50] == 10).all() and (sheet[64:, 50:] == 255).all()


def test_scaling_keeps_the_shape():
    assert scale_to_width(GREY, 30).shape == (20, 30, 3)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.JPEG"])
def test_a_picture_is_saved_as_its_suffix_says(tmp_path, name):
    save_image(tmp_path / "folder" / name, GREY)
    with Image.open(tmp_path / "folder" / name) as image:
        assert image.format == ("PNG" if name == "a.png" else "JPEG") and image.size == (60, 40)


@pytest.mark.parametrize("name", ["a.webp", "a"])
def test_a_picture_of_another_suffix_is_refused_and_not_written_as_something_else(tmp_path, name):
    with pytest.raises(ConfigError, match=rf"got the picture \S+{name}; .*\.png or \.jpg or \.jpeg"):
        save_image(tmp_path / name, GREY)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_a_storage_error_and_leaves_nothing(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(StorageError, match="full"):
        save_image(tmp_path / "a.png", GREY)
    assert not list(tmp_path.iterdir())


def make_panel(**given):
    fields = {
        "path": "bird/1/1/a.jpg", "tag": "bird", "pixels": GREY, "width": 120,
        "cam": np.zeros((3, 3)), "temporal": None, "decoder": None,
        "true_boxes": (Box(20, 20, 60, 60),), "predicted_box": Box(60, 20, 110, 60), "iou": 0.0, "hit": False,
    }  # fmt: skip
    return Panel(**{**fields, **given})


def colours(picture):
    return {tuple(pixel) for pixel in picture.reshape(-1, 3).tolist()}


@pytest.mark.parametrize("absent", [(), ("cam",), ("temporal", "decoder"), ("cam", "temporal", "decoder")])
def test_a_panel_has_a_tile_for_the_frame_and_for_each_map_there_is(absent):
    maps = {"cam": np.ones((3, 3)), "temporal": np.ones((3, 3)), "decoder": np.ones((9, 9))}
    picture = draw_panel(make_panel(**{**maps, **dict.fromkeys(absent)}), tile_width=60)
    tiles = 4 - len(absent)
    assert picture.shape == (62, tiles * 66 - 6, 3)


def test_boxes_of_the_original_frame_are_drawn_to_scale_in_their_colours():
    frame = draw_panel(make_panel(cam=None), tile_width=60)[22:]
    assert frame[10, 10].tolist() == list(TRUE_COLOUR) and frame[10, 54].tolist() == list(PREDICTED_COLOUR)


def test_both_boxes_are_drawn_on_the_frame_and_on_the_scored_map_only():
    picture = draw_panel(make_panel(temporal=np.zeros((3, 3)), decoder=np.zeros((3, 3))), tile_width=60)
    marked = [TRUE_COLOUR in colours(picture[:, x : x + 60]) for x in (0, 66, 132, 198)]
    assert marked == [True, False, False, True]


def test_a_missing_prediction_leaves_the_true_box_alone():
    found = colours(draw_panel(make_panel(predicted_box=None), tile_width=60))
    assert TRUE_COLOUR in found and PREDICTED_COLOUR not in found


def test_a_picture_is_scaled_to_any_shape():
    assert scale(GREY, 10, 50).shape == (50, 10, 3)


def test_a_faded_picture_is_pale_and_grey_and_keeps_what_is_brighter():
    pixels = np.array([[[0, 0, 0], [255, 0, 0], [255, 255, 255]]], np.uint8)
    assert faded(pixels).tolist() == [[[127] * 3, [170] * 3, [254] * 3]]


@pytest.mark.parametrize("letter", ["Ü", "é", "Ж", "λ"])
def test_letters_beyond_ascii_are_drawn_and_not_the_box_of_an_unknown_one(letter):
    blank = np.full((10, 60, 3), 255, np.uint8)
    assert not np.array_equal(label(blank, letter), label(blank, chr(0x10FFFD)))
