"""Smooth motion for the demo set: of objects, mostly off-centre, and of a panning camera."""

from typing import NamedTuple

import numpy as np

# Share of the frame that an object's box takes in the middle of a shot, before it is cut to fit.
AREA = (0.16, 0.5)
_MOST_OF_A_SIDE = 0.86
_MOST_ENLARGED = 2.0
_OVERHANG = 0.03
# Maximum camera motion within a shot, in pixels along each axis.
_FASTEST_PAN = 90.0


class Track(NamedTuple):
    """Where a sprite is in each of T frames.

    Attributes:
        centres: (T, 2) x, y in pixels of the frame.
        scales: (T,) factor on the sprite's size.
        angles: (T,) in radians, clockwise on the screen.
    """

    centres: np.ndarray
    scales: np.ndarray
    angles: np.ndarray


def object_track(
    generator: np.random.Generator, sprite: tuple[int, int], frame: tuple[int, int], length: int
) -> Track:
    """Draw an object's track through a shot: along the frame's border, with changing scale and angle.

    Args:
        generator: of all random draws.
        sprite: width and height of the object's picture, in pixels.
        frame: width and height of the frame, in pixels.
        length: number of frames T >= 2.
    """
    time = np.linspace(-0.5, 0.5, length)
    angles = generator.uniform(-0.35, 0.35) + generator.uniform(-0.3, 0.3) * time
    unscaled = _boxes(np.array(sprite, float), angles)
    area = np.exp(generator.uniform(*np.log(AREA)))
    scale = min(
        np.sqrt(area * np.prod(frame) / np.prod(unscaled.mean(axis=0))),
        *(_MOST_OF_A_SIDE * np.array(frame) / unscaled.max(axis=0)),
        _MOST_ENLARGED,
    )
    scales = scale * generator.uniform(0.8, 1.25) ** time
    slack = np.maximum(0, (frame - unscaled * scales[:, None]) / 2) + _OVERHANG * np.array(frame)
    bearing = generator.uniform(0, 2 * np.pi) + generator.choice([-1, 1]) * generator.uniform(0.5, 1.3) * time
    # tanh moves the circle of bearings outwards, into the frame's corners.
    rim = np.tanh(1.8 * np.stack([np.cos(bearing), np.sin(bearing)], axis=1)) / np.tanh(1.8)
    centres = np.array(frame) / 2 + slack * rim * generator.uniform(0.75, 1.0)
    return Track(centres, scales, angles)


def pan_path(generator: np.random.Generator, slack: np.ndarray, length: int) -> np.ndarray:
    """Return random camera positions: (T, 2) offsets into a background `slack` larger than the frame."""
    start = generator.uniform(0, 1, 2) * slack
    stop = np.clip(start + generator.uniform(-_FASTEST_PAN, _FASTEST_PAN, 2), 0, slack)
    ease = (1 - np.cos(np.linspace(0, np.pi, length))) / 2
    return start + (stop - start) * ease[:, None]


def fixed_track(
    centre: np.ndarray, scale: float, angle: float, pan: np.ndarray, parallax: float = 1.0
) -> Track:
    """Return the track of a static object while the camera pans.

    Args:
        centre: (2,) its position in the middle of the shot, in pixels of the frame.
        scale: factor on its sprite's size.
        angle: in radians.
        pan: (T, 2) the camera's offsets.
        parallax: above 1 for objects nearer than the background.
    """
    length = len(pan)
    centres = centre - parallax * (pan - pan[length // 2])
    return Track(centres, np.full(length, scale), np.full(length, angle))


def _boxes(size: np.ndarray, angles: np.ndarray) -> np.ndarray:
    # (T, 2) width and height of the upright box around a turned rectangle.
    cos, sin = np.abs(np.cos(angles)), np.abs(np.sin(angles))
    return np.stack([size[0] * cos + size[1] * sin, size[0] * sin + size[1] * cos], axis=1)
