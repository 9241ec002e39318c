"""Connected components of a map at every threshold at once, 8- or 4-connected.

Every pixel climbs to a peak; the pixels of one peak are its basin. Lowering the threshold, a basin grows by
its own pixels and joins a neighbour at their highest common saddle. So one pass over the saddles in falling
order (Kruskal) yields, for each threshold, every component and the sums and minima over its pixels, without
labelling any mask.
"""

from dataclasses import dataclass

import numpy as np


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
        """Sum weights over each component: (B, K) int64, row b and threshold k, 0 where b is no component.

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
        """Take minima over each component: (A, B, K) int32, `absent` where b is no component.

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
    peaks, labels = np.unique(peak[inside], return_inverse=True)
    basin = np.full(scores.size, -1, np.int64)
    basin[inside] = labels
    merges = _kruskal(*_saddles(basin.reshape(levels.shape), levels, diagonals), count=len(peaks))
    return MergeForest(levels.shape[1], levels.ravel(), rank, index_bits, basin, len(peaks), merges)


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
    """Return (one, other, level) of the highest saddle of each pair of touching basins, highest first."""
    here = (np.s_[:, :-1], np.s_[:-1], np.s_[:-1, :-1], np.s_[:-1, 1:])
    there = (np.s_[:, 1:], np.s_[1:], np.s_[1:, 1:], np.s_[1:, :-1])
    found = []
    for a, b in list(zip(here, there, strict=True))[: None if diagonals else 2]:
        touch = (basin[a] != basin[b]) & (basin[a] >= 0) & (basin[b] >= 0)
        one, other = basin[a][touch], basin[b][touch]
        level = np.minimum(levels[a][touch], levels[b][touch])
        found.append((np.minimum(one, other), np.maximum(one, other), level))
    one, other, level = (np.concatenate(parts) for parts in zip(*found, strict=True))
    falling = np.argsort(-level, kind="stable")
    count = basin.max(initial=0) + 1
    _, highest = np.unique((one * count + other)[falling], return_index=True)
    kept = falling[np.sort(highest)]
    return one[kept], other[kept], level[kept]


def _kruskal(
    one: np.ndarray, other: np.ndarray, level: np.ndarray, count: int
) -> tuple[tuple[int, int, int], ...]:
    """Join basins along saddles in falling order, each time keeping the root of `one`."""
    root = list(range(count))

    def find(basin: int) -> int:
        """Return the basin that one has been merged into, halving the path to it."""
        while root[basin] != basin:
            root[basin] = basin = root[root[basin]]
        return basin

    merges = []
    for a, b, saddle in zip(one.tolist(), other.tolist(), level.tolist(), strict=True):
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
