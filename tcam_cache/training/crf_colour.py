"""Dense CRF losses over the colours of all frames of a clip, of fixed and of adaptive strength (CoLo-CAM)."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from tcam_cache.devices import on_device
from tcam_cache.training.crf import PAPER_SIZE, SIGMA_RGB, jittered_grid, pair_sums


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

    S_cr holds the k_c H W pixels of all frames of clip c, so that each frame is paired with all k_c frames of
    its clip; 1/k_c makes it a mean over them. The term does not change if a clip repeats its frames, or with
    the image size; for clips of one frame it is `crf_loss` without the x and y features.

    Args:
        softmax: (B, 2, H, W) maps of background and foreground; float64 is honoured, all else is float32.
        rgb: (B, 3, H, W) frames, un-normalised, 0..255, under the maps' crops; no gradient flows to them.
        clips: (B,) int64 on the CPU, equal for neighbours in the batch that are frames of one clip.
        weight: lambda at 224 x 224.
        generator: on the CPU; moves the landmarks, which all clips of one length share.
        landmarks: about how many pixels approximate W, spread evenly over a clip's frames, a grid in each.
        gain: upstream's lattice filter returns this share of W; 1 is exact.
        sigma_rgb: bandwidth in grey levels.

    >>> options = {"weight": 224.0**-4, "gain": 1.0, "landmarks": 2, "generator": torch.Generator()}
    >>> S = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).view(2, 2, 1, 1)  # two frames of one black pixel
    >>> for maps in (S, S[[0, 0]]):  # with unlike labels, and with one
    ...     loss = colour_crf_loss(maps, torch.zeros(2, 3, 1, 1), torch.tensor([7, 7]), **options)
    ...     f"{loss.item():.1f}"
    '-0.5'
    '-1.0'
    """
    height, width = softmax.shape[-2:]
    strength = weight * gain * (PAPER_SIZE / math.sqrt(height * width)) ** 4
    clip_sums = _clip_sums(softmax, rgb, clips, generator, landmarks, sigma_rgb, shortest=1)
    return -strength * _total([sums.sum() / length for length, sums in clip_sums], softmax) / len(clips)


def adaptive_colour_crf_loss(
    softmax: Tensor,
    rgb: Tensor,
    clips: Tensor,
    *,
    weight: float,
    generator: torch.Generator,
    landmarks: int,
    sigma_rgb: float = SIGMA_RGB,
) -> Tensor:
    """Return the mean over clips of weight R_c / |R_c|, R_c = -sum_r S_cr^T W_c S_cr, |R_c| as a constant.

    After CoLo-CAM (Belharbi et al. 2025). The value is -weight whatever the maps are; what they learn from is
    the gradient, weight / |R_c| times that of R_c: of one strength for clips of any length, size and colours,
    and for any `gain`. Clips of one frame are left out; a batch of such clips alone gives 0.

    Args:
        softmax: see `colour_crf_loss`.
        rgb: see `colour_crf_loss`.
        clips: see `colour_crf_loss`.
        weight: lambda_c, published as 4 and as 9.
        generator: see `colour_crf_loss`.
        landmarks: see `colour_crf_loss`.
        sigma_rgb: bandwidth in grey levels.

    >>> S = torch.full((2, 2, 1, 1), 0.5, requires_grad=True)  # two frames of one black pixel
    >>> options = {"weight": 4.0, "landmarks": 2, "generator": torch.Generator()}
    >>> loss = adaptive_colour_crf_loss(S, torch.zeros(2, 3, 1, 1), torch.tensor([7, 7]), **options)
    >>> loss.backward()
    >>> loss.item(), [f"{slope:.2f}" for slope in S.grad.flatten()]
    (-4.0, ['-4.00', '-4.00', '-4.00', '-4.00'])
    """
    clip_sums = list(_clip_sums(softmax, rgb, clips, generator, landmarks, sigma_rgb, shortest=2))
    signs = [sums / sums.detach().abs().clamp(min=torch.finfo(sums.dtype).tiny) for _, sums in clip_sums]
    return -weight * _total([one.sum() for one in signs], softmax) / max(1, sum(map(len, signs)))


def clips_of_several(clips: Tensor) -> Tensor:
    """Return how many clips have two frames or more, a () int64.

    >>> clips_of_several(torch.tensor([7, 7, 5, 3, 3, 3])).item()
    2
    """
    return (torch.unique_consecutive(clips, return_counts=True)[1] > 1).sum()


def _total(parts: list[Tensor], like: Tensor) -> Tensor:
    return torch.stack(parts).sum() if parts else like.new_zeros(())


def _clip_sums(
    softmax: Tensor,
    rgb: Tensor,
    clips: Tensor,
    generator: torch.Generator,
    landmarks: int,
    sigma_rgb: float,
    shortest: int,
) -> Iterator[tuple[int, Tensor]]:
    """Yield each clip length of at least `shortest`, with the pair sums of such clips."""
    height, width = softmax.shape[-2:]
    precision = torch.promote_types(softmax.dtype, torch.float32)
    stream = generator.get_state()
    with torch.autocast(softmax.device.type, enabled=False):
        softmax, colours = softmax.to(precision), (rgb.to(precision) - 127.5) / sigma_rgb
        for length, frames in _clips_by_length(clips):
            if length < shortest:
                continue
            # Landmarks do not depend on the rest of the batch, of which each rank has only its share.
            generator.set_state(stream)
            grids = on_device(_clip_landmarks(height, width, length, landmarks, generator), softmax.device)
            places = on_device(frames, softmax.device)
            maps, points = (_joined(one, places, length) for one in (softmax, colours))
            yield length, pair_sums(maps, points, grids)


def _clips_by_length(clips: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yield every clip length, with the batch indices of the frames of such clips, clip by clip."""
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
