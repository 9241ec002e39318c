"""One shot of the demo set: a cut-out that moves over a panned photograph, partly behind a post."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from tcam_cache.datasets.demo.motion import Track, fixed_track, object_track, pan_path
from tcam_cache.records import Box

FRAME = (240, 180)
LEAST_VISIBLE = 0.6
_POST_CHANCE = 0.4
_POST_TRIES = 8
_SOLID = 128
_MIRROR = Image.Transpose.FLIP_LEFT_RIGHT


@dataclass(frozen=True)
class Look:
    """The simulated camera's settings for one video.

    Attributes:
        mirrored: whether the object faces the other way.
        gains: factors on R, G and B.
        contrast: factor around mid-grey.
        brightness: added, in grey levels.
        blur: standard deviation of the lens's blur, in pixels.
    """

    mirrored: bool
    gains: tuple[float, ...]
    contrast: float
    brightness: float
    blur: float


class Props(NamedTuple):
    """The images that a shot is composed of.

    Attributes:
        cutout: RGBA, the tagged object.
        ground: RGB, the background.
        post: RGB, the material of the post that hides a part of the object in some shots.
        distractors: RGBA, untagged objects on the background.
    """

    cutout: Image.Image
    ground: Image.Image
    post: Image.Image
    distractors: Sequence[Image.Image]


class SceneFrame(NamedTuple):
    """A rendered frame.

    Attributes:
        image: RGB, FRAME pixels.
        box: tight around the object's visible pixels, after occlusion.
        visible: share of the object's pixels that are visible.
    """

    image: Image.Image
    box: Box
    visible: float


def draw_look(generator: np.random.Generator) -> Look:
    """Draw the look of one video; variation is moderate, so that few frames suffice to learn the tags."""
    return Look(
        mirrored=bool(generator.random() < 0.5),
        gains=tuple(generator.uniform(0.9, 1.1, 3).tolist()),
        contrast=float(generator.uniform(0.85, 1.15)),
        brightness=float(generator.uniform(-15, 15)),
        blur=float(generator.uniform(0.0, 0.8)),
    )


def render_shot(generator: np.random.Generator, look: Look, props: Props, length: int) -> list[SceneFrame]:
    """Compose the frames of one shot; the same generator state gives the same pixels.

    Args:
        generator: decides every motion.
        look: of the video.
        props: what is shown.
        length: number of frames T >= 2.
    """
    cutout = props.cutout.transpose(_MIRROR) if look.mirrored else props.cutout
    track = object_track(generator, cutout.size, FRAME, length)
    objects = _sprites(cutout, track)
    solid = np.array([_count(_mask(cutout))]) * track.scales**2
    wide = _enlarged(props.ground, generator.uniform(1.4, 2.0))
    pan = pan_path(generator, np.subtract(wide.size, FRAME), length)
    litter = [_litter(generator, thing, pan) for thing in props.distractors]
    posts = _posts(generator, props.post, pan, track, objects, solid)
    frames = []
    for t in range(length):
        picture = _window(wide, pan[t])
        for layer in (*(things[t] for things in litter), objects[t], posts[t]):
            picture.alpha_composite(layer)
        seen = _seen(objects[t], posts[t])
        image = _developed(picture.convert("RGB"), look)
        frames.append(SceneFrame(image, Box(*map(float, _bounds(seen))), _count(seen) / solid[t]))
    return frames


def _sprites(sprite: Image.Image, track: Track) -> list[Image.Image]:
    # Downscaled once with an antialiasing filter: the affine transform alone would alias.
    most = float(track.scales.max())
    small = sprite.resize([max(1, round(side * most)) for side in sprite.size], Image.Resampling.LANCZOS)
    ratio = np.array(small.size) / sprite.size
    layers = []
    for centre, scale, angle in zip(*track, strict=True):
        cos, sin = np.cos(angle), np.sin(angle)
        inverse = np.array([[cos, sin], [-sin, cos]]) / scale * ratio[:, None]
        shift = np.array(small.size) / 2 - inverse @ centre
        matrix = np.column_stack([inverse, shift]).ravel().tolist()
        layers.append(small.transform(FRAME, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC))
    return layers


def _enlarged(ground: Image.Image, zoom: float) -> Image.Image:
    factor = zoom * max(side / own for side, own in zip(FRAME, ground.size, strict=True))
    return ground.resize([round(side * factor) for side in ground.size], Image.Resampling.LANCZOS).convert(
        "RGBA"
    )


def _window(wide: Image.Image, offset: np.ndarray) -> Image.Image:
    x, y = offset.tolist()
    return wide.transform(FRAME, Image.Transform.AFFINE, (1, 0, x, 0, 1, y), Image.Resampling.BILINEAR)


def _litter(generator: np.random.Generator, thing: Image.Image, pan: np.ndarray) -> list[Image.Image]:
    scale = np.sqrt(generator.uniform(0.02, 0.07) * np.prod(FRAME) / np.prod(thing.size))
    centre, angle = generator.uniform(0, 1, 2) * FRAME, generator.uniform(-np.pi, np.pi)
    return _sprites(thing, fixed_track(centre, float(scale), angle, pan))


def _posts(
    generator: np.random.Generator,
    material: Image.Image,
    pan: np.ndarray,
    track: Track,
    objects: Sequence[Image.Image],
    solid: np.ndarray,
) -> list[Image.Image]:
    nothing = [Image.new("RGBA", FRAME)] * len(objects)
    if generator.random() >= _POST_CHANCE:
        return nothing
    middle = len(objects) // 2
    left, _, right, _ = _bounds(objects[middle])
    for _ in range(_POST_TRIES):
        width = generator.uniform(0.15, 0.3) * (right - left)
        post = material.resize((round(width), 3 * FRAME[1]), box=_strip(generator, material)).convert("RGBA")
        centre = track.centres[middle] + [generator.uniform(-0.4, 0.4) * (right - left), 0]
        layers = _sprites(post, fixed_track(centre, 1.0, generator.uniform(-0.25, 0.25), pan, parallax=1.3))
        seen = [_count(_seen(*pair)) for pair in zip(objects, layers, strict=True)]
        if np.min(seen / solid) >= LEAST_VISIBLE:
            return layers
    return nothing


def _strip(generator: np.random.Generator, material: Image.Image) -> tuple[float, float, float, float]:
    width = material.width / 12
    left = generator.uniform(0, material.width - width)
    return left, 0, left + width, material.height


def _mask(layer: Image.Image) -> Image.Image:
    return layer.getchannel("A").point([255 * (alpha >= _SOLID) for alpha in range(256)])


def _bounds(layer: Image.Image) -> tuple[int, int, int, int]:
    """Return the bounding box of the visible pixels of a layer that has some."""
    return layer.getbbox() or (0, 0, 0, 0)


def _seen(thing: Image.Image, hider: Image.Image) -> Image.Image:
    return ImageChops.subtract(_mask(thing), _mask(hider))


def _count(mask: Image.Image) -> int:
    return mask.histogram()[255]


def _developed(image: Image.Image, look: Look) -> Image.Image:
    levels = (np.arange(256) - 128) * look.contrast + 128 + look.brightness
    curves = np.concatenate([levels * gain for gain in look.gains]).clip(0, 255).round().astype(int)
    return image.point(curves.tolist()).filter(ImageFilter.GaussianBlur(look.blur))
