"""Look into a cache: what it holds, one shot of it, a picture of that shot. Nothing here imports torch."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tcam_cache.cache import CachedShot, CamCache
from tcam_cache.config import InspectConfig
from tcam_cache.datasets import ImageFrames, parse_manifest
from tcam_cache.errors import ConfigError
from tcam_cache.evaluation.overlays import contact_sheet, label, overlay_cam, save_image, scale_to_width

MANIFEST_NAME = "manifest.jsonl"
SHOWN_FRAMES = 24
TILE_WIDTH = 240
COLUMNS = 6


@dataclass(frozen=True)
class InspectReport:
    """What was seen.

    Attributes:
        values: as JSON-able values.
        text: the same for people.
    """

    values: dict[str, Any]
    text: str

    def to_json(self) -> dict[str, Any]:
        """Return what was seen as JSON-able values."""
        return self.values

    def to_text(self) -> str:
        """Return what was seen, for people."""
        return self.text


def inspect_cache(config: InspectConfig) -> InspectReport:
    """Summarise a cache, or one shot of it, and draw the shot's frames with their CAMs.

    Raises:
        CacheError: there is no such cache or shot, or the shot is not finished.
        ConfigError: a picture was asked for without a shot.
    """
    cache = CamCache.open(config.cache)
    if config.shot is None:
        if config.png is not None:
            raise ConfigError("--png draws one shot. Name it: tcam-cache inspect CACHE SHOT --png FILE.")
        info = cache.info()
        return InspectReport(info.to_json(), f"{info.to_text()}\n\n{cache.shots()!r}")
    shot = cache.shot(config.shot)
    values = _shot_values(cache, shot)
    lines = [f"{name:16} {value}" for name, value in values.items()]
    if config.png is not None:
        save_image(config.png, _sheet(cache, shot, config))
        lines.append(f"{'picture':16} {config.png}")
    return InspectReport(values, "\n".join(lines))


def _shot_values(cache: CamCache, shot: CachedShot) -> dict[str, Any]:
    stats = cache.stats(shot.id)
    cams = cache.cams(shot.id)
    first = [cache.classes[index] for index in stats.logits.argmax(1)]
    return {
        "shot": shot.id,
        "tag": shot.tag,
        "split": shot.split,
        "frames": shot.length,
        "maps": f"{cams.shape[1]} x {cams.shape[2]}",
        "flat": int(stats.flat.sum()),
        "raw_min": round(float(stats.raw_min.min()), 6),
        "raw_max": round(float(stats.raw_max.max()), 6),
        "mean_activation": round(float(cams.mean()), 4),
        "predicted": {name: first.count(name) for name in dict.fromkeys(first)},
    }


def _sheet(cache: CamCache, cached: CachedShot, config: InspectConfig) -> np.ndarray:
    attached = cache.attachment(MANIFEST_NAME)
    manifest = parse_manifest(attached, f"{cache.path}/{MANIFEST_NAME}", config.root)
    source, shot, cams = ImageFrames(manifest.root), manifest.shot(cached.id), cache.cams(cached.id)
    tiles = []
    for t in np.linspace(0, len(shot) - 1, min(len(shot), SHOWN_FRAMES), dtype=int):
        frame = scale_to_width(source.read(shot, int(t)).pixels, TILE_WIDTH)
        tiles.append(label(overlay_cam(frame, cams[t]), f"{t}  {shot.frames[t]}"))
    return contact_sheet(tiles, COLUMNS)
