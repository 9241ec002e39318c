"""The sources of maps for a cache: CAMs of a classifier, foreground maps of a run, or your own maps."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch.nn.functional import interpolate

from tcam_cache.building.plugins import open_plugin
from tcam_cache.cams import (
    AUTO,
    CamExtractor,
    Cams,
    ScaledCams,
    find_layers,
    normalise,
    require_cells,
    sides_of,
)
from tcam_cache.config import BuildConfig
from tcam_cache.config.build import parse_scales
from tcam_cache.devices import find_device, to_device
from tcam_cache.inference import Localizer
from tcam_cache.models import (
    Classifier,
    ClassifierFile,
    fold_batch_norm,
    read_classifier_file,
    weights_hash,
)

logger = logging.getLogger(__name__)


def map_settings(size: Sequence[int]) -> dict[str, Any]:
    """Return the part of a cache's settings, and so of its fingerprint, that describes its maps.

    Args:
        size: height and width of the maps.
    """
    return {"size": list(size), "scaling": "minimum and maximum of the frame", "dtype": "float16"}


def warn_of_flat_maps(flat: int, frames: int) -> None:
    """Warn with the number of new maps that are flat, if there are any."""
    if flat:
        logger.warning("%d of %d new maps are flat: they say nothing of where the object is", flat, frames)


class MapNetwork(Protocol):
    """Turns frames into normalised maps and logits; `CamExtractor` is one."""

    @property
    def classifier(self) -> Classifier:
        """The frozen network that the logits are of, on its device."""
        ...

    def __call__(self, images: torch.Tensor, targets: int | str) -> tuple[Cams, torch.Tensor]:
        """Return the maps (B, h, w) of a batch and its (B, C) logits.

        Args:
            images: (B, 3, S, S) RGB in [0, 1].
            targets: class index, or "prediction"; ignored by maps that have no class.
        """
        ...


@dataclass(frozen=True)
class DecoderMaps:
    """Turns frames into the foreground maps S1 of a trained decoder, which do not depend on a class.

    Attributes:
        localizer: the opened run.
        map_size: side of the maps; each cell is the mean of the pixels that it covers.
    """

    localizer: Localizer
    map_size: int

    @property
    def classifier(self) -> Classifier:
        """The frozen network whose features the decoder reads."""
        return self.localizer.classifier

    def __call__(self, images: torch.Tensor, targets: int | str = "prediction") -> tuple[Cams, torch.Tensor]:
        """Return maps (B, map_size, map_size) of (B, 3, S, S) images in [0, 1], and the (B, C) logits."""
        foreground, logits = self.localizer.foreground(images)
        return normalise(_cells(foreground, self.map_size)), logits


def _cells(foreground: torch.Tensor, side: int) -> torch.Tensor:
    # MPS does not support area resizing for sizes that do not divide, so it runs on the CPU.
    if foreground.device.type == "mps":
        foreground = foreground.cpu()
    return interpolate(foreground[:, None], (side, side), mode="area")[:, 0]


DTYPES = {"none": None, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class MapSource:
    """A network that computes maps, with everything that changes their numbers.

    Attributes:
        maps: the network, on its device.
        classifier_file: g.pt, stored in the cache.
        image_size: side that frames are squashed to.
        settings: of the network, as JSON values.
        numerics: settings of its arithmetic.
    """

    maps: MapNetwork
    classifier_file: ClassifierFile
    image_size: int
    settings: Mapping[str, Any]
    numerics: Mapping[str, Any]


def open_map_source(config: BuildConfig) -> MapSource:
    """Open the source of maps that `--classifier`, `--run` or `--maps` names.

    Raises:
        ConfigError: an unknown layer, a method that is not defined at a layer, and so on.
        ExtraError: the package of `--maps` is not installed.
        MapError: the class that `--maps` names cannot be made.
        RunError: there is no run, or none with a finished epoch.
        WeightsError: the classifier file is missing or damaged.
    """
    if config.run is not None:
        return _run_source(config)
    return _classifier_source(config) if config.maps is None else _plugin_source(config, config.maps)


def _classifier_source(config: BuildConfig) -> MapSource:
    file = read_classifier_file(cast(Path, config.classifier))  # given where no run is
    classifier = file.classifier("best_localization")
    names = _layer_names(config)
    layers = find_layers(classifier, names)
    own = "geometric" if AUTO in names else "max"
    fuse = own if config.fuse == "auto" else config.fuse
    classifier = fold_batch_norm(classifier, spared=layers)
    classifier = to_device(classifier, find_device(config.device))
    extractor = CamExtractor(
        classifier, config.method, layers, fuse=fuse, compiled=config.compile, amp=DTYPES[config.amp]
    )
    size = config.image_size or file.frames().size
    scales = parse_scales(config.scales)
    sides = sides_of(scales, size)
    averaged = sides != (size,) or config.flip
    if averaged:
        base = min(sides, key=lambda side: abs(side - size))
        require_cells(extractor, sides, size)
        maps: MapNetwork = ScaledCams(extractor, sides, config.flip, base)
        _log_cost(sides, config.flip, size)
    else:
        maps = extractor
    # Absent for the maximum: caches of earlier versions keep their fingerprints.
    fused = {"fuse": fuse} if len(layers) > 1 and fuse != "max" else {}
    settings = {
        "method": config.method,
        "layers": list(extractor.layers),
        **fused,
        **({"scales": {"sides": list(sides), "flip": config.flip}} if averaged else {}),
        "target": config.target,
        "classifier": _described(file, "best_localization"),
    }
    numerics = {"amp": config.amp, "compile": config.compile}
    return MapSource(maps, file, max(sides), settings, numerics)


def _plugin_source(config: BuildConfig, name: str) -> MapSource:
    file = read_classifier_file(cast(Path, config.classifier))  # as above
    classifier = to_device(file.classifier("best_localization"), find_device(config.device))
    plugin = open_plugin(name, classifier, _layer_names(config))
    settings = {
        "method": name,
        **plugin.settings,
        "target": config.target,
        "classifier": _described(file, "best_localization"),
    }
    size = config.image_size or file.frames().size
    return MapSource(plugin, file, size, settings, {"amp": "none", "compile": False})


def _layer_names(config: BuildConfig) -> list[str]:
    return [name.strip() for name in config.layers.split(",")]


def _log_cost(sides: Sequence[int], flip: bool, size: int) -> None:
    pixels = sum(side**2 for side in sides) * (2 if flip else 1) / size**2
    logger.info(
        "frames of %s pixels%s: %.1f times the work of %d pixels alone",
        ", ".join(map(str, sides)),
        " and their mirror images" if flip else "",
        pixels,
        size,
    )


def _run_source(config: BuildConfig) -> MapSource:
    localizer = Localizer.open(cast(Path, config.run), config.device)
    image_size = localizer.config.image_size
    # Cells smaller than a pixel would repeat values.
    maps = DecoderMaps(localizer, min(config.map_size, image_size // localizer.config.decoder_stride))
    settings = {
        "method": "decoder",
        "decoder": {"weights": weights_hash(localizer.decoder.state_dict())},
        "classifier": _described(localizer.classifier_file, "best_classification"),
    }
    return MapSource(maps, localizer.classifier_file, image_size, settings, {"amp": "none", "compile": False})


def _described(file: ClassifierFile, checkpoint: str) -> dict[str, Any]:
    return {
        "arch": file.arch,
        "output_stride": file.output_stride,
        "dilated": file.dilated,
        "classes": list(file.classes),
        "weights": file.hashes()[checkpoint],
        # Absent for ImageNet's: caches of earlier versions keep their fingerprints.
        **({"preprocessing": dict(file.preprocessing)} if file.preprocessing else {}),
    }
