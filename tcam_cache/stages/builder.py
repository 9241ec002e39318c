"""What one process needs to build CAMs: the frames, the classifier made fast, and the plan of the cache."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import torch

from tcam_cache.cache import CachePlan, CamWriter
from tcam_cache.cache_config import BuildConfig
from tcam_cache.cams import CamExtractor, ClassifierFile, find_layers, fold_batch_norm, read_classifier_file
from tcam_cache.datasets import Manifest
from tcam_cache.errors import ConfigError
from tcam_cache.provenance import provenance
from tcam_cache.records import FrameSource, Shot
from tcam_cache.stages.setup import find_device, open_data
from tcam_cache.stages.shot_cams import Counts, store_cams

# Raise it when the arithmetic of CAMs changes: caches made before are then told apart.
CAM_ALGORITHM = 2
PRECISIONS = {"none": None, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Builder:
    """One process's share in a build; opened from the settings alone, in every process anew.

    Attributes:
        config: the settings.
        manifest: sampled as asked for.
        source: reads its frames.
        classifier_file: g.pt.
        extractor: the frozen classifier on its device, with BatchNorm folded and channels last.
        plan: what the cache will hold.
    """

    config: BuildConfig
    manifest: Manifest
    source: FrameSource
    classifier_file: ClassifierFile
    extractor: CamExtractor
    plan: CachePlan

    @classmethod
    def open(cls, config: BuildConfig) -> Self:
        """Read the manifest and the classifier, and plan the cache.

        Raises:
            ConfigError: a class that the classifier does not know, a layer that is none, and so on.
        """
        manifest, source = open_data(config)
        manifest = manifest.sampled(config.every)
        file = read_classifier_file(config.classifier)
        _check_classes(manifest, file)
        extractor = _extractor(config, file)
        return cls(config, manifest, source, file, extractor, _plan(config, manifest, file, extractor))

    @property
    def device(self) -> torch.device:
        """Where the classifier runs."""
        return self.extractor.classifier.mean.device

    def build(
        self, shots: Sequence[Shot], writer: CamWriter, workers: int, on_frames: Callable[[int], object]
    ) -> Counts:
        """Store the CAMs of shots; see `store_cams`."""
        return store_cams(
            self.extractor,
            shots,
            self.source,
            writer.write,
            target=self.config.target,
            image_size=self.config.image_size,
            batch_size=self.config.batch_size,
            workers=workers,
            on_frames=on_frames,
        )


def _check_classes(manifest: Manifest, file: ClassifierFile) -> None:
    unknown = [name for name in manifest.classes if name not in file.classes]
    if unknown:
        raise ConfigError(
            f"the classifier knows {', '.join(file.classes)}, but not these classes of the manifest. "
            "Fit a classifier on this manifest.",
            unknown,
        )


def _extractor(config: BuildConfig, file: ClassifierFile) -> CamExtractor:
    classifier = file.classifier("best_localization")
    layers = find_layers(classifier, [name.strip() for name in config.layers.split(",")])
    classifier = fold_batch_norm(classifier, spared=layers)
    classifier = classifier.to(find_device(config.device), memory_format=torch.channels_last)
    return CamExtractor(
        classifier, config.method, layers, compiled=config.compile, amp=PRECISIONS[config.amp]
    )


def _plan(
    config: BuildConfig, manifest: Manifest, file: ClassifierFile, extractor: CamExtractor
) -> CachePlan:
    device = extractor.classifier.mean.device
    blank = torch.zeros(1, 3, config.image_size, config.image_size, device=device)
    with torch.inference_mode():
        height, width = extractor(blank, 0)[0].maps.shape[-2:]
    settings = {
        "algorithm": CAM_ALGORITHM,
        "method": config.method,
        "layers": list(extractor.layers),
        "target": config.target,
        "classifier": {
            "arch": file.arch,
            "output_stride": file.output_stride,
            "dilated": file.dilated,
            "classes": list(file.classes),
            "weights": file.hashes()["best_localization"],
        },
        "input": {"size": config.image_size, "resize": "squash, bilinear, antialiased", "colour": "RGB"},
        "maps": {"size": [height, width], "scaling": "minimum and maximum of the frame", "dtype": "float16"},
        "numerics": {"amp": config.amp, "compile": config.compile},
        "manifest": manifest.digest(),
        "every": config.every,
    }
    recorded = provenance(config=config.to_json(), device=str(device), threads=torch.get_num_threads())
    return CachePlan(file.classes, manifest.shots, (height, width), settings, recorded)
