"""One process's share of a build: frames become the maps of shots, written while the next are computed."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import Self

import numpy as np
import torch

from tcam_cache.building.map_source import MapNetwork, MapSource, map_settings, open_map_source
from tcam_cache.cache import CachePlan, CamWriter
from tcam_cache.cams import Cams
from tcam_cache.config import BuildConfig
from tcam_cache.datasets import Manifest
from tcam_cache.datasets.batches import FrameBatch, ShotBatches, load_batches
from tcam_cache.datasets.frames import open_data
from tcam_cache.devices import as_images
from tcam_cache.provenance import provenance
from tcam_cache.records import FrameSource, Shot, ShotCams

# Shots that wait to be written: enough to ride out a slow disk, few enough to keep memory flat.
WAITING_SHOTS = 4

Part = tuple[Cams, torch.Tensor]


@dataclass(frozen=True)
class Counts:
    """What came of some shots.

    Attributes:
        frames: whose CAMs were stored.
        flat: maps among them that are constant.
        mixed: shots whose frames differ in size.
        faults: frames that could not be read, one text each; their shots are not stored.
    """

    frames: int = 0
    flat: int = 0
    mixed: int = 0
    faults: tuple[str, ...] = ()

    def __add__(self, other: "Counts") -> "Counts":
        both = zip(vars(self).values(), vars(other).values(), strict=True)
        return Counts(*(mine + theirs for mine, theirs in both))


def store_cams(
    maps: MapNetwork,
    shots: Sequence[Shot],
    source: FrameSource,
    write: Callable[[str, ShotCams], None],
    *,
    target: str,
    image_size: int,
    batch_size: int,
    workers: int,
    on_frames: Callable[[int], object],
) -> Counts:
    """Compute and write the CAMs of shots; decoding, the forward pass and writing overlap.

    Batches hold frames of one shot only, so that they depend on the shot alone: whichever shots are done
    already, and whoever does the others, every number is the same.

    Args:
        maps: computes them.
        shots: whose CAMs are wanted.
        source: reads their frames.
        write: takes a shot's id and its CAMs; called in a thread of its own, shot by shot.
        target: "tag" or "prediction".
        image_size: side that frames are squashed to.
        batch_size: frames in a forward pass, at most.
        workers: processes that decode; 0 decodes in this one.
        on_frames: told the number of frames each time some are done.

    Raises:
        StorageError: what `write` raises; the shots that were handed to it before are written.
    """
    counts, waiting = Counts(), deque[Future[Counts]]()
    loaded = load_batches(ShotBatches(shots, batch_size), source, image_size, workers)
    with ThreadPoolExecutor(max_workers=1) as thread:
        for shot, batches in groupby(loaded, key=lambda batch: batch.frames[0][0]):
            wanted = maps.classifier.classes.index(shot.tag) if target == "tag" else target
            parts, faults, mixed = _computed(maps, batches, wanted, on_frames)
            if faults:
                counts += Counts(faults=faults)
                continue
            waiting.append(thread.submit(_finish, shot.id, parts, mixed, write))
            while len(waiting) > WAITING_SHOTS:
                counts += waiting.popleft().result()
        return sum((future.result() for future in waiting), counts)


def _computed(
    maps: MapNetwork,
    batches: Iterable[FrameBatch],
    target: int | str,
    on_frames: Callable[[int], object],
) -> tuple[list[Part], tuple[str, ...], bool]:
    """Return what is computed of one shot, its unreadable frames, and whether frame sizes differ."""
    device = maps.classifier.mean.device
    parts: list[Part] = []
    faults: tuple[str, ...] = ()
    sizes: set[tuple[int, ...]] = set()
    for batch in batches:
        faults += batch.faults
        sizes.update(map(tuple, batch.sizes.tolist()))
        # After an unreadable frame the others are only looked at.
        if not faults:
            with torch.inference_mode():
                parts.append(maps(as_images(batch.rgb, device), target))
        on_frames(len(batch.frames))
    return parts, faults, len(sizes) > 1


def _finish(
    shot_id: str, parts: Sequence[Part], mixed: bool, write: Callable[[str, ShotCams], None]
) -> Counts:
    cams = _joined(parts)
    write(shot_id, cams)
    return Counts(len(cams.cams), int(cams.flat.sum()), int(mixed))


def _joined(parts: Sequence[Part]) -> ShotCams:
    def column(values: Iterable[torch.Tensor]) -> np.ndarray:
        """Return what all batches say of one thing, as one array."""
        return torch.cat(list(values)).cpu().numpy()

    return ShotCams(
        cams=column(cam.maps for cam, _ in parts).astype(np.float16),
        raw_min=column(cam.raw_min for cam, _ in parts),
        raw_max=column(cam.raw_max for cam, _ in parts),
        flat=column(cam.flat for cam, _ in parts),
        logits=column(logits for _, logits in parts).astype(np.float32),
    )


# Raise it when the arithmetic of CAMs changes: caches made before are then told apart.
CAM_ALGORITHM = 2


@dataclass(frozen=True)
class Builder:
    """One process's share in a build; opened from the settings alone, in every process anew.

    Attributes:
        config: the settings.
        manifest: sampled as asked for.
        source: reads its frames.
        map_source: what makes their maps, on its device.
        plan: what the cache will hold.
    """

    config: BuildConfig
    manifest: Manifest
    source: FrameSource
    map_source: MapSource
    plan: CachePlan

    @classmethod
    def open(cls, config: BuildConfig) -> Self:
        """Read the manifest and the classifier or the run, and plan the cache.

        Raises:
            ConfigError: a class that the classifier does not know, a layer that is none, and so on.
            RunError: there is no run, or none with a finished epoch.
        """
        map_source = open_map_source(config)
        interpolation = map_source.maps.classifier.preprocessing.interpolation
        manifest, source = open_data(config, interpolation)
        manifest = manifest.sampled(config.every)
        map_source.classifier_file.require_classes(manifest.classes)
        return cls(config, manifest, source, map_source, _plan(config, manifest, map_source))

    def build(
        self, shots: Sequence[Shot], writer: CamWriter, workers: int, on_frames: Callable[[int], object]
    ) -> Counts:
        """Store the maps of shots; see `store_cams`."""
        files = {shot.id: self.source.files(shot) for shot in shots}
        return store_cams(
            self.map_source.maps,
            shots,
            self.source,
            lambda shot_id, cams: writer.write(shot_id, cams, files[shot_id]),
            target=self.config.target,
            image_size=self.map_source.image_size,
            batch_size=self.config.batch_size,
            workers=workers,
            on_frames=on_frames,
        )


def _plan(config: BuildConfig, manifest: Manifest, map_source: MapSource) -> CachePlan:
    classifier, side = map_source.maps.classifier, map_source.image_size
    device, how = classifier.mean.device, classifier.preprocessing.interpolation
    with torch.inference_mode():
        height, width = map_source.maps(torch.zeros(1, 3, side, side, device=device), 0)[0].maps.shape[-2:]
    settings = {
        "algorithm": CAM_ALGORITHM,
        **map_source.settings,
        "input": {"size": side, "resize": f"squash, {how}, antialiased", "colour": "RGB"},
        "maps": map_settings((height, width)),
        # Kernels differ with the batch, and with them the last bits.
        "numerics": {**map_source.numerics, "batch_size": config.batch_size},
        "manifest": manifest.digest(),
        "every": config.every,
    }
    recorded = provenance(config=config.to_json(), device=str(device), threads=torch.get_num_threads())
    return CachePlan(map_source.classifier_file.classes, manifest.shots, (height, width), settings, recorded)
