"""Localization maps of frames, from a classifier's CAMs or from a cache, and the box of a map."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch

from tcam_cache.cache import CamCache
from tcam_cache.cams import CamExtractor
from tcam_cache.datasets.batches import ShotFrame, in_batches, load_batches, only_readable
from tcam_cache.devices import as_images, resize_maps
from tcam_cache.evaluation import boxes_at, otsu_box
from tcam_cache.models import Classifier
from tcam_cache.records import Box, FrameSource, Shot


class FrameMap(NamedTuple):
    """The map and logits of one frame.

    Attributes:
        shot: the frame's shot.
        t: the frame's position in it.
        scores: (S, S) float32 in [0, 1], higher where the object is.
        logits: (C,) float32 of the classifier, in its order of classes; (0,) without a classifier.
        width: of the original frame, in pixels.
        height: of the original frame, in pixels.
        parts: name and map, alike, of each that `scores` is mixed from; none where it is not mixed.
        presence: (C,) float32 in [0, 1], of the object of each class; None where it is not known.
    """

    shot: Shot
    t: int
    scores: np.ndarray
    logits: np.ndarray
    width: int
    height: int
    parts: tuple[tuple[str, np.ndarray], ...] = ()
    presence: np.ndarray | None = None


def annotated_frames(shots: Iterable[Shot]) -> list[ShotFrame]:
    """Return the frames that have true boxes, in order."""
    return [(shot, t) for shot in shots for t in sorted(shot.boxes)]


def classifier_maps(
    classifier: Classifier,
    frames: Sequence[ShotFrame],
    source: FrameSource,
    *,
    image_size: int,
    map_size: int,
    batch_size: int,
    workers: int,
) -> Iterator[FrameMap]:
    """Yield each frame's LayerCAM of its tag, in [0, 1], upsampled to `map_size`."""
    device, extractor = classifier.mean.device, CamExtractor(classifier)
    for batch in only_readable(load_batches(in_batches(frames, batch_size), source, image_size, workers)):
        tags = [classifier.classes.index(shot.tag) for shot, _ in batch.frames]
        with torch.inference_mode():
            cams, logits = extractor(as_images(batch.rgb, device), tags)
        scores = resize_maps(cams.maps, map_size).cpu().numpy()
        yield from frame_maps(batch.frames, {"": scores}, logits.cpu().numpy(), batch.sizes)


def cached_maps(
    cache: CamCache, frames: Sequence[ShotFrame], source: FrameSource, *, map_size: int, workers: int
) -> Iterator[FrameMap]:
    """Yield the cached CAM of each frame, upsampled to `map_size`; frames are read only for their sizes."""
    loaded: dict[str, tuple] = {}
    for batch in only_readable(load_batches(in_batches(frames, 1), source, 1, workers)):
        ((shot, t),) = batch.frames
        if shot.id not in loaded:
            loaded = {shot.id: (cache.cams(shot.id), cache.stats(shot.id).logits)}
        cams, logits = loaded[shot.id]
        scores = resize_maps(torch.from_numpy(cams[t : t + 1]), map_size).numpy()
        yield from frame_maps(batch.frames, {"": scores}, logits[t : t + 1], batch.sizes)


def frame_maps(
    frames: Sequence[ShotFrame],
    maps: Mapping[str, np.ndarray],
    logits: np.ndarray,
    sizes: torch.Tensor,
    presence: np.ndarray | None = None,
) -> Iterator[FrameMap]:
    """Yield the map and logits of each frame of a batch.

    Args:
        frames: the B frames.
        maps: (B, S, S) float32 in [0, 1] of each kind; "" is the one that boxes are taken from.
        logits: (B, C) float32.
        sizes: (B, 2), width and height of the original frames in pixels.
        presence: (B, C) float32 in [0, 1], or None.
    """
    for row, (shot, t) in enumerate(frames):
        width, height = sizes[row].tolist()
        parts = tuple((name, of_kind[row]) for name, of_kind in maps.items() if name)
        present = None if presence is None else presence[row]
        yield FrameMap(shot, t, maps[""][row], logits[row], width, height, parts, present)


def mixed_maps(decoded: torch.Tensor, cam: torch.Tensor, mix: str, share: float) -> torch.Tensor:
    """Return the weighted mean of the decoder's maps, each in units of its maximum, and CAMs.

    Args:
        decoded: (B, h, w) foreground probability S1 in [0, 1].
        cam: (B, h, w) in [0, 1].
        mix: "mean" or "geometric".
        share: the decoder's weight in [0, 1]; the CAM's is the rest.

    >>> maps = torch.tensor([[[0.2, 0.4]]]), torch.tensor([[[1.0, 0.25]]])
    >>> mixed_maps(*maps, "mean", 0.5).tolist(), mixed_maps(*maps, "geometric", 0.5)[0, 0, 1].item()
    ([[[0.75, 0.625]]], 0.5)
    """
    unit = decoded / decoded.amax((-2, -1), keepdim=True).clamp(min=torch.finfo(decoded.dtype).tiny)
    if mix == "mean":
        return share * unit + (1 - share) * cam
    return unit**share * cam ** (1 - share)


def box_of(scores: np.ndarray, size: tuple[int, int], tau: float | None) -> Box | None:
    """Return the box of the largest region above tau x the maximum, or None where there is none.

    Args:
        scores: (S, S) float32 in [0, 1].
        size: width and height of the frame that the box is in, in pixels.
        tau: in [0, 1); None for Otsu's threshold of the map.
    """
    box = otsu_box(scores) if tau is None else boxes_at(scores, np.array([tau]))[0]
    if np.isnan(box).any():
        return None
    return Box(*(box * np.array([*size, *size]) / scores.shape[0]).tolist())
