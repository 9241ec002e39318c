"""What an evaluation is about: a run's decoder or a cache's CAMs, each a source of maps for frames."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tcam_cache.cache import CamCache
from tcam_cache.config import EvaluateConfig
from tcam_cache.datasets import Manifest
from tcam_cache.errors import CacheError, ExtraError, StorageError
from tcam_cache.records import FrameSource, Shot
from tcam_cache.stages.cam_sources import as_one, open_caches, require_inputs, sampled_as_all
from tcam_cache.stages.loading import ShotFrame
from tcam_cache.stages.localizer import Localizer, open_localizer
from tcam_cache.stages.maps import FrameMap, cached_maps, decoder_maps
from tcam_cache.stages.setup import find_device, sampled_as
from tcam_cache.window import cam_tmp

DECODER_METHOD = "tcam"
_NAMED_SHOTS = 5


@dataclass(frozen=True)
class Subject:
    """What is scored.

    Attributes:
        method: "tcam" for a decoder, else the CAM method of the cache.
        classes: the classifier's, in the order of its logits.
        maps: yields the maps of given frames.
        val_split: the split that chooses tau.
        val_tau: the tau a run carries, or None where it must be chosen now.
        caches: where the cached CAMs are, which stand for their mean; none where they are out of reach.
        out_of_reach: why there are no caches, or "".
        neighbours: n of the CAM-TMP that a decoder was trained on; 0 for a cache.
        window: where those neighbours lie.
        facts: recorded in the report's provenance.
    """

    method: str
    classes: tuple[str, ...]
    maps: Callable[[Sequence[ShotFrame]], Iterator[FrameMap]]
    val_split: str
    val_tau: float | None
    caches: Sequence[CamCache]
    out_of_reach: str
    neighbours: int
    window: str
    facts: dict[str, Any]

    @property
    def is_decoder(self) -> bool:
        """Whether the maps come from a decoder."""
        return self.method == DECODER_METHOD

    def cams_of(self, shot_id: str, t: int) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Return the cached CAM of a frame and its CAM-TMP, each None where there is none to show."""
        if not self.caches or self._lacks(shot_id):
            return None, None
        cams = as_one(self.caches)
        cam = cams.window(shot_id, t, 0)[0]
        if not self.neighbours:
            return cam, None
        return cam, cam_tmp(cams.window(shot_id, t, self.neighbours, self.window))

    def unshown(self, shots: Sequence[Shot]) -> str:
        """Return a sentence on why the CAMs of some shots cannot be shown, or "" where all can."""
        if self.out_of_reach:
            return f"The CAMs beside the maps are not shown: {self.out_of_reach}"
        names = list(dict.fromkeys(shot.id for shot in shots if self._lacks(shot.id)))
        if not names:
            return ""
        places = " or ".join(str(cache.path) for cache in self.caches)
        more = ", ..." if len(names) > _NAMED_SHOTS else ""
        return (
            f"The CAMs of {len(names)} shot(s) are not shown: {places} lacks "
            f"{', '.join(names[:_NAMED_SHOTS])}{more}. Finish it with `tcam-cache build`."
        )

    def _lacks(self, shot_id: str) -> bool:
        return not all(cache.shot(shot_id).complete for cache in self.caches)


def find_subject(
    config: EvaluateConfig, manifest: Manifest, source: FrameSource, workers: int
) -> tuple[Subject, Manifest]:
    """Return what `--run` or `--cache` names, and the manifest as its cache sampled it.

    Raises:
        CacheError: the cache is of another manifest, or lacks shots of the split.
        RunError: there is no run, or none with a finished epoch.
    """
    find = _cache_subject if config.run is None else _run_subject
    return find(config, manifest, source, workers)


def _cache_subject(
    config: EvaluateConfig, manifest: Manifest, source: FrameSource, workers: int
) -> tuple[Subject, Manifest]:
    cache = CamCache.open(config.cache)
    manifest = sampled_as(cache, manifest)
    wanted = {shot.id for name in (config.split, config.val_split) for shot in manifest.split(name)}
    cache.require_complete(sorted(wanted))
    if config.cached_frames:
        source = cache.frames(source, sorted(wanted))
    subject = Subject(
        method=cache.settings["method"],
        classes=cache.classes,
        maps=partial(cached_maps, cache, source=source, map_size=config.map_size, workers=workers),
        val_split=config.val_split,
        val_tau=None,
        caches=[cache],
        out_of_reach="",
        neighbours=0,
        window="before",
        facts={"cache": cache.fingerprint},
    )
    return subject, manifest


def _run_subject(
    config: EvaluateConfig, manifest: Manifest, source: FrameSource, workers: int
) -> tuple[Subject, Manifest]:
    localizer = open_localizer(config.run, find_device(config.device))
    trained, carried = localizer.config, localizer.threshold or {}
    fits = (carried.get("boxes"), carried.get("map_size")) == (config.boxes, config.map_size)
    caches, manifest, out_of_reach = _caches_of_run(localizer, manifest)
    if config.cached_frames:
        source = CamCache.open(trained.cache).frames(
            source, [shot.id for shot in manifest.split(config.split)]
        )
    subject = Subject(
        method=DECODER_METHOD,
        classes=localizer.classifier.classes,
        maps=partial(
            decoder_maps,
            localizer.classifier,
            localizer.decoder,
            source=source,
            image_size=trained.image_size,
            map_size=config.map_size,
            batch_size=config.batch_size,
            workers=workers,
        ),
        val_split=trained.val_split,
        val_tau=carried["value"] if fits else None,
        caches=caches,
        out_of_reach=out_of_reach,
        neighbours=trained.neighbours,
        window=trained.window,
        facts={"run": trained.to_json()},
    )
    return subject, manifest


def _caches_of_run(localizer: Localizer, manifest: Manifest) -> tuple[list[CamCache], Manifest, str]:
    """Return a run's caches, the manifest as they sampled it, and why there are none, if so."""
    # The CAMs are only shown beside the decoder's maps: a run is scored just as well without them.
    places = [str(one) for one in (localizer.config.cache, localizer.config.second_cache) if one is not None]
    try:
        caches = open_caches(localizer.config)
        require_inputs(localizer.inputs, caches)
        return caches, sampled_as_all(caches, manifest), ""
    except (CacheError, ExtraError, StorageError) as error:
        reason = " ".join([error.message, *error.offenders[:_NAMED_SHOTS]])
        return [], manifest, f"the run's cache was looked for at {' and '.join(places)}: {reason}"
