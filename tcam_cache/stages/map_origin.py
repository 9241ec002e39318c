"""Where the maps of a build come from: a classifier file, or a trained run for a second round."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from tcam_cache.cache_config import BuildConfig
from tcam_cache.cams import (
    CamExtractor,
    ClassifierFile,
    find_layers,
    fold_batch_norm,
    read_classifier_file,
    weights_hash,
)
from tcam_cache.stages.frame_maps import DecoderMaps, FrameMaps
from tcam_cache.stages.localizer import open_localizer
from tcam_cache.stages.setup import find_device

DTYPES = {"none": None, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class MapOrigin:
    """What makes maps of frames, and everything about it that changes a number of theirs.

    Attributes:
        maps: makes them, on its device.
        classifier_file: g.pt, which the cache keeps.
        image_size: side that frames are squashed to.
        settings: of the maker alone, as JSON-able values.
        numerics: of its arithmetic.
    """

    maps: FrameMaps
    classifier_file: ClassifierFile
    image_size: int
    settings: Mapping[str, Any]
    numerics: Mapping[str, Any]


def find_origin(config: BuildConfig) -> MapOrigin:
    """Return what `--classifier` or `--run` names.

    Raises:
        ConfigError: a layer that is none, a method that has no form there, and so on.
        RunError: there is no run, or none with a finished epoch.
        WeightsError: the classifier file is missing or damaged.
    """
    return _classifier_origin(config) if config.run is None else _run_origin(config)


def _classifier_origin(config: BuildConfig) -> MapOrigin:
    file = read_classifier_file(config.classifier)
    classifier = file.classifier("best_localization")
    layers = find_layers(classifier, [name.strip() for name in config.layers.split(",")])
    classifier = fold_batch_norm(classifier, spared=layers)
    classifier = classifier.to(find_device(config.device), memory_format=torch.channels_last)
    extractor = CamExtractor(
        classifier, config.method, layers, compiled=config.compile, amp=DTYPES[config.amp]
    )
    settings = {
        "method": config.method,
        "layers": list(extractor.layers),
        "target": config.target,
        "classifier": _described(file, "best_localization"),
    }
    numerics = {"amp": config.amp, "compile": config.compile}
    return MapOrigin(extractor, file, config.image_size, settings, numerics)


def _run_origin(config: BuildConfig) -> MapOrigin:
    localizer = open_localizer(config.run, find_device(config.device))
    image_size = localizer.config.image_size
    # Cells smaller than a pixel would say the same several times.
    maps = DecoderMaps(localizer.classifier, localizer.decoder, min(config.map_size, image_size))
    settings = {
        "method": "decoder",
        "decoder": {"weights": weights_hash(localizer.decoder.state_dict())},
        "classifier": _described(localizer.classifier_file, "best_classification"),
    }
    return MapOrigin(maps, localizer.classifier_file, image_size, settings, {"amp": "none", "compile": False})


def _described(file: ClassifierFile, checkpoint: str) -> dict[str, Any]:
    return {
        "arch": file.arch,
        "output_stride": file.output_stride,
        "dilated": file.dilated,
        "classes": list(file.classes),
        "weights": file.hashes()[checkpoint],
    }
