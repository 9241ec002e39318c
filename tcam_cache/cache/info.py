"""What is in a cache, in numbers."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tcam_cache.cache.contents import Contents


@dataclass(frozen=True)
class Tally:
    """Counts over some shots: how many there are, are finished, and the finished ones' (flat) frames."""

    shots: int = 0
    committed: int = 0
    frames: int = 0
    flat: int = 0


@dataclass(frozen=True)
class CacheInfo:
    """What is in a cache.

    Attributes:
        path: its folder or URL.
        fingerprint: SHA-256 of format version and settings.
        classes: the classifier's classes, in the order of its logits.
        map_size: (h, w) of the CAMs.
        total: counts over every shot.
        per_class: the same by tag.
        per_split: the same by split.
        bytes: size of all files; None where the store does not tell it.
        files: how many there are.
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
    """Count what is in a cache; reads every commit record, no CAM."""
    marker, index, commits = contents.marker, contents.index, contents.log.all()
    size, files = contents.objects.size()

    def tally(column: tuple[str, ...], value: str) -> Tally:
        """Count the shots that have a value in a column, and what of them is finished."""
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
    """Write a number of bytes with the unit that suits it."""
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
