"""The CAMs of frames, and of whole shots, from the frozen classifier."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch

from tcam_cache.cams import Cams, Classifier, cams_of_tags
from tcam_cache.records import Shot, ShotCams
from tcam_cache.stages.loading import FrameBatch, as_images


class ShotResult(NamedTuple):
    """What came of one shot.

    Attributes:
        cams: of every frame, or None where a frame could not be read.
        faults: what could not be read, one text each.
        mixed: its frames differ in size.
    """

    cams: ShotCams | None
    faults: list[str]
    mixed: bool


@torch.inference_mode()
def frame_cams(
    classifier: Classifier, images: torch.Tensor, tag: int | torch.Tensor, method: str
) -> tuple[Cams, torch.Tensor]:
    """Return the CAMs of one tag (or one per frame) and the (B, C) logits, in one forward pass."""
    activations = classifier.features(images)[-1]
    tags = torch.as_tensor(tag, device=images.device).expand(len(images))
    return cams_of_tags(classifier, activations, tags, method), classifier.logits(activations)


def shot_cams(
    classifier: Classifier, shot: Shot, batches: Iterable[FrameBatch], device: torch.device, method: str
) -> ShotResult:
    """Return the CAMs of a shot's tag; after an unreadable frame the others are only looked at."""
    tag = classifier.classes.index(shot.tag)
    parts: list[tuple[Cams, torch.Tensor]] = []
    faults: list[str] = []
    sizes: set[tuple[int, ...]] = set()
    for batch in batches:
        faults += batch.faults
        sizes.update(map(tuple, batch.sizes.tolist()))
        if not faults:
            parts.append(frame_cams(classifier, as_images(batch.rgb, device), tag, method))
    return ShotResult(None if faults else _joined(parts), faults, len(sizes) > 1)


def _joined(parts: Sequence[tuple[Cams, torch.Tensor]]) -> ShotCams:
    def column(values: Iterable[torch.Tensor]) -> np.ndarray:
        return torch.cat(list(values)).cpu().numpy()

    return ShotCams(
        cams=column(cam.maps for cam, _ in parts).astype(np.float16),
        raw_min=column(cam.raw_min for cam, _ in parts),
        raw_max=column(cam.raw_max for cam, _ in parts),
        flat=column(cam.flat for cam, _ in parts),
        logits=column(logits for _, logits in parts),
    )
