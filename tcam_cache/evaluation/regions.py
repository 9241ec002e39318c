"""Connected components of a map at every threshold at once, and the areas of their contours."""

from dataclasses import dataclass

import numpy as np
from skimage.measure import label


@dataclass(frozen=True)
class MergeForest:
    """The basins of a map and how they join, on a grid padded by one pixel of level 0.

    Attributes:
        width: of the padded grid, W + 2.
        levels: ((H + 2) * (W + 2),) int64; the mask of threshold k holds the pixels with level > k.
        rank: like levels, int64; a total order of the pixels that refines the levels, the pixel's index
            in its lowest `index_bits` bits.
        index_bits: see `rank`.
        basin: like levels, int64; the basin of each pixel, -1 where the level is 0.
        count: number of basins, B.
        merges: (kept, absorbed, saddle) in falling order of saddle: below threshold `saddle` the absorbed
            basin's pixels belong to the kept one.
    """

    width: int
    levels: np.ndarray
    rank: np.ndarray
    index_bits: int
    basin: np.ndarray
    count: int
    merges: tuple[tuple[int, int, int], ...]

    def total(self, pixels: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        """Return sums of weights over components: (B, K) int64, 0 where b is no component at threshold k.

        Args:
            pixels: (P,) indices into the padded grid; a weight counts where its pixel is in the mask.
            weights: (P,) integers, or None for ones.
        """
        shape = self.count, self._thresholds()
        sums = np.bincount(self._cells(pixels), weights, minlength=shape[0] * shape[1])
        table = _from_above(np.add, sums.astype(np.int64).reshape(shape))
        for kept, absorbed, saddle in self.merges:
            table[kept, :saddle] += table[absorbed, :saddle]
            table[absorbed, :saddle] = 0
        return table

    def least(self, pixels: np.ndarray, values: np.ndarray, absent: int) -> np.ndarray:
        """Return minima over each component: (A, B, K) int32, `absent` where b is no component.

        Args:
            pixels: (P,) indices into the padded grid.
            values: (A, P) integers, A attributes of each pixel.
            absent: greater than every value.
        """
        shape = len(values), self.count, self._thresholds()
        table = np.full((shape[0], shape[1] * shape[2]), absent, np.int32)
        cells = self._cells(pixels)
        for row, attribute in zip(table, values.astype(np.int32), strict=True):
            np.minimum.at(row, cells, attribute)
        table = _from_above(np.minimum, table.reshape(shape))
        for kept, absorbed, saddle in self.merges:
            below = table[:, kept, :saddle]
            np.minimum(below, table[:, absorbed, :saddle], out=below)
            table[:, absorbed, :saddle] = absent
        return table

    def _thresholds(self) -> int:
        return int(self.levels.max(initial=0))

    def _cells(self, pixels: np.ndarray) -> np.ndarray:
        return self.basin[pixels] * self._thresholds() + self.levels[pixels] - 1


def merge_forest(scores: np.ndarray, levels: np.ndarray, diagonals: bool = True) -> MergeForest:
    """Find the basins of a map and the saddles at which they join.

    Args:
        scores: (H, W) float32, finite and >= 0; pixels climb along them.
        levels: (H, W) integers >= 0, never falling where the score rises: the thresholds a pixel exceeds.
        diagonals: whether pixels that touch at a corner are neighbours.
    """
    scores, levels = np.pad(scores, 1), np.pad(levels, 1).astype(np.int64)
    index_bits = scores.size.bit_length()
    # Non-negative floats order as their bits do; adding 0 turns -0.0 into 0.0.
    bits = (scores.astype(np.float32) + np.float32(0)).view(np.int32).astype(np.int64)
    rank = bits << index_bits | np.arange(scores.size).reshape(scores.shape)
    peak = _peaks(rank, index_bits, diagonals)
    inside = levels.ravel() > 0
    is_peak = np.zeros(scores.size, bool)
    is_peak[peak[inside]] = True
    basin = np.full(scores.size, -1, np.int64)
    basin[inside] = (np.cumsum(is_peak) - 1)[peak[inside]]
    count = int(is_peak.sum())
    merges = _kruskal(*_saddles(basin.reshape(levels.shape), levels, diagonals), count)
    return MergeForest(levels.shape[1], levels.ravel(), rank, index_bits, basin, count, merges)


def _peaks(rank: np.ndarray, index_bits: int, diagonals: bool) -> np.ndarray:
    """Return the flat index of the peak that each pixel climbs to by steepest ascent."""
    padded = np.pad(rank, 1, constant_values=-1)
    rows = np.maximum(np.maximum(padded[:-2], padded[1:-1]), padded[2:])
    beside = rows if diagonals else padded[1:-1]
    best = np.maximum(np.maximum(beside[:, :-2], rows[:, 1:-1]), beside[:, 2:])
    above = (best & ((1 << index_bits) - 1)).ravel()
    while not np.array_equal(higher := above[above], above):
        above = higher
    return above


def _saddles(
    basin: np.ndarray, levels: np.ndarray, diagonals: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (first, second, level) of the highest saddle of each pair of touching basins, highest first."""
    here = (np.s_[:, :-1], np.s_[:-1], np.s_[:-1, :-1], np.s_[:-1, 1:])
    there = (np.s_[:, 1:], np.s_[1:], np.s_[1:, 1:], np.s_[1:, :-1])
    saddles = []
    for a, b in list(zip(here, there, strict=True))[: None if diagonals else 2]:
        touch = (basin[a] != basin[b]) & (basin[a] >= 0) & (basin[b] >= 0)
        first, second = basin[a][touch], basin[b][touch]
        level = np.minimum(levels[a][touch], levels[b][touch])
        saddles.append((np.minimum(first, second), np.maximum(first, second), level))
    first, second, level = (np.concatenate(parts) for parts in zip(*saddles, strict=True))
    falling = np.argsort(-level, kind="stable")
    count = basin.max(initial=0) + 1
    _, highest = np.unique((first * count + second)[falling], return_index=True)
    kept = falling[np.sort(highest)]
    return first[kept], second[kept], level[kept]


def _kruskal(
    first: np.ndarray, second: np.ndarray, level: np.ndarray, count: int
) -> tuple[tuple[int, int, int], ...]:
    """Join basins along saddles in falling order, each time keeping the root of `first`."""
    root = list(range(count))

    def find(basin: int) -> int:
        """Return the root of a basin, halving the path to it."""
        while root[basin] != basin:
            root[basin] = basin = root[root[basin]]
        return basin

    merges = []
    for a, b, saddle in zip(first.tolist(), second.tolist(), level.tolist(), strict=True):
        kept, absorbed = find(a), find(b)
        if kept != absorbed:
            root[absorbed] = kept
            merges.append((kept, absorbed, saddle))
    return tuple(merges)


def _from_above(operation: np.ufunc, table: np.ndarray) -> np.ndarray:
    """Accumulate along the last axis from the highest threshold down."""
    falling = table[..., ::-1]
    operation.accumulate(falling, axis=-1, out=falling)
    return table


NO_COMPONENT = -1


def extents_of(forest: MergeForest) -> np.ndarray:
    """Return (5, B, K) int32: first pixel in raster order, x0, y0, x1, y1 of each component.

    Right and bottom are exclusive; where row b is no component at threshold k the values mean nothing, except
    that the first pixel is then beyond every real one.
    """
    pixels = np.flatnonzero(forest.levels)
    y, x = np.divmod(pixels, forest.width)
    absent = np.iinfo(np.int32).max
    extents = forest.least(pixels, np.stack([pixels, x - 1, y - 1, -x, -y]), absent)
    np.negative(extents[3:], out=extents[3:])
    return extents


def doubled_areas(forest: MergeForest, extents: np.ndarray) -> np.ndarray:
    """Return twice the area inside the polygon through the centres of each component's outer pixels.

    A block of 2 x 2 pixels holds half a pixel of area when three of them are set and one when four are. That
    is exact for a component without holes, which Euler's number identifies. Where a hole could
    decide which component is the largest, the component is cut out and filled; elsewhere the area is only a
    lower bound, which changes no winner.

    Args:
        forest: of the map.
        extents: (5, B, K) from `extents_of`.

    Returns:
        (B, K) int64, -1 where row b is no component at threshold k.
    """
    areas, holes = _unfilled_areas(forest)
    alive = extents[0] < forest.levels.size
    width, height = (extents[3:] - extents[1:3] - 1).astype(np.int64)
    most = np.where(holes, 2 * width * height, areas)
    areas[~alive] = most[~alive] = NO_COMPONENT
    rivals = most >= areas.max(axis=0)
    doubtful = rivals & holes & (rivals.sum(axis=0) > 1)
    for row, threshold in np.argwhere(doubtful):
        areas[row, threshold] = _filled_area(forest, extents[:, row, threshold], threshold)
    return areas


def _unfilled_areas(forest: MergeForest) -> tuple[np.ndarray, np.ndarray]:
    """Return (B, K) doubled areas of the components as they are, and which of them have holes."""
    pixels = _blocks(forest)
    diagonal = np.abs(np.abs(pixels[0] - pixels[1]) - forest.width) == 1
    one, two = np.ones(diagonal.shape, np.int64), 2 * diagonal.astype(np.int64)
    areas = _block_total(forest, pixels[2:], np.stack([one, one]))
    # 4 x Euler's number of an 8-connected set: blocks with one pixel, minus those with three, minus twice
    # those with a diagonal pair. Listed is what the block's highest, second, third and lowest pixel change.
    euler = _block_total(forest, pixels, np.stack([one, -one - two, two - one, one]))
    return areas, euler < 4


def _block_total(forest: MergeForest, pixels: np.ndarray, changes: np.ndarray) -> np.ndarray:
    inside = forest.levels[pixels] > 0
    return forest.total(pixels[inside], changes[inside])


def _blocks(forest: MergeForest) -> np.ndarray:
    """Return (4, M): the pixels of every 2 x 2 block, highest first."""
    grid = forest.rank.reshape(-1, forest.width)
    a, b, c, d = (grid[rows, columns].ravel() for rows in _SHIFTS for columns in _SHIFTS)
    a, b = np.maximum(a, b), np.minimum(a, b)
    c, d = np.maximum(c, d), np.minimum(c, d)
    a, c = np.maximum(a, c), np.minimum(a, c)
    b, d = np.maximum(b, d), np.minimum(b, d)
    b, c = np.maximum(b, c), np.minimum(b, c)
    return np.stack([a, b, c, d]) & ((1 << forest.index_bits) - 1)


_SHIFTS = (slice(None, -1), slice(1, None))


def _filled_area(forest: MergeForest, extents: np.ndarray, threshold: int) -> int:
    first, x0, y0, x1, y1 = (int(value) for value in extents)
    mask = forest.levels.reshape(-1, forest.width)[y0 + 1 : y1 + 1, x0 + 1 : x1 + 1] > threshold
    components = np.asarray(label(mask, connectivity=2))
    component = components == components[0, first % forest.width - 1 - x0]
    outside = np.asarray(label(np.pad(~component, 1, constant_values=True), connectivity=1))
    filled = (outside != outside[0, 0]).astype(np.int64)
    blocks = np.sum([filled[rows, columns] for rows in _SHIFTS for columns in _SHIFTS], axis=0)
    return int((blocks >= 3).sum() + (blocks == 4).sum())
