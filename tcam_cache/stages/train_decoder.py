"""Stage 2: train the decoder f on pseudo-labels from the cached CAMs of consecutive frames."""

import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tcam_cache.cache import CamCache
from tcam_cache.cams import parse_classifier_file
from tcam_cache.config import TrainConfig
from tcam_cache.datasets import Manifest
from tcam_cache.errors import ConfigError, ManifestError
from tcam_cache.evaluation import GRID, choose_tau
from tcam_cache.files import write_json
from tcam_cache.records import FrameSource, Shot
from tcam_cache.stages.attached import CLASSIFIER_NAME
from tcam_cache.stages.localizer import BEST, THRESHOLD_NAME, new_networks
from tcam_cache.stages.maps import MAP_SIZE, annotated_frames, decoder_maps
from tcam_cache.stages.scoring import Validation, sweep_maps
from tcam_cache.stages.setup import find_device, open_data, sampled_as, worker_count
from tcam_cache.training import (
    ALONE,
    VAL_LOSS,
    DecoderTask,
    EpochBatches,
    Ranks,
    RunFolder,
    TrainingSamples,
    ValidationLoss,
    fit,
    joined_ranks,
    require_board,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainReport:
    """What stage 2 made.

    Attributes:
        run: the run folder.
        epochs: finished.
        best: epoch and scores of the kept checkpoint.
        threshold: tau chosen on the validation split, or None without boxes there.
        seconds: taken by this call.
    """

    run: str
    epochs: int
    best: dict[str, Any]
    threshold: float | None
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON-able values."""
        return asdict(self)

    def to_text(self) -> str:
        """Return the report as a few lines."""
        lines = [
            f"{self.run}: {self.epochs} epochs in {self.seconds:.0f} s; best is epoch {self.best['epoch']}"
        ]
        if self.threshold is not None:
            lines.append(f"  on val: CorLoc {self.best['corloc']:.1f} at tau {self.threshold:.3f}")
        elif VAL_LOSS in self.best:
            lines.append(f"  on val: loss {self.best[VAL_LOSS]:.4g}; without boxes there, no tau was chosen")
        return "\n".join(lines)


def train_decoder(config: TrainConfig) -> TrainReport:
    """Train the decoder of a run (TCAM Eq. 5); the frozen encoder comes from the cache's classifier.

    The processes that torchrun starts share every batch; the first of them validates and writes.

    Raises:
        CacheError: the cache was built from another manifest, or lacks shots of the training split.
        ConfigError: n is larger than any shot.
        DeviceError: the device is not there, or not for every process.
        ExtraError: TensorBoard is asked for and absent.
        RunError: the run folder holds a run and `resume` is not set, or one with other settings. Or
            another process ended.
    """
    require_board(config.tensorboard)
    with joined_ranks() as ranks:
        return _train(config, ranks)


def _train(config: TrainConfig, ranks: Ranks) -> TrainReport:
    began = time.perf_counter()
    cache = CamCache.open(config.cache)
    manifest, source = open_data(config)
    manifest = sampled_as(cache, manifest)
    shots = manifest.split(config.train_split)
    _check_shots(shots, config)
    cache.require_complete([shot.id for shot in shots])
    if config.cached_frames:
        source = cache.frames(source, [shot.id for shot in shots])
    device = find_device(config.device, ranks.local_rank, ranks.local_size)
    workers = worker_count(config.workers, ranks.local_size)
    file = parse_classifier_file(cache.attachment(CLASSIFIER_NAME), f"{config.cache}/{CLASSIFIER_NAME}")
    classifier, decoder = new_networks(file, config)
    run = _begin(config, cache, ranks)

    def batches_of(shots: Sequence[Shot], ranks: Ranks = ALONE) -> EpochBatches:
        index = {name: number for number, name in enumerate(file.classes)}
        windows = (config.neighbours, config.window, config.align)
        samples = TrainingSamples(shots, index, source, config, cache.pack(), *windows)
        return EpochBatches(samples, config, workers, ranks, config.frames_together)

    task = DecoderTask(classifier, decoder, config, device, ranks)
    val = _ValMaps(task, manifest, source, config, workers)
    if val.frames:
        validation, score = Validation(val, file.classes, workers), "corloc"
    else:
        seen = _with_cams(cache, manifest.split(config.val_split), config.val_split)
        validation, score = ValidationLoss(task, batches_of(seen)) if seen else None, VAL_LOSS
    report = fit(task, batches_of(shots, ranks), config, run, validation, {BEST: score}, ranks)
    tau = None
    if val.frames:
        tau = ranks.from_first(lambda: _keep_threshold(task, val, run, file.classes, workers))
    return TrainReport(
        str(config.out), report.epochs, dict(report.best[BEST]), tau, time.perf_counter() - began
    )


def _begin(config: TrainConfig, cache: CamCache, ranks: Ranks) -> RunFolder:
    inputs = {"cache": dict(cache.settings)}
    ranks.from_first(lambda: RunFolder.begin(config.out, config.to_json(), config.resume, inputs).path)
    run = RunFolder(config.out, writes=ranks.is_first)
    run.write(CLASSIFIER_NAME, cache.attachment(CLASSIFIER_NAME))
    return run


def _check_shots(shots: Sequence[Shot], config: TrainConfig) -> None:
    if not shots:
        raise ManifestError(f"split {config.train_split!r} has no shots. Choose another with --train-split.")
    longest = max(len(shot) for shot in shots)
    if config.neighbours > longest:
        raise ConfigError(
            f"got n = {config.neighbours}, but the longest shot of split {config.train_split!r} has "
            f"{longest} frame(s). Give --neighbours {longest - 1} or less."
        )


def _with_cams(cache: CamCache, shots: Sequence[Shot], split: str) -> list[Shot]:
    """Return the shots of a split without boxes, if the loss on them can choose the epoch, and say so."""
    complete = {shot.id for shot in cache.shots() if shot.complete}
    if shots and all(shot.id in complete for shot in shots):
        logger.warning(
            "split %r has no boxes to choose by: the epoch of the lowest loss there is kept", split
        )
        return list(shots)
    logger.warning("split %r has no boxes and no CAMs to choose by: the last epoch is kept", split)
    return []


class _ValMaps:
    """Call it for the current decoder's maps of the annotated validation frames."""

    def __init__(
        self, task: DecoderTask, manifest: Manifest, source: FrameSource, config: TrainConfig, workers: int
    ) -> None:
        self.task, self.source, self.config, self.workers = task, source, config, workers
        self.frames = annotated_frames(manifest.split(config.val_split))

    def __call__(self) -> Any:
        self.task.decoder.eval()
        config = self.config
        return decoder_maps(
            self.task.encoder,
            self.task.decoder,
            self.frames,
            self.source,
            config.image_size,
            MAP_SIZE,
            config.batch_size,
            self.workers,
        )


def _keep_threshold(
    task: DecoderTask, val: _ValMaps, run: RunFolder, classes: tuple[str, ...], workers: int
) -> float:
    task.decoder.load_state_dict(run.load(BEST)["model"])
    tau = choose_tau(sweep_maps(val(), classes, "components", GRID, workers), GRID)
    write_json(
        run.path / THRESHOLD_NAME,
        {
            "policy": "val",
            "value": tau,
            "split": val.config.val_split,
            "boxes": "components",
            "map_size": MAP_SIZE,
        },
    )
    return tau
