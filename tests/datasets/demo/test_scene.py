import numpy as np
import pytest
from PIL import Image, ImageDraw

from tcam_cache.datasets.demo.scene import FRAME, LEAST_VISIBLE, Look, Props, draw_look, render_shot

NEUTRAL = Look(mirrored=False, gains=(1.0, 1.0, 1.0), contrast=1.0, brightness=0.0, blur=0.0)
SEEDS = range(12)


def green_ellipse(size=(200, 150)):
    sprite = Image.new("RGBA", size)
    ImageDraw.Draw(sprite).ellipse((0, 0, size[0] - 1, size[1] - 1), fill=(0, 255, 0, 255))
    return sprite


def props(cutout=None, distractors=()):
    black = Image.new("RGB", (400, 400))
    return Props(cutout or green_ellipse(), black, black, list(distractors))


def render(seed, look=NEUTRAL, length=8, **given):
    return render_shot(np.random.default_rng(seed), look, props(**given), length)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_box_is_tight_around_what_is_seen_of_the_object(seed):
    for frame in render(seed):
        rows, columns = np.nonzero(np.asarray(frame.image)[..., 1] >= 128)
        assert frame.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_visible_share_is_that_of_its_pixels_and_never_small(seed):
    for frame in render(seed):
        assert LEAST_VISIBLE <= frame.visible <= 1.03


def test_posts_hide_a_part_of_some_objects_but_not_of_all():
    least = [min(frame.visible for frame in render(seed)) for seed in range(30)]
    assert sum(share < 0.9 for share in least) >= 5
    assert sum(share > 0.95 for share in least) >= 10


def test_distractors_change_no_box():
    thing = Image.new("RGBA", (80, 80), (255, 0, 0, 255))
    frames = render(3, distractors=[thing])
    assert any((np.asarray(frame.image)[..., 0] > 128).any() for frame in frames)
    for frame in frames:
        rows, columns = np.nonzero(np.asarray(frame.image)[..., 1] >= 128)
        assert frame.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def test_a_mirrored_look_mirrors_the_object():
    sprite = Image.new("RGBA", (200, 200), (0, 255, 0, 255))
    sprite.paste((255, 0, 0, 255), (0, 0, 100, 200))
    looks = NEUTRAL, Look(True, (1.0, 1.0, 1.0), 1.0, 0.0, 0.0)
    sides = []
    for look in looks:
        pixels = np.asarray(render(0, look, cutout=sprite)[0].image)
        sides.append(np.nonzero(pixels[..., 0] > 128)[1].mean() < np.nonzero(pixels[..., 1] > 128)[1].mean())
    assert sides == [True, False]


def test_a_look_changes_pixels_but_no_box():
    plain, graded = render(1), render(1, Look(False, (1.1, 0.8, 0.9), 0.9, 12.0, 0.7))
    assert [frame.box for frame in plain] == [frame.box for frame in graded]
    assert not np.array_equal(np.asarray(plain[0].image), np.asarray(graded[0].image))


def test_contrast_brightness_and_gains_are_applied_in_that_order():
    look = Look(False, (1.0, 0.5, 1.0), 0.5, 10.0, 0.0)
    corner = np.asarray(render(0, look)[0].image).reshape(-1, 3).min(axis=0)
    assert corner.tolist() == [74, 37, 74]


def test_the_same_generator_renders_the_same_pixels():
    first, again = render(5), render(5)
    assert all(
        a.image.tobytes() == b.image.tobytes() and a.box == b.box for a, b in zip(first, again, strict=True)
    )
    assert first[0].image.size == FRAME
    assert first[0].image.tobytes() != render(6)[0].image.tobytes()


def test_looks_are_moderate():
    looks = [draw_look(np.random.default_rng(seed)) for seed in range(50)]
    assert {look.mirrored for look in looks} == {True, False}
    assert all(0.9 <= gain <= 1.1 for look in looks for gain in look.gains)
