"""Stage 2: train the decoder f on pseudo-labels from the cached CAMs of consecutive frames."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tcam_cache.cache import CamCache
from tcam_cache.config import TrainConfig
from tcam_cache.config.evaluate import MAP_SIZE
from tcam_cache.datasets.batches import ShotFrame
from tcam_cache.datasets.frames import open_data
from tcam_cache.datasets.manifest_file import CLASSIFIER_NAME
from tcam_cache.devices import find_device, worker_count
from tcam_cache.errors import ConfigError, ManifestError
from tcam_cache.evaluation import GRID, FrameSweep, choose_tau, corloc_curve
from tcam_cache.files import write_json
from tcam_cache.inference.localizer import BEST, THRESHOLD_NAME, Localizer
from tcam_cache.inference.maps import FrameMap, annotated_frames
from tcam_cache.inference.networks import new_networks
from tcam_cache.inference.scoring import Validation
from tcam_cache.inference.targets import pseudo_annotated, sampled_as
from tcam_cache.models import parse_classifier_file
from tcam_cache.records import FrameSource, Shot
from tcam_cache.training import (
    SINGLE_PROCESS,
    VAL_LOSS,
    DecoderTask,
    EpochBatches,
    Ranks,
    RunFolder,
    TrainingSamples,
    ValidationLoss,
    fit,
    joined_ranks,
    planned,
    require_board,
)
from tcam_cache.training.run_folder import split_hashes

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainReport:
    """The result of stage 2.

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
            corloc = f"CorLoc {self.best['corloc']:.1f} at " if "corloc" in self.best else ""
            lines.append(f"  on val: {corloc}tau {self.threshold:.3f}")
        elif "corloc" in self.best:
            lines.append(
                f"  on val: CorLoc {self.best['corloc']:.1f} of boxes of the cached CAMs; no tau was chosen"
            )
        elif VAL_LOSS in self.best:
            lines.append(f"  on val: loss {self.best[VAL_LOSS]:.4g}; no tau was chosen")
        return "\n".join(lines)


def train_decoder(config: TrainConfig) -> TrainReport:
    """Train the decoder of a run (TCAM Eq. 5); the frozen encoder comes from the cache's classifier.

    The processes that torchrun starts share every batch and every validation; rank 0 writes the files.

    Raises:
        CacheError: a cache was built from another manifest, or lacks shots of the training split.
        ConfigError: n is larger than any shot.
        DeviceError: the device does not exist, or not for every process.
        ExtraError: TensorBoard is requested, but not installed.
        RunError: the run folder holds a run and `resume` is not set, or one with other settings. Or
            another process ended.
    """
    require_board(config.tensorboard)
    with joined_ranks() as ranks:
        return _train(config, ranks)


def _train(config: TrainConfig, ranks: Ranks) -> TrainReport:
    began = time.perf_counter()
    cache = CamCache.open(config.cache)
    file = parse_classifier_file(cache.attachment(CLASSIFIER_NAME), f"{config.cache}/{CLASSIFIER_NAME}")
    manifest, source = open_data(config, file.frames().interpolation)
    manifest = sampled_as(cache, manifest)
    shots = manifest.split(config.train_split)
    _check_shots(shots, config)
    cache.require_complete([shot.id for shot in shots])
    if config.cached_frames:
        source = cache.frames(source, [shot.id for shot in shots])
    device = find_device(config.device, ranks.local_rank, ranks.local_size)
    workers = worker_count(config.workers, ranks.local_size)
    config = _planned(config, shots)
    classifier, decoder, extractor = new_networks(file, config, cache.settings, device)
    inputs = {
        "cache": dict(cache.settings),
        "encoder": file.hashes()["best_classification"],
        "splits": split_hashes(manifest, config),
    }
    run, packed = _begin(config, inputs, cache, ranks), cache.pack()

    def batches_of(shots: Sequence[Shot], ranks: Ranks = SINGLE_PROCESS) -> EpochBatches:
        """Return the batches of some shots; each rank takes its share of them."""
        index = {name: number for number, name in enumerate(file.classes)}
        options = (config.neighbours, config.window, config.crops)
        samples = TrainingSamples(shots, index, source, config, packed, *options)
        return EpochBatches(samples, config, workers, ranks, config.frames_together)

    task = DecoderTask(classifier, decoder, config, device, ranks)
    val_shots: Sequence[Shot] = manifest.split(config.val_split)
    if (rule := _rule(config, val_shots, cache)) == "pseudo":
        val_shots = pseudo_annotated(cache, val_shots, source, workers)
    if rule != "loss" and (val := annotated_frames(val_shots)):
        localizer = Localizer(classifier, decoder, extractor, config, file)
        # A decoder that knows nothing yet leaves a mix that is the CAM, whose boxes pseudo ones are.
        scored = localizer.mixing("none" if rule == "pseudo" else None)
        validation = _by_boxes(scored, val, source, workers, ranks)
    elif _has_cams(cache, val_shots):
        validation = ValidationLoss(task, batches_of(val_shots), ranks)
    else:
        validation = None
    keep = {BEST: "corloc" if isinstance(validation, Validation) else VAL_LOSS}
    report = fit(task, batches_of(shots, ranks), config, run, validation, keep, ranks)
    tau = None
    # The CAMs' boxes are of Otsu's threshold: a tau that fits them says nothing of objects.
    if isinstance(validation, Validation) and rule != "pseudo":
        tau = _keep_threshold(task, validation, run)
    seconds = time.perf_counter() - began
    return TrainReport(str(config.out), report.epochs, dict(report.best[BEST]), tau, seconds)


