"""Stage 1: run the frozen classifier once on every frame and store its CAMs."""

import logging
import time
from dataclasses import asdict, dataclass
from typing import Any

import torch

from tcam_cache.building.builder import Builder, Counts
from tcam_cache.building.frames import store_frames
from tcam_cache.building.jobs import build_in_jobs
from tcam_cache.building.map_source import warn_of_flat_maps
from tcam_cache.cache import CachePlan, CamWriter
from tcam_cache.config import BuildConfig
from tcam_cache.config.sharing import parse_shard
from tcam_cache.datasets import manifest_text
from tcam_cache.datasets.batches import in_batches, load_batches
from tcam_cache.datasets.manifest_file import CLASSIFIER_NAME, MANIFEST_NAME
from tcam_cache.devices import as_images, computing_threads, frames_at_once, worker_count
from tcam_cache.errors import FrameError
from tcam_cache.progress import progress_bar

logger = logging.getLogger(__name__)

TRIAL_FRAMES = 64


@dataclass(frozen=True)
class BuildReport:
    """The result of a build, or the estimate of a dry run.

    Attributes:
        cache: the cache's folder or URL.
        shots: of the whole cache.
        frames: of the whole cache.
        built_frames: computed by this call; the others were built before or belong to other shards.
        flat_maps: among the frames computed by this call.
        seconds: time for them, with `dry_run` an estimate.
        bytes: uncompressed size of the cache's maps.
        dry_run: whether nothing was written.
        rebuilt_shots: computed again by this call, because their files had changed.
    """

    cache: str
    shots: int
    frames: int
    built_frames: int
    flat_maps: int
    seconds: float
    bytes: int
    dry_run: bool
    rebuilt_shots: int = 0

    @property
    def frames_per_second(self) -> float:
        """The frames per second of this call."""
        return self.built_frames / self.seconds if self.seconds else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON-able values."""
        return {**asdict(self), "frames_per_second": round(self.frames_per_second, 2)}

    def to_text(self) -> str:
        """Return the report as a few lines."""
        size = f"{self.shots} shots, {self.frames} frames, {self.bytes / 1e6:.1f} MB before compression"
        if self.dry_run:
            return f"{self.cache} would hold {size}, and take about {self.seconds / 3600:.2f} hours here"
        rate = f"{self.frames_per_second:.1f} a second"
        built = f"{self.built_frames} frames built in {self.seconds:.0f} s ({rate})"
        again = f", {self.rebuilt_shots} shots again" if self.rebuilt_shots else ""
        return f"{self.cache}: {size}\n  {built}, {self.flat_maps} flat maps{again}"


def build_cache(config: BuildConfig) -> BuildReport:
    """Store the CAM, or a run's foreground map, of every sampled frame; run again to resume.

    Raises:
        CacheError: `config.out` holds a cache made with other settings (named), or something else.
        ConfigError: an unknown layer, or settings that cannot be combined.
        RunError: there is no run, or none with a finished epoch.
        FrameError: frames cannot be read; all are listed, after all other shots are finished.
        StorageError: the disk is full or not writable; committed shots stay valid.
    """
    with computing_threads(config.threads):
        return _build(config)


def _build(config: BuildConfig) -> BuildReport:
    began = time.perf_counter()
    builder = Builder.open(config)
    if config.dry_run:
        return _dry_run(config, builder)
    attachments = {
        CLASSIFIER_NAME: builder.map_source.classifier_file.to_bytes(),
        MANIFEST_NAME: manifest_text(builder.manifest).encode(),
    }
    writer = CamWriter.create(config.out, builder.plan, attachments)
    shard = parse_shard(config.shard)
    changed = writer.reopen_changed(builder.source, shard)
    if changed:
        logger.warning(
            "%d shot(s) are built again: their frames have changed since, such as %s",
            len(changed),
            changed[0].id,
        )
    pending = writer.pending(shard)
    with progress_bar(sum(map(len, pending)), "CAMs", "frame") as bar:
        if config.several_jobs:
            counts = build_in_jobs(config, builder.plan, pending, bar.update)
        else:
            counts = builder.build(pending, writer, worker_count(config.workers), bar.update)
    if config.frames:
        counts += Counts(faults=_store_frames(config, builder, writer, frozenset(counts.faults)))
    if counts.faults:
        raise FrameError(
            f"{len(counts.faults)} frame(s) cannot be read; their shots are not in {config.out}, all others "
            "are. Replace them and run build again, or leave them out: write the manifest anew, build "
            "elsewhere.",
            counts.faults,
        )
    return _report(config, builder.plan, counts, len(changed), time.perf_counter() - began)


def _store_frames(
    config: BuildConfig, builder: Builder, writer: CamWriter, known: frozenset[str]
) -> tuple[str, ...]:
    """Store the frames that are not stored yet, and return the unreadable ones that are not in `known`."""
    pending = writer.pending_frames(config.frame_size, parse_shard(config.shard))
    workers = worker_count(config.workers)
    with progress_bar(sum(map(len, pending)), "frames", "frame") as bar:
        return store_frames(pending, builder.source, writer, config.frame_size, workers, bar.update, known)


def _dry_run(config: BuildConfig, builder: Builder) -> BuildReport:
    plan = builder.plan
    frames = [(shot, t) for shot in plan.shots for t in range(len(shot))]
    trial = frames[:TRIAL_FRAMES]
    began = time.perf_counter()
    maps, device = builder.map_source.maps, builder.map_source.maps.classifier.mean.device
    batches = in_batches(trial, frames_at_once(config.batch_size, device))
    for batch in load_batches(batches, builder.source, builder.map_source.image_size, 0):
        with torch.inference_mode():
            maps(as_images(batch.rgb, device), 0)
    seconds = (time.perf_counter() - began) / len(trial) * len(frames)
    return BuildReport(
        str(config.out), len(plan.shots), len(frames), len(frames), 0, seconds, _bytes(plan), True
    )


def _report(
    config: BuildConfig, plan: CachePlan, counts: Counts, rebuilt: int, seconds: float
) -> BuildReport:
    warn_of_flat_maps(counts.flat, counts.frames)
    if counts.mixed:
        logger.warning(
            "%d new shot(s) hold frames of different sizes: each is squashed on its own", counts.mixed
        )
    frames = sum(map(len, plan.shots))
    return BuildReport(
        str(config.out),
        len(plan.shots),
        frames,
        counts.frames,
        counts.flat,
        seconds,
        _bytes(plan),
        False,
        rebuilt,
    )


def _bytes(plan: CachePlan) -> int:
    height, width = plan.map_size
    return sum(map(len, plan.shots)) * (2 * height * width + 4 * (3 + len(plan.classes)))
