"""The caches that a decoder is trained on: one, or two whose CAMs are averaged frame by frame."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tcam_cache.cache import CamCache
from tcam_cache.config import TrainConfig
from tcam_cache.datasets import Manifest
from tcam_cache.errors import CacheError
from tcam_cache.place import Place
from tcam_cache.provenance import differences
from tcam_cache.records import CamSource
from tcam_cache.stages.setup import sampled_as
from tcam_cache.training import MeanCams


def open_caches(config: TrainConfig) -> list[CamCache]:
    """Open the caches of a run, the one with its classifier first.

    Raises:
        CacheError: there is none, or a damaged one.
    """
    places = [config.cache] if config.second_cache is None else [config.cache, config.second_cache]
    return [CamCache.open(place) for place in places]


def moved_with(run: Path, config: TrainConfig) -> TrainConfig:
    """Return a run's settings with its caches where they are found now.

    Paths of earlier versions are relative to the folder that the run was trained from; and a run may have
    been moved together with its caches. Seen from the run, a cache lies where it lay in both cases. Where
    there is none, the settings stay.
    """

    def now(cache: Place | None) -> Place | None:
        """Return the first place that is there."""
        if cache is None or isinstance(cache, str):
            return cache
        beside = Path(os.path.normpath(run.absolute() / os.path.relpath(cache, config.out)))
        places = [cache, beside] if cache.is_absolute() else [beside, cache]
        return next((place for place in places if place.exists()), places[0])

    return replace(config, cache=now(config.cache), second_cache=now(config.second_cache))


def require_inputs(inputs: Mapping[str, Any], caches: Sequence[CamCache]) -> None:
    """Make sure that these are the caches that a run was trained on, as far as it kept what they were.

    Raises:
        CacheError: one was made with other settings (named).
    """
    for name, found in json.loads(json.dumps(run_inputs(caches))).items():
        if name in inputs and (changed := differences(found, inputs[name])):
            raise CacheError("this is another cache than the run was trained on. Restore that one.", changed)


def sampled_as_all(caches: Sequence[CamCache], manifest: Manifest) -> Manifest:
    """Return the manifest sampled as the caches' were.

    Raises:
        CacheError: a cache was built from another manifest, or two hold different frames.
    """
    first, *others = (sampled_as(cache, manifest) for cache in caches)
    for cache, other in zip(caches[1:], others, strict=True):
        if other.digest() != first.digest():
            frames = " and ".join(f"--every {one.settings['every']}" for one in (caches[0], cache))
            raise CacheError(
                f"{caches[0].path} and {cache.path} were built with {frames}: their frames differ. "
                "Build both with the same."
            )
    return first


def cam_source(caches: Sequence[CamCache]) -> CamSource:
    """Return what reads the CAMs of a cache, or the mean CAMs of two, for training.

    Raises:
        CacheError: a cache has no finished shot, or is damaged.
        StorageError: there is no room for a pack anywhere.
    """
    return as_one([cache.pack() for cache in caches])


def as_one(sources: Sequence[CamSource]) -> CamSource:
    """Return the one source there is, or the mean of two."""
    first, *second = sources
    return MeanCams(first, *second) if second else first


def run_inputs(caches: Sequence[CamCache]) -> dict[str, Any]:
    """Return what a run learns from, as JSON-able values: everything that changes a CAM."""
    names = ("cache", "second_cache")
    return {name: dict(cache.settings) for name, cache in zip(names, caches, strict=False)}