def _begin(config: TrainConfig, inputs: Mapping[str, Any], cache: CamCache, ranks: Ranks) -> RunFolder:
    # Absolute paths: a run is also opened from other working directories.
    settings = config.to_json(absolute=True)
    ranks.from_first(lambda: RunFolder.begin(config.out, settings, config.resume, inputs).path)
    run = RunFolder(config.out, writes=ranks.is_first)
    run.write(CLASSIFIER_NAME, cache.attachment(CLASSIFIER_NAME))
    return run


def _planned(config: TrainConfig, shots: Sequence[Shot]) -> TrainConfig:
    """Return the settings with the length of the fit, and log it where it was chosen here."""
    chosen = planned(config, [len(shot) for shot in shots])
    if chosen != config:
        logger.info(
            "%d shots: %d frames of each an epoch, %d epochs (--frames-per-shot, --epochs; --steps %d)",
            len(shots),
            chosen.frames_per_shot,
            chosen.epochs,
            config.steps,
        )
    return chosen


def _check_shots(shots: Sequence[Shot], config: TrainConfig) -> None:
    if not shots:
        raise ManifestError(f"split {config.train_split!r} has no shots. Choose another with --train-split.")
    longest = max(len(shot) for shot in shots)
    if config.neighbours > longest:
        raise ConfigError(
            f"got n = {config.neighbours}, but the longest shot of split {config.train_split!r} has "
            f"{longest} frame(s). Give --neighbours {longest} or less."
        )


def _by_boxes(
    localizer: Localizer, val: Sequence[ShotFrame], source: FrameSource, workers: int, ranks: Ranks
) -> Validation:
    """Return what scores the current decoder on annotated frames."""
    at_once = localizer.config.batch_size

    def maps(frames: Sequence[ShotFrame]) -> Iterator[FrameMap]:
        """Yield the current decoder's maps of frames."""
        localizer.decoder.eval()
        return localizer.maps(frames, source, batch_size=at_once, workers=workers, tagged=True)

    return Validation(maps, val, localizer.classifier_file.classes, at_once, workers, ranks)


def _rule(config: TrainConfig, shots: Sequence[Shot], cache: CamCache) -> str:
    """Return what chooses the epoch: `--select`, or boxes of CAMs where val has no true ones."""
    if config.select != "val" or annotated_frames(shots):
        return config.select
    if _has_cams(cache, shots):
        logger.warning(
            "split %r has no boxes to choose by: those of its cached CAMs do (--select pseudo)",
            config.val_split,
        )
        return "pseudo"
    logger.warning("split %r has no boxes and no CAMs to choose by: the last epoch is kept", config.val_split)
    return "last"


def _has_cams(cache: CamCache, shots: Sequence[Shot]) -> bool:
    return bool(shots) and not set(cache.missing()) & {shot.id for shot in shots}


def _compare(sweeps: Mapping[str, Sequence[FrameSweep]]) -> None:
    """Log what val says of the decoder and of the CAMs that it learned from."""
    if "CAM" not in sweeps:
        return
    decoder, cam = (float(corloc_curve(sweeps[name]).max()) for name in ("decoder", "CAM"))
    logger.info("on val, each at its best tau: CorLoc %.1f of the decoder alone, %.1f of CAMs", decoder, cam)
    if cam > decoder:
        logger.warning(
            "the CAMs are ahead of the decoder on val: it has learned too little, or from too few videos. "
            "Their mean is what boxes are taken from; `evaluate` shows all three."
        )


def _keep_threshold(task: DecoderTask, validation: Validation, run: RunFolder) -> float:
    # The run's folder may exist only on the machine of rank 0.
    best = task.ranks.from_first(lambda: run.load(BEST))
    task.decoder.load_state_dict(best["model"])
    sweeps = validation.sweeps(GRID, parts=True)
    tau = choose_tau(sweeps[""], GRID)
    if run.writes:
        _compare(sweeps)
        write_json(
            run.path / THRESHOLD_NAME,
            {
                "policy": "val",
                "epoch": best["epoch"],
                "value": tau,
                "split": task.config.val_split,
                "boxes": "components",
                "map_size": MAP_SIZE,
            },
        )
    return tau
