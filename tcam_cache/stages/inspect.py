"""Inspect a cache: counts, statistics by class, and images of classes and shots."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tcam_cache.cache import CachedShot, CamCache, CamStatistics
from tcam_cache.config import InspectConfig
from tcam_cache.datasets import frame_source
from tcam_cache.datasets.manifest_file import attached_manifest
from tcam_cache.errors import CacheError
from tcam_cache.evaluation.report.pictures import (
    contact_sheet,
    faded,
    justified_rows,
    label,
    overlay_cam,
    save_gif,
    save_image,
    save_mp4,
    scale,
    scale_to_width,
    stacked,
)
from tcam_cache.records import FrameSource, Shot
from tcam_cache.window import cam_tmp, window_indices

TILE_WIDTH = 240
SHOWN_FRAMES = 24
COLUMNS = 6
SHOTS_PER_CLASS = 2
SHOWN_CLASSES = 60
HEADING = 20
# n of the CAM-TMP beside each CAM, as published.
NEIGHBOURS = 1


def shot_sheet(cache: CamCache, shot_id: str, root: Path | None) -> np.ndarray:
    """Return one image of evenly spaced frames of a shot with their CAMs overlaid.

    Raises:
        CacheError: the shot is not finished, or the cache keeps no manifest.
        FrameError: a frame cannot be read.
    """
    manifest = attached_manifest(cache, root)
    shot, source = manifest.shot(shot_id), frame_source(manifest)
    chosen = np.linspace(0, len(shot) - 1, min(len(shot), SHOWN_FRAMES), dtype=int).tolist()
    names = [f"{t}  {shot.frames[t]}" for t in chosen]
    return justified_rows(_pictures(cache, shot, source, chosen, names), COLUMNS, TILE_WIDTH)


def class_sheet(cache: CamCache, root: Path | None) -> np.ndarray:
    """Return one image with a row per class: frames of a few shots, from several videos if possible.

    Raises:
        CacheError: no shot is finished, or the cache keeps no manifest.
        FrameError: a frame cannot be read.
    """
    manifest = attached_manifest(cache, root)
    source, finished = (
        frame_source(manifest),
        [shot for shot in cache.shots() if shot.complete],
    )
    if not finished:
        raise CacheError(f"no shot of {cache.path} is finished yet. Run `tcam-cache build` first.")
    tallies = {tag: tally for tag, tally in cache.info().per_class.items() if tally.committed}
    rows = []
    for tag, tally in list(tallies.items())[:SHOWN_CLASSES]:
        shown, pictures = _shots_to_show([shot for shot in finished if shot.tag == tag]), []
        for cached in shown:
            shot = manifest.shot(cached.id)
            chosen = _middles(len(shot), COLUMNS // len(shown))
            pictures += _pictures(cache, shot, source, chosen, [f"{shot.id}  {t}" for t in chosen])
        counts = f"{tally.committed:,} of {tally.shots:,} shots, {tally.frames:,} frames, {tally.flat:,} flat"
        sheet = justified_rows(pictures, COLUMNS, TILE_WIDTH)
        rows.append(label(sheet, f"{tag}: {counts}", HEADING))
    return stacked(rows, gap=14)


def shot_animation(cache: CamCache, shot_id: str, root: Path | None) -> Iterator[np.ndarray]:
    """Yield each frame of a shot, its CAM and its CAM-TMP side by side, all of the first frame's size.

    Raises:
        CacheError: the shot is not finished, or the cache keeps no manifest.
        FrameError: a frame cannot be read.
    """
    manifest = attached_manifest(cache, root)
    shot, cams = manifest.shot(shot_id), cache.cams(shot_id)
    source = frame_source(manifest)
    flat = cache.stats(shot_id).flat
    height = 0
    for t in range(len(shot)):
        pixels = source.read(shot, t).pixels
        height = height or max(1, round(pixels.shape[0] * TILE_WIDTH / pixels.shape[1]))
        frame = scale(pixels, TILE_WIDTH, height)
        peak = cam_tmp(cams[list(window_indices(t, NEIGHBOURS, len(shot)))])
        method = f"{cache.settings['method']}{', flat' if flat[t] else ''}"
        tiles = {
            f"{shot.tag}  {t + 1} of {len(shot)}": frame,
            method: overlay_cam(frame, cams[t]),
            f"CAM-TMP, n = {NEIGHBOURS}": overlay_cam(frame, peak),
        }
        yield contact_sheet([label(tile, text) for text, tile in tiles.items()], len(tiles))


def _pictures(
    cache: CamCache, shot: Shot, source: FrameSource, chosen: Sequence[int], names: Sequence[str]
) -> list[tuple[np.ndarray, str]]:
    cams, flat = cache.cams(shot.id), cache.stats(shot.id).flat
    pictures = []
    for t, name in zip(chosen, names, strict=True):
        frame = scale_to_width(source.read(shot, t).pixels, TILE_WIDTH)
        picture = faded(frame) if flat[t] else overlay_cam(frame, cams[t])
        pictures.append((picture, f"flat  {name}" if flat[t] else name))
    return pictures


def _middles(length: int, parts: int) -> list[int]:
    """Return the middle frame of each of `parts` equal parts of a shot, without repeats."""
    return sorted({int((part + 0.5) * length / parts) for part in range(parts)})


def _shots_to_show(shots: Sequence[CachedShot]) -> list[CachedShot]:
    """Return a few evenly spaced shots, of different videos if possible."""
    videos = list({shot.video: shot for shot in reversed(shots)}.values())[::-1]
    among = videos if len(videos) >= SHOTS_PER_CLASS else shots
    at = np.linspace(0, len(among) - 1, min(len(among), SHOTS_PER_CLASS), dtype=int)
    return [among[position] for position in at]


@dataclass(frozen=True)
class InspectReport:
    """The result of an inspection.

    Attributes:
        values: as JSON values.
        text: the same as readable text.
    """

    values: dict[str, Any]
    text: str

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return self.values

    def to_text(self) -> str:
        """Return the result as readable text."""
        return self.text


def inspect_cache(config: InspectConfig) -> InspectReport:
    """Summarise a cache, or one of its shots, and draw the requested images.

    Raises:
        CacheError: there is no such cache or shot, or the shot is not finished.
        ExtraError: a video is requested, but the extra that writes it is not installed.
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
