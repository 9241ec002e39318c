"""Colour CRF: pixels of one colour get one label in all frames of a clip (CoLo-CAM, Belharbi et al. 2023).

An object moves from frame to frame but keeps its colours, so that affinities know no place: W_pq =
exp(-|rgb_p - rgb_q|^2 / (2 sigma^2)) over all pairs of pixels of all frames of a clip, joined.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from tcam_cache.training.crf import PAPER_SIZE, SIGMA_RGB, dense_crf, jittered_grid
from tcam_cache.training.transfer import on_device


def colour_crf_loss(
    softmax: Tensor,
    rgb: Tensor,
    clips: Tensor,
    *,
    weight: float,
    generator: torch.Generator,
    landmarks: int,
    gain: float,
    sigma_rgb: float = SIGMA_RGB,
) -> Tensor:
    """Return -weight gain (224/s)^4 sum_c (1/k_c) sum_r S_cr^T W_c S_cr / B, s = sqrt(H W).

    S_cr holds the k_c H W pixels of all frames of clip c, so that a frame meets all k_c of them: the term is
    the mean over frames of what one has in common with one of its clip. It stays what it is in a clip that
    repeats its frames, or in a larger image; in clips of one frame it is `crf_loss` without places.

    Args:
        softmax: (B, 2, H, W) maps of background and foreground; float64 is honoured, all else is float32.
        rgb: (B, 3, H, W) frames, un-normalised, 0..255, those of a clip under one crop; they get no gradient.
        clips: (B,) int64 on the CPU, equal for neighbours in the batch that are frames of one clip.
        weight: lambda at 224 x 224.
        generator: on the CPU; moves the landmarks, which all clips of one length share.
        landmarks: about how many pixels approximate W, spread evenly over a clip's frames, a grid in each.
        gain: upstream's lattice filter returns this share of W; 1 is exact.
        sigma_rgb: bandwidth in grey levels.

    >>> given = {"weight": 224.0**-4, "gain": 1.0, "landmarks": 2, "generator": torch.Generator()}
    >>> S = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).view(2, 2, 1, 1)  # two frames of one black pixel
    >>> for maps in (S, S[[0, 0]]):  # with unlike labels, and with one
    ...     loss = colour_crf_loss(maps, torch.zeros(2, 3, 1, 1), torch.tensor([7, 7]), **given)
    ...     f"{loss.item():.1f}"
    '-0.5'
    '-1.0'
    """
    height, width = softmax.shape[-2:]
    strength = weight * gain * (PAPER_SIZE / math.sqrt(height * width)) ** 4
    precision = torch.promote_types(softmax.dtype, torch.float32)
    stream, total = generator.get_state(), softmax.new_zeros((), dtype=precision)
    with torch.autocast(softmax.device.type, enabled=False):
        softmax, colours = softmax.to(precision), (rgb.to(precision) - 127.5) / sigma_rgb
        for length, frames in _clips_by_length(clips):
            # Landmarks do not depend on what else is in the batch, of which each process has only its share.
            generator.set_state(stream)
            grids = _clip_landmarks(height, width, length, landmarks, generator)
            places = on_device(frames, softmax.device)
            joined = (_joined(maps, places, length) for maps in (softmax, colours))
            share = len(frames) / len(clips)
            grids = on_device(grids, softmax.device)
            total = total + dense_crf(*joined, grids, strength * share / length**2)
    return total


def _clips_by_length(clips: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yield every length that clips have, and the places of their frames in the batch, clip by clip."""
    _, lengths = torch.unique_consecutive(clips, return_counts=True)
    begins = lengths.cumsum(0) - lengths
    for length in lengths.unique().tolist():
        yield length, (begins[lengths == length, None] + torch.arange(length)).flatten()


def _clip_landmarks(
    height: int, width: int, length: int, landmarks: int, generator: torch.Generator
) -> Tensor:
    each = max(1, landmarks // length)
    return torch.cat(
        [t * height * width + jittered_grid(height, width, each, generator) for t in range(length)]
    )


def _joined(maps: Tensor, frames: Tensor, length: int) -> Tensor:
    """Return (clips, C, length H W): the pixels of the frames of each clip, one frame after another."""
    return maps.index_select(0, frames).unflatten(0, (-1, length)).transpose(1, 2).flatten(2)
