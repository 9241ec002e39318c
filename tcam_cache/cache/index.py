"""Where each shot lies on the cache's one frame axis."""

import difflib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Self

from tcam_cache.errors import CacheError
from tcam_cache.provenance import sha256_of


@dataclass(frozen=True)
class ShotIndex:
    """The shots of a cache, in its order, one entry per shot in every field.

    Attributes:
        ids: the shots' ids.
        tags: their class tags.
        videos: the videos they belong to.
        splits: their splits when the cache was made.
        starts: row of their first frame on the frame axis.
        lengths: their numbers of frames.
    """

    ids: tuple[str, ...]
    tags: tuple[str, ...]
    videos: tuple[str, ...]
    splits: tuple[str, ...]
    starts: tuple[int, ...]
    lengths: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def digest(self) -> str:
        """SHA-256 of every entry."""
        return sha256_of(asdict(self))

    @cached_property
    def positions(self) -> dict[str, int]:
        """Position of each shot id."""
        return {name: position for position, name in enumerate(self.ids)}

    def position(self, shot_id: str) -> int:
        """Return where a shot stands in the index, or raise `CacheError` with the ids that look alike."""
        if shot_id in self.positions:
            return self.positions[shot_id]
        alike = difflib.get_close_matches(shot_id, self.ids, n=5, cutoff=0.5)
        advice = "Close to it are:" if alike else f"Its ids look like {self.ids[0]!r}."
        raise CacheError(f"there is no shot {shot_id!r} among the {len(self)} of this cache. {advice}", alike)

    def rows(self, position: int) -> slice:
        """Return the rows of a shot on the frame axis."""
        return slice(self.starts[position], self.starts[position] + self.lengths[position])

    def chosen(self, positions: Sequence[int]) -> Self:
        """Return the index of some of the shots."""
        columns = asdict(self)
        return type(self)(**{name: tuple(columns[name][at] for at in positions) for name in columns})

    def differences(self, stored: "ShotIndex") -> list[str]:
        """List the shots that are not the same in a stored index: id, tag and length at each position."""
        return [
            f"shot {position}: {_row(self, position)}, not {_row(stored, position)}"
            for position in range(max(len(self), len(stored)))
            if _row(self, position) != _row(stored, position)
        ]


def _row(index: ShotIndex, position: int) -> str:
    columns: Sequence[Sequence] = (index.ids, index.tags, index.lengths)
    if position >= len(index):
        return "none"
    name, tag, length = (column[position] for column in columns)
    return f"{name} ({tag}, {length} frames)"
