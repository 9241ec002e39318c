import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data
from skimage.transform import resize

from tcam_cache.training.align import COMPARED_SIZE, align_maps
from tcam_cache.window import cam_tmp

PHOTO = (255 * resize(data.astronaut(), (192, 192), anti_aliasing=True)).astype(np.uint8)


def view(dy, dx, size=COMPARED_SIZE):
    """Return what a camera sees that has moved by (dy, dx) pixels over the photograph."""
    return PHOTO[64 + dy : 64 + dy + size, 64 + dx : 64 + dx + size]


def blob(y, x, side=16, width=1.5):
    rows, columns = np.mgrid[:side, :side]
    return np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * width**2)).astype(np.float32)


@settings(max_examples=30)
@given(st.integers(-3, 3), st.integers(-3, 3), st.integers(0, 1))
def test_a_map_follows_its_camera(down, right, reference):
    # The camera moves by whole pixels of the map, which are four of the frame; the object stays in the scene.
    frames = [view(0, 0), view(4 * down, 4 * right)]
    maps = np.stack([blob(8, 8), blob(8 - down, 8 - right)])
    aligned = align_maps(maps, frames, reference)
    np.testing.assert_allclose(aligned, np.stack([maps[reference]] * 2), atol=0.12)
    assert np.array_equal(aligned[reference], maps[reference])


def test_the_maximum_of_a_moving_camera_no_longer_smears():
    frames = [view(0, 4 * step) for step in range(5)]
    maps = np.stack([blob(8, 12 - step) for step in range(5)])
    smeared, aligned = cam_tmp(maps), cam_tmp(align_maps(maps, frames, 4))
    area = [(one > 0.5).sum() for one in (maps[4], smeared, aligned)]
    assert area[1] > 1.8 * area[0]
    assert area[2] < 1.3 * area[0]


def test_what_comes_in_from_outside_is_nothing():
    aligned = align_maps(np.ones((2, 16, 16)), [view(0, 0), view(0, 8)], 0)
    assert aligned[1, :, :2].max() == 0
    assert aligned[1, :, 3:].min() == 1


@pytest.mark.parametrize("other", [view(0, 0), np.full_like(view(0, 0), 9)], ids=["the same", "a blank"])
def test_without_motion_or_texture_maps_stay(other):
    maps = np.random.default_rng(0).random((2, 16, 16)).astype(np.float32)
    assert np.array_equal(align_maps(maps, [view(0, 0), other], 0), maps)
    assert np.array_equal(align_maps(maps, [other, view(0, 0)], 0), maps)
