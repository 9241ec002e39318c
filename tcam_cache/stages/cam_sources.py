"""The caches that a decoder is trained on: one, or two whose CAMs are averaged frame by frame."""

from collections.abc import Sequence

from tcam_cache.cache import CamCache
from tcam_cache.config import TrainConfig
from tcam_cache.datasets import Manifest
from tcam_cache.errors import CacheError
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


def run_inputs(caches: Sequence[CamCache]) -> dict[str, object]:
    """Return what a run learns from, as JSON-able values: everything that changes a CAM."""
    names = ("cache", "second_cache")
    return {name: dict(cache.settings) for name, cache in zip(names, caches, strict=False)}
