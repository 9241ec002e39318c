"""Two sources of CAMs as one: their mean, frame by frame."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import interpolate

from tcam_cache.records import CamSource


@dataclass(frozen=True)
class MeanCams:
    """Reads windows of the mean of two sources' CAMs; a `records.CamSource`, picklable as they are.

    Attributes:
        first: one source.
        second: another of the same shots; its CAMs may be of another size.
    """

    first: CamSource
    second: CamSource

    def window(self, shot_id: str, t: int, n: int, mode: str = "before") -> np.ndarray:
        """Return the (m, h, w) float32 mean CAMs in [0, 1] of frame t and its neighbours, oldest first.

        They are as large as the larger ones of the two, to which the others are resized (bilinear).

        Raises:
            CacheError: the shot is not in one of the sources, or not finished.
        """
        pair = [source.window(shot_id, t, n, mode) for source in (self.first, self.second)]
        size = max((maps.shape[1:] for maps in pair), key=math.prod)
        ours, theirs = (_resized(maps, size) for maps in pair)
        return (ours + theirs) / 2


def _resized(maps: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    if maps.shape[1:] == size:
        return maps
    values = torch.from_numpy(maps)[:, None]
    return interpolate(values, size, mode="bilinear", align_corners=False)[:, 0].numpy()
