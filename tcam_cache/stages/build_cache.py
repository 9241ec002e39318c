"""Stage 1: run the frozen classifier once over every frame and store its CAMs."""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import joblib
import torch

from tcam_cache.cache import CachePlan, CamWriter
from tcam_cache.cams import Classifier, ClassifierFile, read_classifier_file
from tcam_cache.config import BuildConfig, parse_shard
from tcam_cache.datasets import Manifest, manifest_text
from tcam_cache.errors import ConfigError, FrameError
from tcam_cache.progress import QUIET, progress_bar
from tcam_cache.provenance import provenance
from tcam_cache.records import FrameSource, Shot
from tcam_cache.stages.loading import FrameBatch, as_images, in_batches, load_batches
from tcam_cache.stages.setup import find_device, open_data, worker_count
from tcam_cache.stages.shot_cams import frame_cams, shot_cams

logger = logging.getLogger(__name__)

# Raise it when the arithmetic of CAMs changes: caches made before are then told apart.
CAM_ALGORITHM = 1
CLASSIFIER_NAME = "classifier.pt"
MANIFEST_NAME = "manifest.jsonl"
TRIAL_FRAMES = 64


@dataclass(frozen=True)
class BuildReport:
    """What a build did, or would do.

    Attributes:
        cache: the cache folder.
        shots: of the whole cache.
        frames: of the whole cache.
        built_frames: computed by this call; the others were there already or belong to other shards.
        flat_maps: among the frames computed by this call.
        seconds: spent on them, or with `dry_run` what they would take.
        bytes: of the cache's maps, not compressed.
        dry_run: nothing was written.
    """

    cache: str
    shots: int
    frames: int
    built_frames: int
    flat_maps: int
    seconds: float
    bytes: int
    dry_run: bool

    @property
    def frames_per_second(self) -> float:
        """Rate of the frames computed by this call."""
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
        return f"{self.cache}: {size}\n  {built}, {self.flat_maps} flat maps"


def build_cache(config: BuildConfig) -> BuildReport:
    """Store the CAM of the video's tag for every sampled frame; run again to resume.

    Batches hold frames of one shot only, so that they depend on the manifest alone and a resumed build equals
    an uninterrupted one.

    Raises:
        CacheError: `config.out` holds a cache made with other settings (named), or something else.
        FrameError: frames cannot be read; all other shots are finished first, all offenders are listed.
        StorageError: the disk is full or may not be written; what is committed stays.
    """
    manifest, source = open_data(config)
    manifest = manifest.sampled(config.every)
    file = read_classifier_file(config.classifier)
    _check_classes(manifest, file)
    device = find_device(config.device)
    classifier = file.classifier("best_localization").to(device, memory_format=torch.channels_last)
    plan = _plan(config, manifest, file, classifier)
    if config.dry_run:
        return _dry_run(config, plan, classifier, source, device)
    writer = CamWriter.create(
        config.out,
        plan,
        {CLASSIFIER_NAME: file.to_bytes(), MANIFEST_NAME: manifest_text(manifest).encode()},
    )
    pending = writer.pending(parse_shard(config.shard))
    shares = [pending[job :: config.jobs] for job in range(config.jobs)]
    began = time.perf_counter()
    if config.jobs == 1:
        workers = worker_count(config.workers)
        counts = [_build_shots(config, writer, pending, classifier, source, device, workers)]
    else:
        task = joblib.delayed(_build_share)
        counts = joblib.Parallel(n_jobs=config.jobs)(
            task(config, plan, [shot.id for shot in share], torch.get_num_threads(), QUIET.get() or job > 0)
            for job, share in enumerate(shares)
        )
    faults = [fault for count in counts for fault in count.faults]
    if faults:
        raise FrameError(
            f"{len(faults)} frame(s) cannot be read; their shots are not in {config.out}, all others are. "
            "Replace them and run build again, or leave them out: write the manifest anew, build elsewhere.",
            faults,
        )
    return _report(config, plan, counts, began)


@dataclass(frozen=True)
class _Count:
    frames: int
    flat: int
    mixed: int
    faults: tuple[str, ...]


def _build_shots(
    config: BuildConfig,
    writer: CamWriter,
    shots: Sequence[Shot],
    classifier: Classifier,
    source: FrameSource,
    device: torch.device,
    workers: int,
) -> _Count:
    batches = [
        batch
        for shot in shots
        for batch in in_batches([(shot, t) for t in range(len(shot))], config.batch_size)
    ]
    loaded = load_batches(batches, source, config.image_size, workers)
    frames, flat, mixed, faults = 0, 0, 0, []
    with progress_bar(sum(map(len, shots)), "CAMs", "frame") as bar:
        for shot, group in groupby(_counted(loaded, bar), key=lambda batch: batch.frames[0][0]):
            result = shot_cams(classifier, shot, group, device, config.method)
            faults += result.faults
            if result.cams is not None:
                writer.write(shot.id, result.cams)
                frames, flat = frames + len(shot), flat + int(result.cams.flat.sum())
                mixed += result.mixed
    return _Count(frames, flat, mixed, tuple(faults))


