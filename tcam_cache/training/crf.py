"""The dense CRF loss of a frame, and its filter by Nystroem (Tang et al. 2018; TCAM Eq. 5)."""

import math
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tcam_cache.devices import on_device

PAPER_SIZE = 224
# Upstream's bandwidths: in grey levels, and in pixels of an image of PAPER_SIZE.
SIGMA_RGB, SIGMA_XY = 15.0, 100.0
# Clamped: exp is slow on subnormal results, and e^-30 is negligible beside the self pair's 1.
_LEAST_EXPONENT = -30
_DIAGONAL = {torch.float32: 1e-3, torch.float64: 1e-9}
# Affinities held in memory at once: on a CPU those of one frame at 224 pixels, on an accelerator of nine.
_KEPT_CPU, _KEPT_DEVICE = 2**23, 2**26
# Affinities computed at once: as many as fit into a core's cache.
_CHUNK_CPU = 2**19


def crf_loss(
    softmax: Tensor,
    rgb: Tensor,
    *,
    weight: float,
    generator: torch.Generator,
    landmarks: int,
    gain: float,
    sigma_rgb: float = SIGMA_RGB,
    sigma_xy: float = SIGMA_XY,
) -> Tensor:
    """Return -weight gain (224/s)^4 sum_r S_r^T W S_r / B, s = sqrt(H W), with sigma_xy scaled by s/224.

    The two scalings keep the term's strength at other image sizes: sums over pairs grow with s^4. It needs
    full-precision products: leave TF32 off (torch's default), or the exponents lose three digits.

    Args:
        softmax: (B, 2, H, W) maps of background and foreground; float64 is honoured, all else is float32.
        rgb: (B, 3, H, W) frames, un-normalised, 0..255; no gradient flows to them.
        weight: lambda at 224 x 224.
        generator: on the CPU; moves the landmarks, which all frames of the batch share.
        landmarks: about how many pixels approximate W, at most H W; a grid of their integer square root.
        gain: upstream's lattice filter returns this share of W; 1 is exact.
        sigma_rgb: bandwidth in grey levels.
        sigma_xy: bandwidth in pixels of a 224 x 224 image.

    >>> rgb = torch.tensor([0.0, 80.0, 160.0, 240.0]).view(1, 1, 2, 2).expand(1, 3, 2, 2)
    >>> S = torch.full((1, 2, 2, 2), 0.5)  # four unlike pixels: W is the identity
    >>> options = {"weight": (2 / 224) ** 4, "gain": 1.0, "landmarks": 4, "generator": torch.Generator()}
    >>> loss = crf_loss(S, rgb, **options)
    >>> f"{loss.item():.2f}"
    '-2.00'
    """
    height, width = softmax.shape[-2:]
    side = math.sqrt(height * width)
    precision = torch.promote_types(softmax.dtype, torch.float32)
    with torch.autocast(softmax.device.type, enabled=False):
        features = pixel_features(rgb.to(precision), sigma_rgb, sigma_xy * side / PAPER_SIZE)
        grid = on_device(jittered_grid(height, width, landmarks, generator), softmax.device)
        sums = pair_sums(softmax.to(precision), features, grid)
    return -weight * gain * (PAPER_SIZE / side) ** 4 * sums.mean()


def pair_sums(softmax: Tensor, features: Tensor, landmarks: Tensor) -> Tensor:
    """Return sum_r S_r^T W S_r of each item, (B,), with W by Nystroem; its gradient is 2 W S.

    Args:
        softmax: (B, 2, ...) maps of N pixels in [0, 1], float32 or float64.
        features: (B, D, N), of the same dtype; no gradient flows to them.
        landmarks: (M,) int64, indices of pixels.
    """
    return _PairSums.apply(softmax, features, landmarks)


def pixel_features(rgb: Tensor, sigma_rgb: float, sigma_xy: float) -> Tensor:
    """Return (B, 5, H W): x and y over sigma_xy, R, G and B over sigma_rgb, around 0 to keep products exact.

    Args:
        rgb: (B, 3, H, W) floating point, 0..255.
        sigma_rgb: bandwidth in grey levels.
        sigma_xy: bandwidth in pixels.
    """
    height, width = rgb.shape[-2:]
    y = torch.arange(height, dtype=rgb.dtype, device=rgb.device) - (height - 1) / 2
    x = torch.arange(width, dtype=rgb.dtype, device=rgb.device) - (width - 1) / 2
    position = torch.stack(torch.meshgrid(x, y, indexing="xy")) / sigma_xy
    colour = (rgb - 127.5) / sigma_rgb
    return torch.cat([position.expand(len(rgb), -1, -1, -1), colour], 1).flatten(2)


