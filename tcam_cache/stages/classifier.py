"""Stage 0: fit the classifier g on tags only, and store its two checkpoints in one file."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tcam_cache.config import ClassifierConfig
from tcam_cache.config.evaluate import MAP_SIZE
from tcam_cache.datasets import Manifest
from tcam_cache.datasets.batches import ShotFrame
from tcam_cache.datasets.frames import frame_source, open_data
from tcam_cache.devices import find_device, to_device, worker_count
from tcam_cache.errors import ManifestError, RunError
from tcam_cache.inference.maps import FrameMap, annotated_frames, classifier_maps
from tcam_cache.inference.scoring import Validation
from tcam_cache.models import (
    CHECKPOINTS,
    Classifier,
    ClassifierFile,
    Presence,
    pretrained_concepts,
    pretrained_network,
    seeded_classifier,
)
from tcam_cache.provenance import provenance
from tcam_cache.records import FrameSource
from tcam_cache.torchrun import require_alone
from tcam_cache.training import (
    ClassifierTask,
    EpochBatches,
    RunFolder,
    TrainingSamples,
    fit,
    fit_head,
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
        epochs: finished; 0 for a linear probe.
        best: scores of each checkpoint: its epoch, or the probe's `left_out_accuracy` (percentage, mean over
            left-out videos), `strength` (C), `frames` and `videos`.
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
        if not self.epochs:
            return self._probe_text()
        lines = [f"{self.classifier}: {self.epochs} epochs in {self.seconds:.0f} s"]
        for name in CHECKPOINTS:
            lines.append(f"  {name}: epoch {self.best[name]['epoch']}{_scores_text(self.best[name])}")
        lines.append("  presence: none; --fit probe fits it")
        return "\n".join(lines)

    def _probe_text(self) -> str:
        scores = self.best[CHECKPOINTS[0]]
        seen = f"{scores['frames']:,} frames of {scores['videos']:,} videos in {self.seconds:.0f} s"
        return (
            f"{self.classifier}: probe of {seen}\n  C {scores['strength']:.3g}{_scores_text(scores)}\n"
            f"  {_presence_text(scores)}"
        )


_LABELS = {
    "left_out_accuracy": "accuracy on left-out videos",
    "cl_accuracy": "CL",
    "corloc": "CorLoc of its LayerCAMs",
}


def _scores_text(scores: Mapping[str, float]) -> str:
    return "".join(f", {label} {scores[key]:.1f}" for key, label in _LABELS.items() if key in scores)


def _presence_text(scores: Mapping[str, float]) -> str:
    if "presence_auroc" not in scores:
        return "presence: none; it takes two tags with two videos each"
    return (
        f"presence on left-out videos: AUROC {scores['presence_auroc']:.1f}; "
        f"at {scores['presence_threshold']:.2f}, precision {scores['presence_precision']:.1f}, "
        f"recall {scores['presence_recall']:.1f}"
    )


def fit_classifier(config: ClassifierConfig) -> ClassifierReport:
    """Fit the classifier to the tags of a manifest's frames (paper, Sec. 4.1), or its head as a linear probe.

    The fit's run folder is beside the file, `<name>.fit`; it is kept after the fit.

    Raises:
        ConfigError: torchrun started several processes.
        ManifestError: there is only one class, or classes have no training shot (all are named).
        WeightsError: the pretrained weights do not fit, or give features that are not finite.
        RunError: the file or its fit exists already and `resume` is not set.
    """
    began = time.perf_counter()
    _require_place(config)
    manifest, _ = open_data(config)
    require_classes(manifest, config.train_split)
    device, workers = find_device(config.device), worker_count(config.workers)
    network = pretrained_network(config.arch, config.weights)
    classifier = seeded_classifier(
        config.arch, manifest.classes, config.output_stride, config.seed, config.dilated, network
    )
    to_device(classifier, device)
    inputs = {"manifest": manifest.digest(), "splits": split_hashes(manifest, config)}
    frames = classifier.preprocessing
    config = replace(config, image_size=config.image_size or frames.size)
    source = frame_source(manifest, frames.interpolation)
    run = RunFolder.begin(fit_folder(config.out), config.to_json(absolute=True), config.resume, inputs)
    validation = _validation(classifier, manifest, source, config, workers)
    shots = manifest.split(config.train_split)
    best: dict[str, Any]
    checkpoints: dict[str, Any]
    presence: Presence | None = None
    if config.fit == "probe":
        concepts = pretrained_concepts(config.arch, config.weights, network, classifier.stages.depth)
        scores, presence = fit_head(classifier, shots, source, config, run, workers, concepts)
        scores |= validation() if validation else {}
        weights = classifier.to("cpu").state_dict()
        epochs, best = 0, dict.fromkeys(CHECKPOINTS, scores)
        checkpoints = dict.fromkeys(CHECKPOINTS, weights)
    else:
        index = {name: number for number, name in enumerate(manifest.classes)}
        samples = TrainingSamples(shots, index, source, config)
        if validation is None:
            logger.warning("split %r has no boxes to choose by: the last epoch is kept", config.val_split)
        task = ClassifierTask(classifier, config, device)
        report = fit(task, EpochBatches(samples, config, workers), config, run, validation, SCORES)
        epochs, best = report.epochs, dict(report.best)
        checkpoints = {name: run.load(name)["model"] for name in CHECKPOINTS}
    _write_classifier_file(config, classifier, checkpoints, best, presence)
    return ClassifierReport(str(config.out), epochs, best, time.perf_counter() - began)


def _require_place(config: ClassifierConfig) -> None:
    require_alone("classifier")
    require_board(config.tensorboard)
    if config.out.exists() and not config.resume:
        raise RunError(f"{config.out} is there already. Give another --out, or --resume to fit it further.")


def _validation(
    classifier: Classifier, manifest: Manifest, source: FrameSource, config: ClassifierConfig, workers: int
) -> Validation | None:
    """Return what scores the classifier and its LayerCAMs on the boxes of val; None without boxes."""
    val = annotated_frames(manifest.split(config.val_split))
    if not val:
        return None

    def maps(frames: Sequence[ShotFrame]) -> Iterator[FrameMap]:
        """Yield the current classifier's LayerCAMs of frames."""
        classifier.eval()
        return classifier_maps(
            classifier,
            frames,
            source,
            image_size=config.image_size or classifier.preprocessing.size,
            map_size=MAP_SIZE,
            batch_size=config.batch_size,
            workers=workers,
        )

    return Validation(maps, val, manifest.classes, config.batch_size, workers)


def fit_folder(out: Path) -> Path:
    """Return the run folder of a classifier file's fit."""
    name = out.stem if out.suffix == ".pt" else out.name
    return out.with_name(f"{name}.fit")


def require_classes(manifest: Manifest, split: str) -> None:
    """Make sure that a split can teach what tells classes apart.

    Raises:
        ManifestError: there is a single class, or the split has no video of some.
    """
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
    config: ClassifierConfig,
    classifier: Classifier,
    checkpoints: Mapping[str, Mapping[str, Any]],
    scores: Mapping[str, Any],
    presence: Presence | None,
) -> None:
    ClassifierFile(
        arch=config.arch,
        classes=classifier.classes,
        output_stride=classifier.output_stride,
        dilated=classifier.dilated,
        checkpoints=checkpoints,
        scores=scores,
        provenance=provenance(config=config.to_json()),
        preprocessing=classifier.preprocessing.to_json(),
        presence=presence.to_values() if presence else {},
    ).save(config.out)
