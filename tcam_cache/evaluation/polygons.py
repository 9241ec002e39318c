"""Extents of every component of a map, and the areas inside their outlines, as OpenCV measures contours."""

import numpy as np
from skimage.measure import label

from tcam_cache.evaluation.merge_forest import MergeForest

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
    is exact for a component without holes, and Euler's number tells which those are. Where a hole could
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
    components = label(mask, connectivity=2)
    component = components == components[0, first % forest.width - 1 - x0]
    outside = label(np.pad(~component, 1, constant_values=True), connectivity=1)
    filled = (outside != outside[0, 0]).astype(np.int64)
    blocks = sum(filled[rows, columns] for rows in _SHIFTS for columns in _SHIFTS)
    return int((blocks >= 3).sum() + (blocks == 4).sum())
