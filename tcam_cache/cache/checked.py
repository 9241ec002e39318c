"""Every finished shot in turn, read many at a time and compared with what was committed."""

from collections.abc import Iterator, Mapping

import numpy as np

from tcam_cache.cache.commits import Commit, content_digest
from tcam_cache.cache.contents import Contents
from tcam_cache.cache.index import ShotIndex
from tcam_cache.errors import CacheError

BATCH_BYTES = 32 * 1024 * 1024


def finished_shots(contents: Contents) -> dict[int, Commit]:
    """Return the record of every finished shot by its position, in order.

    Raises:
        CacheError: no shot is finished.
    """
    commits = contents.log.all()
    if not commits:
        raise CacheError(
            f"no shot of {contents.objects.where()} is finished yet. Run `tcam-cache build` first."
        )
    return commits


def checked_shots(
    contents: Contents, commits: Mapping[int, Commit]
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield each shot's position, maps (T, h, w) float16 and statistics (T, k) float32.

    Raises:
        CacheError: they are not what was committed.
    """
    index, limit = contents.index, BATCH_BYTES // (2 * np.prod(contents.marker.map_size, dtype=int)) + 1
    for batch in _batches(index, list(commits), limit):
        first, last = index.rows(batch[0]).start, index.rows(batch[-1]).stop
        maps, stats = contents.arrays.read(slice(first, last))
        for position in batch:
            rows = slice(index.starts[position] - first, index.rows(position).stop - first)
            if content_digest(maps[rows], stats[rows]) != commits[position].sha256:
                raise CacheError(
                    f"shot {index.ids[position]!r} of {contents.objects.where()} is not what was committed. "
                    "Run `tcam-cache verify` to list the damage."
                )
            yield position, maps[rows], stats[rows]


def _batches(index: ShotIndex, positions: list[int], limit: int) -> Iterator[list[int]]:
    batch: list[int] = []
    for position in positions:
        if batch and index.rows(position).stop - index.starts[batch[0]] > limit:
            yield batch
            batch = []
        batch.append(position)
    if batch:
        yield batch
