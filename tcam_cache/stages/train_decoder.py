"""Stage 2: train the decoder f on pseudo-labels from the cached CAMs of consecutive frames."""

import logging
import time
from dataclasses import asdict, dataclass
from typing import Any

from tcam_cache.cache import CamCache
from tcam_cache.cams import parse_classifier_file
from tcam_cache.config import TrainConfig
from tcam_cache.datasets import Manifest
from tcam_cache.errors import ManifestError
from tcam_cache.evaluation import GRID, choose_tau
from tcam_cache.files import write_bytes, write_json
from tcam_cache.records import FrameSource
from tcam_cache.stages.attached import CLASSIFIER_NAME
from tcam_cache.stages.localizer import BEST, THRESHOLD_NAME, new_networks
from tcam_cache.stages.maps import MAP_SIZE, annotated_frames, decoder_maps
from tcam_cache.stages.scoring import Validation, sweep_maps
from tcam_cache.stages.setup import find_device, open_data, sampled_as, worker_count
from tcam_cache.training import DecoderTask, EpochBatches, RunFolder, TrainingSamples, fit

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
        return "\n".join(lines)


def train_decoder(config: TrainConfig) -> TrainReport:
    """Train the decoder of a run (TCAM Eq. 5); the frozen encoder comes from the cache's classifier.

    Raises:
        CacheError: the cache was built from another manifest, or lacks shots of the training split.
        RunError: the run folder holds a run and `resume` is not set, or one with other settings.
    """
    began = time.perf_counter()
    cache = CamCache.open(config.cache)
    manifest, source = open_data(config)
    manifest = sampled_as(cache, manifest)
    shots = manifest.split(config.train_split)
    if not shots:
        raise ManifestError(f"split {config.train_split!r} has no shots. Choose another with --train-split.")
    cache.require_complete([shot.id for shot in shots])
    device, workers = find_device(config.device), worker_count(config.workers)
    file = parse_classifier_file(cache.attachment(CLASSIFIER_NAME), f"{config.cache}/{CLASSIFIER_NAME}")
    classifier, decoder = new_networks(file, config)
    run = RunFolder.begin(config.out, config.to_json(), config.resume, {"cache": cache.fingerprint})
    write_bytes(run.path / CLASSIFIER_NAME, cache.attachment(CLASSIFIER_NAME))
    index = {name: number for number, name in enumerate(file.classes)}
    samples = TrainingSamples(shots, index, source, config, cache.pack(), config.neighbours, config.window)
    task = DecoderTask(classifier, decoder, config, device)
    val = _ValMaps(task, manifest, source, config, workers)
    validation = Validation(val, file.classes, workers) if val.frames else None
    if validation is None:
        logger.warning("split %r has no boxes to choose by: the last epoch is kept", config.val_split)
    report = fit(task, EpochBatches(samples, config, workers), config, run, validation, {BEST: "corloc"})
    tau = _keep_threshold(task, val, run, file.classes, workers) if val.frames else None
    return TrainReport(
        str(config.out), report.epochs, dict(report.best[BEST]), tau, time.perf_counter() - began
    )


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
