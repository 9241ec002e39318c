"""A trained run, opened: the frozen classifier, the decoder on it, and the threshold it carries."""

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from tcam_cache.config import TrainConfig
from tcam_cache.config.evaluate import fixed_threshold
from tcam_cache.datasets.manifest_file import CLASSIFIER_NAME
from tcam_cache.errors import ConfigError, RunError
from tcam_cache.models import Classifier, ClassifierFile, Decoder, read_classifier_file
from tcam_cache.training import RunFolder

THRESHOLD_NAME = "threshold.json"
BEST = "best"


@dataclass(frozen=True)
class Localizer:
    """What turns a frame into a foreground map and logits.

    Attributes:
        classifier: frozen; the checkpoint best at classification, whose features the decoder reads.
        decoder: in evaluation mode.
        config: settings of the training, with its caches where they are now.
        inputs: what the decoder learned from, as the run keeps it.
        threshold: the tau chosen on the validation split for this checkpoint with how it was chosen, or None.
        classifier_file: g.pt, as the run keeps it.
    """

    classifier: Classifier
    decoder: Decoder
    config: TrainConfig
    inputs: dict[str, Any]
    threshold: dict[str, Any] | None
    classifier_file: ClassifierFile


def moved_with(run: Path, config: TrainConfig) -> TrainConfig:
    """Return a run's settings with its cache where it is found now.

    Paths of earlier versions are relative to the folder that the run was trained from; and a run may have
    been moved together with its cache. Seen from the run, a cache lies where it lay in both cases. Where
    there is none, the settings stay.
    """
    cache = config.cache
    if isinstance(cache, str):
        return config
    beside = Path(os.path.normpath(run.absolute() / os.path.relpath(cache, config.out)))
    places = [cache, beside] if cache.is_absolute() else [beside, cache]
    return replace(config, cache=next((place for place in places if place.exists()), places[0]))


def new_networks(file: ClassifierFile, config: TrainConfig) -> tuple[Classifier, Decoder]:
    """Return the frozen encoder of a classifier file and a decoder on it, drawn from the run's seed."""
    classifier = file.classifier("best_classification")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return classifier, Decoder(classifier.channels, config.decoder_width, classifier.full_resolution)


def open_localizer(path: Path, device: torch.device) -> Localizer:
    """Open a run folder at its best checkpoint.

    Raises:
        RunError: there is no run, it has no finished epoch, or its files do not belong together.
    """
    run = RunFolder.open(path)
    config = moved_with(run.path, TrainConfig.from_json(run.config()))
    file = read_classifier_file(run.path / CLASSIFIER_NAME)
    classifier, decoder = new_networks(file, config)
    best = run.load(BEST)
    try:
        decoder.load_state_dict(best["model"])
    except (KeyError, RuntimeError) as error:
        raise RunError(
            f"{path}/{BEST}.pt is no decoder on the encoder in {CLASSIFIER_NAME}: the files of two runs were "
            "mixed. Restore them, or train anew in another folder."
        ) from error
    return Localizer(
        classifier.to(device, memory_format=torch.channels_last),
        decoder.eval().requires_grad_(False).to(device, memory_format=torch.channels_last),
        config,
        run.inputs(),
        _threshold(run.path / THRESHOLD_NAME, best.get("epoch")),
        file,
    )


def _threshold(path: Path, epoch: int | None) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        chosen = json.loads(path.read_text())
        value = fixed_threshold(str(chosen["value"]))
        # A run that goes on may have a better checkpoint already, of which no tau was chosen yet.
        return {**chosen, "value": value} if chosen.get("epoch") == epoch else None
    except (ValueError, TypeError, KeyError, ConfigError) as error:
        raise RunError(
            f"{path} is damaged. Delete it and give --threshold, or train anew in another folder."
        ) from error
