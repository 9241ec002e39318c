"""Look into a cache: what it holds, one shot of it, pictures of either. Nothing here imports torch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tcam_cache.cache import CachedShot, CamCache, CamStatistics
from tcam_cache.cache_config import InspectConfig
from tcam_cache.evaluation.animation import save_gif, save_mp4
from tcam_cache.evaluation.overlays import save_image
from tcam_cache.stages.cache_pictures import class_sheet, shot_animation, shot_sheet


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
    """Summarise a cache, or one shot of it, and draw what was asked for.

    Raises:
        CacheError: there is no such cache or shot, or the shot is not finished.
        ExtraError: a video was asked for without the extra that writes it.
        FrameError: a frame to be drawn cannot be read.
    """
    cache = CamCache.open(config.cache)
    report = _summary(cache, config) if config.shot is None else _one_shot(cache, config.shot)
    drawn = [f"{name:16} {path}" for name, path in _draw(cache, config).items()]
    return InspectReport(report.values, "\n".join([report.text, *drawn]))


def _draw(cache: CamCache, config: InspectConfig) -> dict[str, Path]:
    drawn = {}
    if config.png is not None:
        if config.shot is None:
            save_image(config.png, class_sheet(cache, config.root))
        else:
            save_image(config.png, shot_sheet(cache, config.shot, config.root))
        drawn["picture"] = config.png
    for name, path, save in (("gif", config.gif, save_gif), ("video", config.mp4, save_mp4)):
        if path is not None and config.shot is not None:
            save(path, shot_animation(cache, config.shot, config.root), config.fps)
            drawn[name] = path
    return drawn


def _summary(cache: CamCache, config: InspectConfig) -> InspectReport:
    info, statistics = cache.info(), cache.statistics(config.seed)
    values = {
        **info.to_json(),
        "cams": {
            "per_class": {tag: asdict(of) for tag, of in statistics.items()},
            "maps_read": sum(of.maps_read for of in statistics.values()),
            "seed": config.seed,
        },
    }
    text = "\n".join([info.to_text(), "", *_cams_table(statistics, config.seed), "", repr(cache.shots())])
    return InspectReport(values, text)


def _cams_table(statistics: Mapping[str, CamStatistics], seed: int) -> list[str]:
    wide = max(len("tag"), *map(len, statistics))
    heads = f"{'flat':>6}  {'raw max':>9}  {'top-1 = tag':>11}  {'mean':>6}  {'> 0.5':>6}  {'maps':>7}"
    lines = [f"  {'tag':<{wide}}  {heads}"]
    for tag, of in statistics.items():
        peak = "-" if of.raw_max is None else f"{of.raw_max:.3g}"
        mean = "-" if of.mean is None else f"{of.mean:.3f}"
        lines.append(
            f"  {tag:<{wide}}  {_percent(of.flat):>6}  {peak:>9}  {_percent(of.agreement):>11}  "
            f"{mean:>6}  {_percent(of.above_half):>6}  {of.maps_read:>7,}"
        )
    frames, read = (sum(getattr(of, name) for of in statistics.values()) for name in ("frames", "maps_read"))
    sample = "all" if read == frames else f"{read:,} maps of shots drawn with seed {seed}"
    lines.append(
        f"  flat, raw max (median) and top-1 of all {frames:,} frames; mean and area > 0.5 of {sample}"
    )
    return lines


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"


def _one_shot(cache: CamCache, shot_id: str) -> InspectReport:
    values = _shot_values(cache, cache.shot(shot_id))
    return InspectReport(values, "\n".join(f"{name:16} {_text(value)}" for name, value in values.items()))


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} in {count}" for name, count in value.items()) or "-"
    return str(value)


def _shot_values(cache: CamCache, shot: CachedShot) -> dict[str, Any]:
    stats = cache.stats(shot.id)
    cams = cache.cams(shot.id)
    first = [cache.classes[row.argmax()] for row in stats.logits if row.size]
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
