"""The targets of an evaluation: the decoder of a run, or the CAMs of a cache."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np

from tcam_cache.cache import CamCache
from tcam_cache.config import EvaluateConfig
from tcam_cache.config.evaluate import MAP_SIZE
from tcam_cache.datasets import Manifest
from tcam_cache.datasets.batches import ShotFrame
from tcam_cache.datasets.frames import squashing
from tcam_cache.datasets.manifest_file import CLASSIFIER_NAME
from tcam_cache.datasets.sampling import evenly_spaced
from tcam_cache.errors import CacheError, ExtraError, StorageError, WeightsError
from tcam_cache.files import Place
from tcam_cache.inference.localizer import Localizer
from tcam_cache.inference.maps import FrameMap, box_of, cached_maps
from tcam_cache.models import parse_classifier_file
from tcam_cache.provenance import differences
from tcam_cache.records import Box, FrameSource, Shot
from tcam_cache.window import cam_tmp

# Of a shot that is scored against boxes of its CAMs: neighbours say the same.
PSEUDO_FRAMES = 8


def sampled_as(cache: CamCache, manifest: Manifest) -> Manifest:
    """Return the manifest with the sampling of the cache's manifest.

    Raises:
        CacheError: the cache was built from another manifest.
    """
    sampled = manifest.sampled(cache.settings["every"])
    if sampled.digest() != cache.settings["manifest"]:
        shots = {shot.id: len(shot) for shot in sampled.shots}
        cached = {shot.id: shot.length for shot in cache.shots()}
        differing = [
            f"{shot}: {shots.get(shot, 'no')} frames in the manifest, {cached.get(shot, 'none')} in the cache"
            for shot in sorted({*shots, *cached})
            if shots.get(shot) != cached.get(shot)
        ]
        raise CacheError(
            f"{cache.path} was built from another manifest. Give that one, or build a cache of this one.",
            differing or ["the same shots, but other frames or tags"],
        )
    return sampled


def pseudo_annotated(cache: CamCache, shots: Sequence[Shot], source: FrameSource, workers: int) -> list[Shot]:
    """Return shots whose boxes are those of their cached CAMs: the largest region above Otsu's threshold.

    Evenly spaced frames have one, at most `PSEUDO_FRAMES` of each shot, and none whose map is flat.

    Raises:
        CacheError: the cache lacks shots.
    """
    boxes: dict[str, dict[int, tuple[Box, ...]]] = {shot.id: {} for shot in shots}
    cache.require_complete(list(boxes))
    frames = [(shot, t) for shot in shots for t in evenly_spaced(len(shot), PSEUDO_FRAMES)]
    for item in cached_maps(cache, frames, source, map_size=MAP_SIZE, workers=workers):
        if box := box_of(item.scores, (item.width, item.height), None):
            boxes[item.shot.id][item.t] = (box,)
    return [replace(shot, boxes=boxes[shot.id]) for shot in shots]


DECODER_METHOD = "tcam"
_NAMED_SHOTS = 5


@dataclass(frozen=True)
class EvaluationTarget:
    """A source of maps to be scored.

    Attributes:
        method: "tcam" for a decoder, else the CAM method of the cache.
        classes: the classifier's, in the order of its logits.
        maps: yields the maps of given frames.
        val_split: the split that chooses tau.
        val_tau: the tau stored in a run, or None if it must be chosen now.
        cache: the cache, or None if it cannot be opened.
        out_of_reach: why the cache cannot be opened, or "".
        neighbours: n of the CAM-TMP that a decoder was trained on; 0 for a cache.
        window: "before", "after" or "both", the side of those neighbours.
        facts: recorded in the report's provenance.
    """

    method: str
    classes: tuple[str, ...]
    maps: Callable[[Sequence[ShotFrame]], Iterator[FrameMap]]
    val_split: str
    val_tau: float | None
    cache: CamCache | None
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
        if self.cache is None or not self.cache.shot(shot_id).complete:
            return None, None
        cam = self.cache.window(shot_id, t, 0)[0]
        if not self.neighbours:
            return cam, None
        return cam, cam_tmp(self.cache.window(shot_id, t, self.neighbours, self.window))

    def unshown(self, shots: Sequence[Shot]) -> str:
        """Return a sentence on why the CAMs of some shots cannot be shown, or "" where all can."""
        if self.cache is None:
            return f"The CAMs beside the maps are not shown: {self.out_of_reach}"
        names = list(dict.fromkeys(shot.id for shot in shots if not self.cache.shot(shot.id).complete))
        if not names:
            return ""
        more = ", ..." if len(names) > _NAMED_SHOTS else ""
        return (
            f"The CAMs of {len(names)} shot(s) are not shown: {self.cache.path} lacks "
            f"{', '.join(names[:_NAMED_SHOTS])}{more}. Finish it with `tcam-cache build`."
        )


def open_target(
    config: EvaluateConfig, manifest: Manifest, source: FrameSource, workers: int
) -> tuple[EvaluationTarget, Manifest]:
    """Return the target of `--run` or `--cache`, and the manifest with its cache's sampling.

    Raises:
        CacheError: the cache is of another manifest, or lacks shots of the split.
        RunError: there is no run, or none with a finished epoch.
    """
    find = _cache_target if config.run is None else _run_target
    return find(config, manifest, source, workers)


def _cache_target(
    config: EvaluateConfig, manifest: Manifest, source: FrameSource, workers: int
) -> tuple[EvaluationTarget, Manifest]:
    cache = CamCache.open(cast(Place, config.cache))  # given where no run is
    manifest = sampled_as(cache, manifest)
    needed = {shot.id for name in (config.split, config.val_split) for shot in manifest.split(name)}
    cache.require_complete(sorted(needed))
    if config.cached_frames:
        source = cache.frames(source, sorted(needed))
    target = EvaluationTarget(
        method=cache.settings["method"],
        classes=cache.classes,
        maps=partial(cached_maps, cache, source=source, map_size=config.map_size, workers=workers),
        val_split=config.val_split,
        val_tau=None,
        cache=cache,
        out_of_reach="",
        neighbours=0,
        window="before",
        facts={
            "cache": cache.fingerprint,
            "inputs": {"cache": dict(cache.settings)},
            "classifier": _classifier_settings(cache),
        },
    )
    return target, manifest


def _classifier_settings(cache: CamCache) -> dict[str, Any]:
    """Return the settings of the fit whose classifier made a cache; empty where it does not say."""
    try:
        file = parse_classifier_file(cache.attachment(CLASSIFIER_NAME), f"{cache.path}/{CLASSIFIER_NAME}")
    except (CacheError, WeightsError):
        return {}
    return dict(file.provenance.get("config", {}))


def _run_target(
    config: EvaluateConfig, manifest: Manifest, source: FrameSource, workers: int
) -> tuple[EvaluationTarget, Manifest]:
    localizer = Localizer.open(cast(Path, config.run), config.device).mixing(config.mix, config.scales)
    source = squashing(source, localizer.classifier.preprocessing.interpolation)
    trained, carried = localizer.config, localizer.threshold or {}
    fits = (carried.get("boxes"), carried.get("map_size")) == (config.boxes, config.map_size)
    cache, manifest, out_of_reach = _cache_of_run(localizer, manifest)
    if config.cached_frames:
        source = CamCache.open(trained.cache).frames(
            source, [shot.id for shot in manifest.split(config.split)]
        )
    target = EvaluationTarget(
        method=DECODER_METHOD,
        classes=localizer.classifier.classes,
        maps=partial(
            localizer.maps,
            source=source,
            map_size=config.map_size,
            batch_size=config.batch_size,
            workers=workers,
            tagged=True,
        ),
        val_split=trained.val_split,
        val_tau=carried["value"] if fits else None,
        cache=cache,
        out_of_reach=out_of_reach,
        neighbours=trained.neighbours,
        window=trained.window,
        facts={
            "run": trained.to_json(),
            "inputs": localizer.inputs,
            "classifier": dict(localizer.classifier_file.provenance.get("config", {})),
        },
    )
    return target, manifest


def _cache_of_run(localizer: Localizer, manifest: Manifest) -> tuple[CamCache | None, Manifest, str]:
    """Return a run's cache or None, the manifest with its sampling, and why there is no cache."""
    # The CAMs are only shown beside the decoder's maps: a run can be scored without them.
    try:
        cache = CamCache.open(localizer.config.cache)
        _require_inputs(localizer.inputs, cache)
        return cache, sampled_as(cache, manifest), ""
    except (CacheError, ExtraError, StorageError) as error:
        reason = " ".join([error.message, *error.offenders[:_NAMED_SHOTS]])
        return None, manifest, f"the run's cache was looked for at {localizer.config.cache}: {reason}"


def _require_inputs(inputs: Mapping[str, Any], cache: CamCache) -> None:
    settings = json.loads(json.dumps(dict(cache.settings)))
    if "cache" in inputs and (changed := differences(settings, inputs["cache"])):
        raise CacheError("this is another cache than the run was trained on. Restore that one.", changed)