def jittered_grid(height: int, width: int, landmarks: int, generator: torch.Generator) -> Tensor:
    """Return one random pixel of every cell of a square grid, as (M,) int64 indices in raster order.

    Args:
        height: of the image, in pixels.
        width: of the image, in pixels.
        landmarks: the grid has isqrt(landmarks) cells a side, or one per pixel if that is fewer.
        generator: on the CPU.
    """
    side = math.isqrt(landmarks)
    rows, columns = _edges(height, min(side, height)), _edges(width, min(side, width))
    jitter = torch.rand(2, len(rows) - 1, len(columns) - 1, dtype=torch.float64, generator=generator)
    y = rows[:-1, None] + (jitter[0] * rows.diff()[:, None]).long()
    x = columns[:-1] + (jitter[1] * columns.diff()).long()
    return (y * width + x).flatten()


def gaussian_filter(features: Tensor, values: Tensor, landmarks: Tensor) -> Tensor:
    """Return W values with W approximated by Nystroem: K_nm (K_mm + d I)^-1 K_mn.

    Args:
        features: (B, D, N) float32 or float64.
        values: (B, C, N), of the same kind.
        landmarks: (M,) int64, indices of pixels.

    Returns:
        (B, C, N).
    """
    anchors = features[:, :, landmarks]
    grams = _affinity(anchors, anchors)
    grams.diagonal(dim1=1, dim2=2).add_(_DIAGONAL[features.dtype])
    # cholesky_ex does not raise, so it does not synchronise the device.
    factor = torch.linalg.cholesky_ex(grams).L
    each = features.shape[2] * len(landmarks)
    kept = _KEPT_CPU if features.device.type == "cpu" else _KEPT_DEVICE
    step = min(len(features), max(1, kept // each))
    buffer = features.new_empty(step * each)
    parts = [slice(start, start + step) for start in range(0, len(features), step)]
    return torch.cat(
        [_filter_part(features[part], values[part], anchors[part], factor[part], buffer) for part in parts]
    )


class _PairSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, softmax: Tensor, features: Tensor, landmarks: Tensor) -> Tensor:
        """Return the sums, and keep W S, which also gives their gradient."""
        filtered = gaussian_filter(features, softmax.flatten(2), landmarks).view(softmax.shape)
        ctx.save_for_backward(filtered)
        return (softmax * filtered).flatten(1).sum(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient with respect to the softmax maps only."""
        (filtered,) = ctx.saved_tensors
        return 2 * gradient.view(-1, *[1] * (filtered.dim() - 1)) * filtered, None, None


def _filter_part(features: Tensor, values: Tensor, anchors: Tensor, factor: Tensor, buffer: Tensor) -> Tensor:
    """Filter some frames; `buffer` holds all their affinities, which are used twice."""
    parts = _columns(features, anchors.shape[2])
    near = [_affinity(anchors, features[:, :, part], _carve(buffer, anchors, part)) for part in parts]
    # Few channels times a wide matrix: the other way round, products take six times as long on a CPU.
    sums = (values[:, :, part] @ one.transpose(1, 2) for part, one in zip(parts, near, strict=True))
    gathered = cast(Tensor, sum(sums))
    solved = torch.cholesky_solve(gathered.transpose(1, 2), factor).transpose(1, 2)
    return torch.cat([solved @ k for k in near], 2)


def _carve(buffer: Tensor, anchors: Tensor, part: slice) -> Tensor:
    rows = anchors.shape[0] * anchors.shape[2]
    room = buffer[rows * part.start : rows * part.stop]
    return room.view(anchors.shape[0], anchors.shape[2], part.stop - part.start)


def _columns(features: Tensor, rows: int) -> list[slice]:
    """Divide the pixels into parts so that `rows` affinities to each of them fit the chunk limit."""
    batch, _, pixels = features.shape
    budget = _CHUNK_CPU if features.device.type == "cpu" else _KEPT_DEVICE
    step = max(1, budget // (batch * rows))
    return [slice(start, min(start + step, pixels)) for start in range(0, pixels, step)]


def _affinity(points: Tensor, others: Tensor, out: Tensor | None = None) -> Tensor:
    """Return (B, K, N), exp(-|f - g|^2 / 2) between (B, D, K) and (B, D, N) points."""
    left, right = _with_norms(points, first=True).transpose(1, 2), _with_norms(others, first=False)
    return torch.bmm(left, right, out=out).clamp_(min=_LEAST_EXPONENT).exp_()


def _with_norms(points: Tensor, first: bool) -> Tensor:
    """Return (f, -|f|^2/2, 1) or, second, (f, 1, -|f|^2/2): their product is -|f - g|^2 / 2."""
    norm = points.square().sum(1, keepdim=True) / -2
    ones = torch.ones_like(norm)
    return torch.cat([points, *((norm, ones) if first else (ones, norm))], 1)


def _edges(length: int, cells: int) -> Tensor:
    return torch.arange(cells + 1) * length // cells