def _counted(batches: Iterator[FrameBatch], bar: Any) -> Iterator[FrameBatch]:
    for batch in batches:
        yield batch
        bar.update(len(batch.frames))


def _build_share(
    config: BuildConfig, plan: CachePlan, shot_ids: Sequence[str], threads: int, quiet: bool
) -> _Count:
    QUIET.set(quiet)
    # The promise of identical arrays holds for equal thread counts, so a worker takes the caller's.
    torch.set_num_threads(threads)
    _, source = open_data(config)
    device = find_device(config.device)
    file = read_classifier_file(config.classifier)
    classifier = file.classifier("best_localization").to(device, memory_format=torch.channels_last)
    wanted = set(shot_ids)
    shots = [shot for shot in plan.shots if shot.id in wanted]
    writer = CamWriter.create(config.out, plan)
    # Decoding processes are shared out among the jobs; a job that gets none decodes by itself.
    workers = worker_count(config.workers) // config.jobs
    return _build_shots(config, writer, shots, classifier, source, device, workers)


def _check_classes(manifest: Manifest, file: ClassifierFile) -> None:
    unknown = [name for name in manifest.classes if name not in file.classes]
    if unknown:
        raise ConfigError(
            f"the classifier knows {', '.join(file.classes)}, but not these classes of the manifest. "
            "Fit a classifier on this manifest.",
            unknown,
        )


def _plan(config: BuildConfig, manifest: Manifest, file: ClassifierFile, classifier: Classifier) -> CachePlan:
    with torch.inference_mode():
        blank = torch.zeros(1, 3, config.image_size, config.image_size, device=classifier.mean.device)
        height, width = classifier.features(blank)[-1].shape[-2:]
    settings = {
        "algorithm": CAM_ALGORITHM,
        "method": config.method,
        "layer": "last",
        "target": "tag",
        "classifier": {
            "arch": file.arch,
            "output_stride": file.output_stride,
            "dilated": file.dilated,
            "classes": list(file.classes),
            "weights": file.hashes()["best_localization"],
        },
        "input": {"size": config.image_size, "resize": "squash, bilinear, antialiased", "colour": "RGB"},
        "maps": {"size": [height, width], "scaling": "minimum and maximum of the frame", "dtype": "float16"},
        "manifest": manifest.digest(),
        "every": config.every,
    }
    recorded = provenance(
        config=config.to_json(), device=str(classifier.mean.device), threads=torch.get_num_threads()
    )
    return CachePlan(file.classes, manifest.shots, (height, width), settings, recorded)


def _dry_run(
    config: BuildConfig, plan: CachePlan, classifier: Classifier, source: FrameSource, device: torch.device
) -> BuildReport:
    frames = [(shot, t) for shot in plan.shots for t in range(len(shot))]
    trial = frames[:TRIAL_FRAMES]
    began = time.perf_counter()
    for batch in load_batches(in_batches(trial, config.batch_size), source, config.image_size, 0):
        frame_cams(classifier, as_images(batch.rgb, device), 0, config.method)
    seconds = (time.perf_counter() - began) / len(trial) * len(frames)
    height, width = plan.map_size
    return BuildReport(
        str(config.out), len(plan.shots), len(frames), len(frames), 0, seconds,
        len(frames) * (2 * height * width + 4 * (3 + len(plan.classes))), True,
    )  # fmt: skip


def _report(config: BuildConfig, plan: CachePlan, counts: Sequence[_Count], began: float) -> BuildReport:
    frames = sum(map(len, plan.shots))
    built, flat, mixed = (sum(getattr(c, name) for c in counts) for name in ("frames", "flat", "mixed"))
    height, width = plan.map_size
    if flat:
        logger.warning("%d of %d new maps are flat: they say nothing of where the object is", flat, built)
    if mixed:
        logger.warning("%d new shot(s) hold frames of different sizes: each is squashed on its own", mixed)
    return BuildReport(
        str(Path(config.out)), len(plan.shots), frames, built, flat, time.perf_counter() - began,
        frames * (2 * height * width + 4 * (3 + len(plan.classes))), False,
    )  # fmt: skip
