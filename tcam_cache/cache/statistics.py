"""What the finished CAMs of each class look like, in a few numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tcam_cache.cache.contents import Contents
from tcam_cache.cache.layout import CAM, STAT_COLUMNS

# So many bytes of maps a class are read: thousands of maps of the usual size, in a moment.
SAMPLE_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class CamStatistics:
    """What the finished CAMs of one class look like; None where there is nothing to say it of.

    Attributes:
        frames: finished ones; the next three numbers are of all of them.
        flat: share of them whose map is constant.
        raw_max: median of the maps' maxima before they were scaled.
        agreement: share of them whose first predicted class is the tag; None without logits.
        maps_read: the next two numbers are of so many maps, of whole shots drawn at random.
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
        values = contents.arrays.column(CAM, index.rows(at))
        maps.append(contents.sound(index.ids[at], values))
        room -= values.nbytes
        if room <= 0:
            break
    return np.concatenate(maps)
