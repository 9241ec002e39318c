"""What one process needs to build a cache: the frames, what makes maps of them, and the plan of the cache."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import torch

from tcam_cache.cache import CachePlan, CamWriter
from tcam_cache.cache_config import BuildConfig
from tcam_cache.datasets import Manifest
from tcam_cache.provenance import provenance
from tcam_cache.records import FrameSource, Shot
from tcam_cache.stages.map_origin import MapOrigin, find_origin
from tcam_cache.stages.setup import open_data
from tcam_cache.stages.shot_cams import Counts, store_cams
from tcam_cache.stages.stored_maps import map_settings

# Raise it when the arithmetic of CAMs changes: caches made before are then told apart.
CAM_ALGORITHM = 2


@dataclass(frozen=True)
class Builder:
    """One process's share in a build; opened from the settings alone, in every process anew.

    Attributes:
        config: the settings.
        manifest: sampled as asked for.
        source: reads its frames.
        origin: what makes their maps, on its device.
        plan: what the cache will hold.
    """

    config: BuildConfig
    manifest: Manifest
    source: FrameSource
    origin: MapOrigin
    plan: CachePlan

    @classmethod
    def open(cls, config: BuildConfig) -> Self:
        """Read the manifest and the classifier or the run, and plan the cache.

        Raises:
            ConfigError: a class that the classifier does not know, a layer that is none, and so on.
            RunError: there is no run, or none with a finished epoch.
        """
        manifest, source = open_data(config)
        manifest = manifest.sampled(config.every)
        origin = find_origin(config)
        origin.classifier_file.require_classes(manifest.classes)
        return cls(config, manifest, source, origin, _plan(config, manifest, origin))

    def build(
        self, shots: Sequence[Shot], writer: CamWriter, workers: int, on_frames: Callable[[int], object]
    ) -> Counts:
        """Store the maps of shots; see `store_cams`."""
        files = {shot.id: self.source.files(shot) for shot in shots}
        return store_cams(
            self.origin.maps,
            shots,
            self.source,
            lambda shot_id, cams: writer.write(shot_id, cams, files[shot_id]),
            target=self.config.target,
            image_size=self.origin.image_size,
            batch_size=self.config.batch_size,
            workers=workers,
            on_frames=on_frames,
        )


def _plan(config: BuildConfig, manifest: Manifest, origin: MapOrigin) -> CachePlan:
    device, side = origin.maps.classifier.mean.device, origin.image_size
    with torch.inference_mode():
        height, width = origin.maps(torch.zeros(1, 3, side, side, device=device), 0)[0].maps.shape[-2:]
    settings = {
        "algorithm": CAM_ALGORITHM,
        **origin.settings,
        "input": {"size": side, "resize": "squash, bilinear, antialiased", "colour": "RGB"},
        "maps": map_settings((height, width)),
        # Kernels differ with the batch, and with them the last bits.
        "numerics": {**origin.numerics, "batch_size": config.batch_size},
        "manifest": manifest.digest(),
        "every": config.every,
    }
    recorded = provenance(config=config.to_json(), device=str(device), threads=torch.get_num_threads())
    return CachePlan(origin.classifier_file.classes, manifest.shots, (height, width), settings, recorded)
