"""Stage 0: fit the classifier g on tags only, and store its two checkpoints in one file."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tcam_cache.config import ClassifierConfig
from tcam_cache.config.evaluate import MAP_SIZE
from tcam_cache.datasets import Manifest
from tcam_cache.datasets.batches import ShotFrame
from tcam_cache.datasets.frames import frame_source, open_data
from tcam_cache.devices import find_device, worker_count
from tcam_cache.errors import ManifestError, RunError
from tcam_cache.inference.maps import FrameMap, annotated_frames, classifier_maps
from tcam_cache.inference.scoring import Validation
from tcam_cache.models import CHECKPOINTS, Classifier, ClassifierFile, pretrained_network, seeded_classifier
from tcam_cache.provenance import provenance
from tcam_cache.records import FrameSource
from tcam_cache.torchrun import require_alone
from tcam_cache.training import (
    ClassifierTask,
    EpochBatches,
    FitReport,
    RunFolder,
    TrainingSamples,
    fit,
    require_board,
)
from tcam_cache.training.run_folder import split_hashes

logger = logging.getLogger(__name__)

SCORES = {"best_classification": "cl_accuracy", "best_localization": "corloc"}


@dataclass(frozen=True)
class ClassifierReport:
    """The result of stage 0.

    Attributes:
        classifier: the file.
        epochs: finished.
        best: epoch and scores of each checkpoint.
        seconds: taken by this call.
    """

    classifier: str
    epochs: int
    best: dict[str, Any]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON-able values."""
        return asdict(self)

    def to_text(self) -> str:
        """Return the report as a few lines."""
        lines = [f"{self.classifier}: {self.epochs} epochs in {self.seconds:.0f} s"]
        for name in CHECKPOINTS:
            scores = self.best[name]
            scores_text = [f"{label} {scores[key]:.1f}" for key, label in _LABELS.items() if key in scores]
            lines.append(f"  {name}: epoch {scores['epoch']}" + "".join(f", {text}" for text in scores_text))
        return "\n".join(lines)


_LABELS = {"cl_accuracy": "CL", "corloc": "CorLoc of its LayerCAMs"}


def fit_classifier(config: ClassifierConfig) -> ClassifierReport:
    """Fit the classifier to the tags of a manifest's frames (paper, Sec. 4.1).

    The fit's run folder is beside the file, `<name>.fit`; it is kept after the fit.

    Raises:
        ConfigError: torchrun started several processes.
        ManifestError: there is only one class, or classes have no training shot (all are named).
        WeightsError: the pretrained weights do not fit.
        RunError: the file or its fit exists already and `resume` is not set.
    """
    began = time.perf_counter()
    require_alone("classifier")
    require_board(config.tensorboard)
    if config.out.exists() and not config.resume:
        raise RunError(f"{config.out} is there already. Give another --out, or --resume to fit it further.")
    manifest, _ = open_data(config)
    _check_classes(manifest, config.train_split)
    device, workers = find_device(config.device), worker_count(config.workers)
    network = pretrained_network(config.arch, config.weights)
    classifier = seeded_classifier(
        config.arch, manifest.classes, config.output_stride, config.seed, config.dilated, network
    )
    inputs = {"manifest": manifest.digest(), "splits": split_hashes(manifest, config)}
    frames = classifier.preprocessing
    image_size = config.image_size or frames.size
    config = replace(config, image_size=image_size)
    source = frame_source(manifest, frames.interpolation)
    run = RunFolder.begin(fit_folder(config.out), config.to_json(absolute=True), config.resume, inputs)
    index = {name: number for number, name in enumerate(manifest.classes)}
    samples = TrainingSamples(manifest.split(config.train_split), index, source, config)
    task = ClassifierTask(classifier, config, device)
    val = annotated_frames(manifest.split(config.val_split))
    if not val:
        logger.warning("split %r has no boxes to choose by: the last epoch is kept", config.val_split)
    maps = _layercams(classifier, source, image_size, config.batch_size, workers)
    validation = Validation(maps, val, manifest.classes, config.batch_size, workers) if val else None
    report = fit(task, EpochBatches(samples, config, workers), config, run, validation, SCORES)
    _write_classifier_file(config, classifier, run, report)
    return ClassifierReport(str(config.out), report.epochs, dict(report.best), time.perf_counter() - began)


def _layercams(
    classifier: Classifier, source: FrameSource, image_size: int, batch_size: int, workers: int
) -> Callable[[Sequence[ShotFrame]], Iterator[FrameMap]]:
    """Return a function that yields the LayerCAMs of frames as the classifier makes them at the time."""

    def maps(frames: Sequence[ShotFrame]) -> Iterator[FrameMap]:
        """Yield the current classifier's LayerCAMs of frames."""
        classifier.eval()
        return classifier_maps(
            classifier,
            frames,
            source,
            image_size=image_size,
            map_size=MAP_SIZE,
            batch_size=batch_size,
            workers=workers,
        )

    return maps


def fit_folder(out: Path) -> Path:
    """Return the run folder of a classifier file's fit."""
    name = out.stem if out.suffix == ".pt" else out.name
    return out.with_name(f"{name}.fit")


def _check_classes(manifest: Manifest, split: str) -> None:
    if len(manifest.classes) == 1:
        raise ManifestError(
            f"there is one class, {manifest.classes[0]}, alone: a classifier learns what tells classes "
            "apart, so its maps would say nothing. Add a second class, such as videos of the same places "
            "without it, and index the data set again."
        )
    seen = {shot.tag for shot in manifest.split(split)}
    unseen = [f"class {name}: no video" for name in manifest.classes if name not in seen]
    if unseen:
        raise ManifestError(
            f"split {split!r} has no video to learn these classes from. Give them one, or --train-split all.",
            unseen,
        )


def _write_classifier_file(
    config: ClassifierConfig, classifier: Classifier, run: RunFolder, report: FitReport
) -> None:
    ClassifierFile(
        arch=config.arch,
        classes=classifier.classes,
        output_stride=classifier.output_stride,
        dilated=classifier.dilated,
        checkpoints={name: run.load(name)["model"] for name in CHECKPOINTS},
        scores=dict(report.best),
        provenance=provenance(config=config.to_json()),
        preprocessing=classifier.preprocessing.to_json(),
    ).save(config.out)
