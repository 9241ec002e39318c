"""Localization maps of frames, from a decoder, from a classifier's CAMs, or from a cache, in one form."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from tcam_cache.cache import CamCache
from tcam_cache.cams import CamExtractor
from tcam_cache.datasets.batches import ShotFrame, in_batches, load_batches, only_readable, readable_parts
from tcam_cache.devices import as_images, resize_maps
from tcam_cache.models import Classifier
from tcam_cache.records import FrameSource, Shot


class FrameMap(NamedTuple):
    """What a method says of one frame.

    Attributes:
        shot: the frame's shot.
        t: the frame's position in it.
        scores: (S, S) float32 in [0, 1], higher where the object is.
        logits: (C,) float32 of the classifier, in its order of classes; (0,) where none was asked.
        width: of the original frame, in pixels.
        height: of the original frame, in pixels.
    """

    shot: Shot
    t: int
    scores: np.ndarray
    logits: np.ndarray
    width: int
    height: int


def annotated_frames(shots: Iterable[Shot]) -> list[ShotFrame]:
    """Return the frames that have true boxes, in order."""
    return [(shot, t) for shot in shots for t in sorted(shot.boxes)]


def foreground_maps(
    classifier: Classifier, decoder: nn.Module, images: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the decoder's foreground probability S1 (B, H, W) of images, and the classifier's (B, C) logits.

    Args:
        classifier: whose features the decoder reads.
        decoder: in evaluation mode.
        images: (B, 3, H, W) RGB in [0, 1], of the size the decoder was trained at.
    """
    features = classifier.features(images)
    foreground = decoder(features, images).float().softmax(1)[:, 1]
    return foreground, classifier.logits(features[-1])


def decoder_maps(
    classifier: Classifier,
    decoder: nn.Module,
    frames: Sequence[ShotFrame],
    source: FrameSource,
    *,
    image_size: int,
    map_size: int,
    batch_size: int,
    workers: int,
    faults: list[str] | None = None,
) -> Iterator[FrameMap]:
    """Yield the decoder's foreground probability S1 of each frame (paper, Sec. 3).

    Frames enter squashed to `image_size`, the size the decoder was trained at; maps leave at `map_size`.
    Frames that cannot be read are added to `faults` where that is given, else all are named in one error.
    """
    device = classifier.mean.device
    loaded = load_batches(in_batches(frames, batch_size), source, image_size, workers)
    for batch in only_readable(loaded) if faults is None else readable_parts(loaded, faults):
        with torch.inference_mode():
            foreground, known = foreground_maps(classifier, decoder, as_images(batch.rgb, device))
            scores, logits = resize_maps(foreground, map_size).cpu().numpy(), known.cpu().numpy()
        yield from _frame_maps(batch.frames, scores, logits, batch.sizes)


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
    """Yield the LayerCAM of each frame's tag, upsampled to `map_size`."""
    device, extractor = classifier.mean.device, CamExtractor(classifier)
    for batch in only_readable(load_batches(in_batches(frames, batch_size), source, image_size, workers)):
        tags = [classifier.classes.index(shot.tag) for shot, _ in batch.frames]
        with torch.inference_mode():
            cams, logits = extractor(as_images(batch.rgb, device), tags)
        scores = resize_maps(cams.maps, map_size).cpu().numpy()
        yield from _frame_maps(batch.frames, scores, logits.cpu().numpy(), batch.sizes)


def cached_maps(
    cache: CamCache, frames: Sequence[ShotFrame], source: FrameSource, *, map_size: int, workers: int
) -> Iterator[FrameMap]:
    """Yield the cached CAM of each frame, upsampled to `map_size`; frames are read for their sizes alone."""
    loaded: dict[str, tuple] = {}
    for batch in only_readable(load_batches(in_batches(frames, 1), source, 1, workers)):
        ((shot, t),) = batch.frames
        if shot.id not in loaded:
            loaded = {shot.id: (cache.cams(shot.id), cache.stats(shot.id).logits)}
        cams, logits = loaded[shot.id]
        scores = resize_maps(torch.from_numpy(cams[t : t + 1]), map_size).numpy()
        yield from _frame_maps(batch.frames, scores, logits[t : t + 1], batch.sizes)


def _frame_maps(
    frames: Sequence[ShotFrame], scores: np.ndarray, logits: np.ndarray, sizes: torch.Tensor
) -> Iterator[FrameMap]:
    for row, (shot, t) in enumerate(frames):
        width, height = sizes[row].tolist()
        yield FrameMap(shot, t, scores[row], logits[row], width, height)
