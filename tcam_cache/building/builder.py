"""One process's share of a build: compute the maps of shots, and write them while the next are computed."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Self

import numpy as np
import torch

from tcam_cache.building.map_source import MapNetwork, MapSource, map_settings, open_map_source
from tcam_cache.cache import CachePlan, CamWriter
from tcam_cache.cache.source_files import stamp_of
from tcam_cache.cams import Cams
from tcam_cache.config import BuildConfig
from tcam_cache.datasets import Manifest
from tcam_cache.datasets.batches import FrameBatch, ShotBatches, ShotFrame, load_batches
from tcam_cache.datasets.frames import open_data
from tcam_cache.devices import as_images, frames_at_once
from tcam_cache.errors import FrameError, MapError
from tcam_cache.provenance import provenance
from tcam_cache.records import FrameSource, Shot, ShotCams

# Shots queued for writing: enough to hide a slow disk, few enough to limit memory.
WAITING_SHOTS = 4

Part = tuple[Cams, torch.Tensor]


@dataclass(frozen=True)
class Counts:
    """The result of building some shots: counts and unreadable frames.

    Attributes:
        frames: number of frames whose CAMs were stored.
        flat: number of their maps that are constant.
        mixed: number of shots whose frames differ in size.
        faults: frames that could not be read, one text each; their shots are not stored.
    """

    frames: int = 0
    flat: int = 0
    mixed: int = 0
    faults: tuple[str, ...] = ()

    def __add__(self, other: "Counts") -> "Counts":
        both = zip(vars(self).values(), vars(other).values(), strict=True)
        return Counts(*(a + b for a, b in both))


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
    on_request: Callable[[Sequence[ShotFrame]], object] = lambda batch: None,
) -> Counts:
    """Compute and write the CAMs of shots; decoding, the forward pass and writing overlap.

    A batch holds frames of one shot only, so that numbers do not depend on which other shots are built.

    Args:
        maps: the network that computes the maps.
        shots: the shots to build.
        source: reads their frames.
        write: takes a shot's id and its CAMs; called in a thread of its own. If it raises a `FrameError`, the
            shot is not stored, and the error is among the faults.
        target: "tag" or "prediction".
        image_size: side that frames are squashed to.
        batch_size: maximum number of frames in a forward pass.
        workers: processes that decode; 0 decodes in this one.
        on_frames: called with the number of newly finished frames.
        on_request: called with the frames of each batch before they are read.

    Raises:
        MapError: a map function of the user's own failed at a shot (named); shots before it are written.
        StorageError: raised by `write`; shots passed to it before are written.
    """
    counts, waiting = Counts(), deque[Future[Counts]]()
    loaded = load_batches(ShotBatches(shots, batch_size), source, image_size, workers, on_request)
    with ThreadPoolExecutor(max_workers=1) as thread:
        for shot, batches in groupby(loaded, key=lambda batch: batch.frames[0][0]):
            class_target = maps.classifier.classes.index(shot.tag) if target == "tag" else target
            try:
                parts, faults, mixed = _computed(maps, batches, class_target, on_frames)
            except MapError as error:
                raise MapError(f"shot {shot.id}: {error.message}", error.offenders) from error
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
    """Return the computed parts of one shot, its unreadable frames, and whether frame sizes differ."""
    device = maps.classifier.mean.device
    parts: list[Part] = []
    faults: tuple[str, ...] = ()
    sizes: set[tuple[int, ...]] = set()
    for batch in batches:
        faults += batch.faults
        sizes.update(map(tuple, batch.sizes.tolist()))
        # After an unreadable frame the remaining ones are only decoded, to report all errors.
        if not faults:
            with torch.inference_mode():
                passes = -(-len(batch.rgb) // frames_at_once(len(batch.rgb), device))
                for rgb in batch.rgb.tensor_split(passes):
                    parts.append(maps(as_images(rgb, device), target))
        on_frames(len(batch.frames))
    shapes = {tuple(cams.maps.shape[-2:]) for cams, _ in parts}
    if len(shapes) > 1:
        raise MapError(f"got maps of the sizes {sorted(shapes)}; expected one size for all frames.")
    return parts, faults, len(sizes) > 1


def _finish(
    shot_id: str, parts: Sequence[Part], mixed: bool, write: Callable[[str, ShotCams], None]
) -> Counts:
    cams = _joined(parts)
    try:
        write(shot_id, cams)
    except FrameError as error:
        return Counts(faults=error.offenders)
    return Counts(len(cams.cams), int(cams.flat.sum()), int(mixed))


def _joined(parts: Sequence[Part]) -> ShotCams:
    def column(values: Iterable[torch.Tensor]) -> np.ndarray:
        """Return one quantity of all batches as one array."""
        return torch.cat(list(values)).cpu().numpy()

    return ShotCams(
        cams=column(cam.maps for cam, _ in parts).astype(np.float16),
        raw_min=column(cam.raw_min for cam, _ in parts),
        raw_max=column(cam.raw_max for cam, _ in parts),
        flat=column(cam.flat for cam, _ in parts),
        logits=column(logits for _, logits in parts).astype(np.float32),
    )


# Increase it when the arithmetic of CAMs changes: older caches then have other fingerprints.
CAM_ALGORITHM = 2


@dataclass(frozen=True)
class Builder:
    """One process's share of a build; every process opens it from the settings.

    Attributes:
        config: the settings.
        manifest: sampled by the settings.
        source: reads its frames.
        map_source: the source of their maps, on its device.
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
            ConfigError: a class that the classifier lacks, an unknown layer, and so on.
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
        # The stamp from before the frames are decoded, so that files replaced meanwhile are noticed.
        files: dict[str, tuple[tuple[Path, ...], str]] = {}

        def stamp(batch: Sequence[ShotFrame]) -> None:
            """Keep the stamp of a shot's files when its first frames are requested."""
            shot, t = batch[0]
            if t == 0:
                paths = self.source.files(shot)
                files[shot.id] = paths, stamp_of(paths)

        return store_cams(
            self.map_source.maps,
            shots,
            self.source,
            lambda shot_id, cams: writer.write(shot_id, cams, *files.pop(shot_id)),
            target=self.config.target,
            image_size=self.map_source.image_size,
            batch_size=self.config.batch_size,
            workers=workers,
            on_frames=on_frames,
            on_request=stamp,
        )


def _plan(config: BuildConfig, manifest: Manifest, map_source: MapSource) -> CachePlan:
    classifier, side = map_source.maps.classifier, map_source.image_size
    device, how = classifier.mean.device, classifier.preprocessing.interpolation
    # Not one colour, of which a map function of the user's own may have nothing to say.
    trial = torch.linspace(0, 1, 3 * side**2, device=device).reshape(1, 3, side, side)
    with torch.inference_mode():
        height, width = map_source.maps(trial, 0)[0].maps.shape[-2:]
    settings = {
        "algorithm": CAM_ALGORITHM,
        **map_source.settings,
        "input": {"size": side, "resize": f"squash, {how}, antialiased", "colour": "RGB"},
        "maps": map_settings((height, width)),
        # Kernels, and so the last bits, depend on the batch size.
        "numerics": {**map_source.numerics, "batch_size": config.batch_size},
        "manifest": manifest.digest(),
        "every": config.every,
    }
    recorded = provenance(config=config.to_json(), device=str(device), threads=torch.get_num_threads())
    return CachePlan(map_source.classifier_file.classes, manifest.shots, (height, width), settings, recorded)
