"""The networks of a run: new ones for its settings, and where the cache is that it was trained on."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from tcam_cache.cams import AUTO, CamExtractor, find_layers
from tcam_cache.config import TrainConfig
from tcam_cache.config.build import METHODS
from tcam_cache.devices import to_device
from tcam_cache.models import Classifier, ClassifierFile, Decoder, fold_batch_norm


def moved_with(run: Path, config: TrainConfig) -> TrainConfig:
    """Return a run's settings with the present path of its cache.

    Earlier versions stored paths relative to the working directory of the training, and a run may have been
    moved together with its cache. In both cases the path of the cache relative to the run is unchanged. If no
    cache is there, the settings stay.
    """
    cache = config.cache
    if isinstance(cache, str):
        return config
    beside = Path(os.path.normpath(run.absolute() / os.path.relpath(cache, config.out)))
    places = [cache, beside] if cache.is_absolute() else [beside, cache]
    return replace(config, cache=next((place for place in places if place.exists()), places[0]))


def new_networks(
    file: ClassifierFile, config: TrainConfig, cache: Mapping[str, Any], device: torch.device
) -> tuple[Classifier, Decoder, CamExtractor]:
    """Return the frozen encoder of a classifier file, a new decoder for it, and its CAMs, on a device.

    Args:
        file: g.pt.
        config: the run's settings; its seed alone decides the decoder's weights.
        cache: settings of the run's cache, whose layers are those of the CAMs; of a cache of other maps than
            a classifier's CAMs they are the known good ones.
        device: of the networks.
    """
    classifier = file.classifier("best_classification")
    known = cache.get("method") in METHODS and "layers" in cache
    method, layers = (cache["method"], cache["layers"]) if known else ("layercam", [AUTO])
    layers = find_layers(classifier, layers)
    classifier = to_device(fold_batch_norm(classifier, spared=layers), device)
    fuse = cache.get("fuse", "max") if known else "geometric"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        decoder = Decoder(
            classifier.channels, config.decoder_width, classifier.strides, config.decoder_stride
        )
    extractor = CamExtractor(classifier, method, layers, fuse=fuse, taps=True)
    return classifier, to_device(decoder, device), extractor
