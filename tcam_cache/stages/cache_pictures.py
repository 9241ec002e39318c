"""Pictures of a cache: sheets of frames under their CAMs, and shots that move. Nothing here imports torch."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tcam_cache.cache import CachedShot, CamCache
from tcam_cache.datasets import frame_source
from tcam_cache.errors import CacheError
from tcam_cache.evaluation.overlays import contact_sheet, faded, label, overlay_cam, scale, scale_to_width
from tcam_cache.records import FrameSource, Shot
from tcam_cache.stages.attached import attached_manifest
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
    """Return frames of one shot under their CAMs, evenly through its time, as one picture.

    Raises:
        CacheError: the shot is not finished, or the cache keeps no manifest.
        FrameError: a frame cannot be read.
    """
    manifest = attached_manifest(cache, root)
    shot, source = manifest.shot(shot_id), frame_source(manifest)
    chosen = np.linspace(0, len(shot) - 1, min(len(shot), SHOWN_FRAMES), dtype=int).tolist()
    names = [f"{t}  {shot.frames[t]}" for t in chosen]
    return contact_sheet(_tiles(cache, shot, source, chosen, names), COLUMNS)


def class_sheet(cache: CamCache, root: Path | None) -> np.ndarray:
    """Return one row a class: a few frames of a few shots under their CAMs, from several videos if possible.

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
        shown, tiles = _shots_to_show([shot for shot in finished if shot.tag == tag]), []
        for cached in shown:
            shot = manifest.shot(cached.id)
            chosen = _middles(len(shot), COLUMNS // len(shown))
            tiles += _tiles(cache, shot, source, chosen, [f"{shot.id}  {t}" for t in chosen])
        counts = f"{tally.committed:,} of {tally.shots:,} shots, {tally.frames:,} frames, {tally.flat:,} flat"
        rows.append(label(contact_sheet(tiles, COLUMNS), f"{tag}: {counts}", HEADING))
    return contact_sheet(rows, 1, gap=14)


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


def _tiles(
    cache: CamCache, shot: Shot, source: FrameSource, chosen: Sequence[int], names: Sequence[str]
) -> list[np.ndarray]:
    cams, flat = cache.cams(shot.id), cache.stats(shot.id).flat
    tiles = []
    for t, name in zip(chosen, names, strict=True):
        frame = scale_to_width(source.read(shot, t).pixels, TILE_WIDTH)
        picture = faded(frame) if flat[t] else overlay_cam(frame, cams[t])
        tiles.append(label(picture, f"flat  {name}" if flat[t] else name))
    return tiles


def _middles(length: int, parts: int) -> list[int]:
    """Return the middle frame of each of some equal parts of a shot, none twice."""
    return sorted({int((part + 0.5) * length / parts) for part in range(parts)})


def _shots_to_show(shots: Sequence[CachedShot]) -> list[CachedShot]:
    """Choose a few shots, evenly through the list, of different videos where there are enough."""
    videos = list({shot.video: shot for shot in reversed(shots)}.values())[::-1]
    among = videos if len(videos) >= SHOTS_PER_CLASS else shots
    at = np.linspace(0, len(among) - 1, min(len(among), SHOTS_PER_CLASS), dtype=int)
    return [among[position] for position in at]
