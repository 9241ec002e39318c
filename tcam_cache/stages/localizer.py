"""A trained run, opened: the frozen classifier, the decoder on it, and the threshold it carries."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tcam_cache.cams import Classifier, ClassifierFile, read_classifier_file
from tcam_cache.config import TrainConfig
from tcam_cache.training import Decoder, RunFolder

CLASSIFIER_NAME = "classifier.pt"
THRESHOLD_NAME = "threshold.json"
BEST = "best"


@dataclass(frozen=True)
class Localizer:
    """What turns a frame into a foreground map and logits.

    Attributes:
        classifier: frozen; the checkpoint best at classification, whose features the decoder reads.
        decoder: in evaluation mode.
        config: settings of the training.
        threshold: the tau chosen on the validation split with how it was chosen, or None.
    """

    classifier: Classifier
    decoder: Decoder
    config: TrainConfig
    threshold: dict[str, Any] | None


def new_networks(file: ClassifierFile, config: TrainConfig) -> tuple[Classifier, Decoder]:
    """Return the frozen encoder of a classifier file and a decoder on it, drawn from the run's seed."""
    classifier = file.classifier("best_classification")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return classifier, Decoder(classifier.channels, config.decoder_width, classifier.full_resolution)


def open_localizer(path: Path, device: torch.device) -> Localizer:
    """Open a run folder at its best checkpoint.

    Raises:
        RunError: there is no run, or it has no finished epoch.
    """
    run = RunFolder.open(path)
    config = TrainConfig.from_json(run.config())
    classifier, decoder = new_networks(read_classifier_file(run.path / CLASSIFIER_NAME), config)
    decoder.load_state_dict(run.load(BEST)["model"])
    chosen = run.path / THRESHOLD_NAME
    return Localizer(
        classifier.to(device, memory_format=torch.channels_last),
        decoder.eval().requires_grad_(False).to(device, memory_format=torch.channels_last),
        config,
        json.loads(chosen.read_text()) if chosen.is_file() else None,
    )
