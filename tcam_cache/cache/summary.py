"""Summaries of a cache: numbers of shots and flat maps, sizes, and statistics of the maps."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tcam_cache.cache.contents import Contents
from tcam_cache.cache.format import CAM, STAT_COLUMNS


@dataclass(frozen=True)
class Tally:
    """Counts over some shots: all, finished, and frames and flat maps of the finished ones."""

    shots: int = 0
    committed: int = 0
    frames: int = 0
    flat: int = 0


@dataclass(frozen=True)
class CacheInfo:
    """What is in a cache.

    Attributes:
        path: folder or URL of the cache.
        fingerprint: SHA-256 of format version and settings.
        classes: the classifier's classes, in the order of its logits.
        map_size: (h, w) of the CAMs.
        total: counts over every shot.
        per_class: the same by tag.
        per_split: the same by split.
        bytes: size of all files; None if the store does not report it.
        files: number of files.
        settings: everything that changes a stored number.
        recorded: where the cache comes from.
    """

    path: str
    fingerprint: str
    classes: tuple[str, ...]
    map_size: tuple[int, int]
    total: Tally
    per_class: Mapping[str, Tally]
    per_split: Mapping[str, Tally]
    bytes: int | None
    files: int
    settings: Mapping[str, Any]
    recorded: Mapping[str, Any]

    @property
    def complete(self) -> bool:
        """Whether every shot is finished."""
        return self.total.committed == self.total.shots

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON-able values."""
        return {"complete": self.complete, **asdict(self)}

    def to_text(self) -> str:
        """Return a summary for people, a few lines and a table."""
        height, width = self.map_size
        total = self.total
        state = "complete" if self.complete else f"{total.shots - total.committed:,} missing"
        lines = [
            f"CAM cache {self.path}",
            f"  shots        {total.committed:,} of {total.shots:,} finished ({state})",
            f"  frames       {total.frames:,}, {total.flat:,} of them flat",
            f"  maps         {height} x {width}, float16",
            f"  disk         {_size(self.bytes)}" + (f" in {self.files:,} files" if self.files else ""),
            f"  fingerprint  {self.fingerprint}",
            *(f"  {name:<12} {value}" for name, value in self.settings.items()),
            "",
            *_table({**self.per_class, **{f"[{name}]": tally for name, tally in self.per_split.items()}}),
        ]
        return "\n".join(lines)


def cache_info(contents: Contents) -> CacheInfo:
    """Count the shots, frames and bytes of a cache; reads commit records, not CAMs."""
    marker, index, commits = contents.marker, contents.index, contents.log.all()
    size, files = contents.objects.size()

    def tally(column: tuple[str, ...], value: str) -> Tally:
        """Count the shots that have a value in a column of the index."""
        positions = [position for position, entry in enumerate(column) if entry == value]
        done = [commits[position] for position in positions if position in commits]
        return Tally(len(positions), len(done), sum(c.frames for c in done), sum(c.flat for c in done))

    return CacheInfo(
        path=contents.objects.where(),
        fingerprint=marker.fingerprint,
        classes=marker.classes,
        map_size=marker.map_size,
        total=tally(("all",) * len(index), "all"),
        per_class={name: tally(index.tags, name) for name in marker.classes},
        per_split={name: tally(index.splits, name) for name in sorted(set(index.splits))},
        bytes=size,
        files=files,
        settings=marker.settings,
        recorded=marker.recorded,
    )


def _size(count: float | None) -> str:
    """Return a number of bytes as text with a suitable unit."""
    if count is None:
        return "unknown size"
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def _table(rows: Mapping[str, Tally]) -> list[str]:
    wide = max(len("tag, [split]"), *map(len, rows))
    lines = [f"  {'tag, [split]':<{wide}}  {'shots':>7}  {'finished':>8}  {'frames':>9}  {'flat':>7}"]
    for name, row in rows.items():
        counts = f"{row.shots:>7,}  {row.committed:>8,}  {row.frames:>9,}  {row.flat:>7,}"
        lines.append(f"  {name:<{wide}}  {counts}")
    return lines


# Bytes of maps to read per class: thousands of maps of the usual size, read in a moment.
SAMPLE_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class CamStatistics:
    """Statistics of the finished CAMs of one class; None where there is no data.

    Attributes:
        frames: number of finished frames; the next three values are over all of them.
        flat: share of frames whose map is constant.
        raw_max: median of the maps' maxima before they were scaled.
        agreement: share of frames whose top-1 class is the tag; None without logits.
        maps_read: number of maps, of shots drawn at random, behind the next two values.
        mean: mean activation.
        above_half: share of the area above 0.5.
    """

    frames: int
    flat: float | None
    raw_max: float | None
    agreement: float | None
    maps_read: int
    mean: float | None
    above_half: float | None


def cam_statistics(contents: Contents, seed: int) -> dict[str, CamStatistics]:
    """Return the statistics of each class; see `CamCache.statistics`."""
    index, classes = contents.index, contents.marker.classes
    finished = list(contents.log.all())
    stats = contents.stats(finished)
    tags = np.repeat([index.tags[at] for at in finished], [index.lengths[at] for at in finished])
    return {
        tag: _statistics(
            stats[tags == tag],
            number,
            _sample(contents, [at for at in finished if index.tags[at] == tag], [seed, number]),
        )
        for number, tag in enumerate(classes)
    }


def _statistics(stats: np.ndarray, number: int, maps: np.ndarray) -> CamStatistics:
    _, raw_max, flat = stats[:, : len(STAT_COLUMNS)].T
    logits = stats[:, len(STAT_COLUMNS) :]
    some = len(stats) > 0
    return CamStatistics(
        frames=len(stats),
        flat=float(flat.mean()) if some else None,
        raw_max=float(np.median(raw_max)) if some else None,
        agreement=float((logits.argmax(1) == number).mean()) if some and logits.shape[1] else None,
        maps_read=len(maps),
        mean=float(maps.mean(dtype=np.float64)) if len(maps) else None,
        above_half=float((maps > 0.5).mean()) if len(maps) else None,
    )


def _sample(contents: Contents, positions: Sequence[int], seed: Sequence[int]) -> np.ndarray:
    """Read the maps of shots in random order until the sample is full; at least one shot, if there is one."""
    index, (height, width) = contents.index, contents.marker.map_size
    maps, room = [np.zeros((0, height, width), np.float16)], SAMPLE_BYTES
    for at in np.random.default_rng(seed).permutation(np.array(positions, int)).tolist():
        values = contents.column(CAM, index.rows(at))
        maps.append(contents.sound(index.ids[at], values))
        room -= values.nbytes
        if room <= 0:
            break
    return np.concatenate(maps)
