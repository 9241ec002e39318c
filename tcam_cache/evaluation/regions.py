"""Connected components of a map at every threshold at once, and the areas of their contours."""

from dataclasses import dataclass

import numpy as np
from skimage.measure import label


@dataclass(frozen=True)
class MergeForest:
    """The components of a map at every threshold, on a grid padded by one pixel of level 0.

    A cell is one component at one threshold. A basin, the pixels that climb to one peak, is a component of
    its own from that peak down to the saddle at which it joins another: a run of cells.

    Attributes:
        width: of the padded grid, W + 2.
        levels: ((H + 2) * (W + 2),) int64; the mask of threshold k holds the pixels with level > k.
        rank: like levels, int64; a total order of the pixels that refines the levels, the pixel's index
            in its lowest `index_bits` bits.
        index_bits: see `rank`.
        cell: like levels, int64; the component of each pixel at the highest threshold whose mask holds it,
            -1 where the level is 0.
        threshold: (C,) int64, the threshold of each cell.
        runs: (start, stop, joined), the cells of a basin from its peak down, and the cell of the component
            that it joins below them, -1 where there is none; a run comes after all that join it.
    """

    width: int
    levels: np.ndarray
    rank: np.ndarray
    index_bits: int
    cell: np.ndarray
    threshold: np.ndarray
    runs: tuple[tuple[int, int, int], ...]

    def total(self, pixels: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        """Return (C,) int64, the sum of weights over each component.

        Args:
            pixels: (P,) indices into the padded grid; a weight counts where its pixel is in the mask.
            weights: (P,) integers, or None for ones.
        """
        sums = np.bincount(self.cell[pixels], weights, minlength=self.threshold.size)
        return self._from_peaks(np.add, sums.astype(np.int64))

    def least(self, pixels: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return (A, C) int32, the minima over each component.

        Args:
            pixels: (P,) indices into the padded grid, of every pixel whose level is not 0.
            values: (A, P) integers, A attributes of each pixel.
        """
        table = np.full((len(values), self.threshold.size), np.iinfo(np.int32).max, np.int32)
        cells = self.cell[pixels]
        for row, attribute in zip(table, values.astype(np.int32), strict=True):
            np.minimum.at(row, cells, attribute)
        return self._from_peaks(np.minimum, table)

    def highest(self, values: np.ndarray) -> np.ndarray:
        """Return (K,) int64, the highest of the components' (C,) values >= -1 at each threshold."""
        highest = np.full(self.levels.max(initial=0), -1)
        np.maximum.at(highest, self.threshold, values)
        return highest

    def _from_peaks(self, operation: np.ufunc, table: np.ndarray) -> np.ndarray:
        """Accumulate (..., C) along the runs, each on into the one that it joins."""
        for start, stop, joined in self.runs:
            run = table[..., start:stop]
            operation.accumulate(run, axis=-1, out=run)
            if joined >= 0:
                table[..., joined] = operation(table[..., joined], run[..., -1])
        return table


def merge_forest(scores: np.ndarray, levels: np.ndarray, diagonals: bool = True) -> MergeForest:
    """Find the components of a map at every threshold.

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
    basin = np.full(scores.size, -1)
    basin[inside] = (np.cumsum(is_peak) - 1)[peak[inside]]
    saddles = _saddles(basin.reshape(levels.shape), levels, diagonals)
    levels = levels.ravel()
    cell = np.full(scores.size, -1)
    cell[inside], threshold, runs = _runs(basin[inside], levels[inside], levels[is_peak], saddles)
    return MergeForest(scores.shape[1], levels, rank, index_bits, cell, threshold, runs)


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


def _runs(
    basin: np.ndarray,
    levels: np.ndarray,
    height: np.ndarray,
    saddles: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> tuple[np.ndarray, np.ndarray, tuple[tuple[int, int, int], ...]]:
    """Return (cell, threshold, runs) of a `MergeForest`, the cells of (P,) pixels.

    Args:
        basin: (P,) of pixels.
        levels: (P,) of pixels, >= 1.
        height: (B,) level of each basin's peak.
        saddles: of `_saddles`.
    """
    absorbed, kept, level = _kruskal(*saddles, height)
    parent, saddle = np.arange(height.size), np.zeros(height.size, np.int64)
    parent[absorbed], saddle[absorbed] = kept, level
    stop = np.cumsum(height - saddle)
    start = stop - (height - saddle)

    def cells_at(basin: np.ndarray, threshold: np.ndarray) -> np.ndarray:
        """Return the cell that holds a basin's pixels at a threshold."""
        owner = basin.copy()
        late = np.flatnonzero(saddle[owner] > threshold)
        while late.size:
            owner[late] = parent[owner[late]]
            late = late[saddle[owner[late]] > threshold[late]]
        return stop[owner] - 1 - (threshold - saddle[owner])

    threshold = np.repeat(start + height - 1, height - saddle) - np.arange(stop[-1] if stop.size else 0)
    joined = np.full(height.size, -1)
    joined[absorbed] = cells_at(kept, level - 1)
    order = np.concatenate([absorbed, np.flatnonzero(saddle == 0)])
    order = order[start[order] < stop[order]]  # a basin that joins at its peak has no cell
    runs = zip(start[order].tolist(), stop[order].tolist(), joined[order].tolist(), strict=True)
    return cells_at(basin, levels - 1), threshold, tuple(runs)


def _kruskal(
    first: np.ndarray, second: np.ndarray, level: np.ndarray, height: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (absorbed, kept, saddle) as basins join, highest saddle first, the lower into the higher."""
    root, heights = list(range(height.size)), height.tolist()

    def find(basin: int) -> int:
        """Return the root of a basin, halving the path to it."""
        while root[basin] != basin:
            root[basin] = basin = root[root[basin]]
        return basin

    merges = []
    for a, b, saddle in zip(first.tolist(), second.tolist(), level.tolist(), strict=True):
        kept, absorbed = find(a), find(b)
        if kept != absorbed:
            if heights[kept] < heights[absorbed]:
                kept, absorbed = absorbed, kept
            root[absorbed] = kept
            merges.append((absorbed, kept, saddle))
    absorbed, kept, saddle = np.array(merges, np.int64).reshape(-1, 3).T
    return absorbed, kept, saddle


def extents_of(forest: MergeForest) -> np.ndarray:
    """Return (5, C) int32: first pixel in raster order, x0, y0, x1, y1 of each component.

    Right and bottom are exclusive.
    """
    pixels = np.flatnonzero(forest.levels)
    y, x = np.divmod(pixels, forest.width)
    extents = forest.least(pixels, np.stack([pixels, x - 1, y - 1, -x, -y]))
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
        extents: (5, C) from `extents_of`.

    Returns:
        (C,) int64.
    """
    areas, holes = _unfilled_areas(forest)
    width, height = (extents[3:] - extents[1:3] - 1).astype(np.int64)
    most = np.where(holes, 2 * width * height, areas)
    rivals = most >= forest.highest(areas)[forest.threshold]
    contested = np.bincount(forest.threshold[rivals])[forest.threshold] > 1
    for cell in np.flatnonzero(rivals & holes & contested):
        areas[cell] = _filled_area(forest, extents[:, cell], forest.threshold[cell])
    return areas


def _unfilled_areas(forest: MergeForest) -> tuple[np.ndarray, np.ndarray]:
    """Return (C,) doubled areas of the components as they are, and which of them have holes."""
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
