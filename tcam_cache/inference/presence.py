"""Presence through time: what the frames of a shot say together."""

import numpy as np

from tcam_cache.errors import ConfigError

# Presence of 0 or 1 would outweigh any number of neighbours.
SUREST = 1e-4


def presence_over(presence: np.ndarray, radius: int | None = None) -> np.ndarray:
    """Return presence with the mean log-odds of each frame and its neighbours in a shot.

    Where the object stays, neighbours take out what one frame shows badly; where it comes and goes, a wide
    window blurs the moment.

    Args:
        presence: (T,) or (T, C) in [0, 1] of the frames of one shot, in time order.
        radius: frames before and after that count; 0 changes nothing, None takes the whole shot.

    Returns:
        The same shape, float64 in [0, 1].

    Raises:
        ConfigError: the radius is below 0.

    >>> presence_over(np.array([0.9, 0.1, 0.9, 0.9]), 1).round(2).tolist()
    [0.5, 0.68, 0.68, 0.9]
    """
    if radius is not None and radius < 0:
        raise ConfigError(f"got a radius of {radius} frames; expected 0 or more, or None for the shot.")
    values = np.asarray(presence, np.float64)
    if radius == 0 or not len(values):
        return values
    sure = np.clip(values, SUREST, 1 - SUREST)
    odds = np.log(sure / (1 - sure))
    total = np.concatenate([np.zeros_like(odds[:1]), odds.cumsum(0)])
    t = np.arange(len(odds))
    reach = len(odds) if radius is None else radius
    first, last = np.clip(t - reach, 0, None), np.clip(t + reach + 1, None, len(odds))
    counts = (last - first).reshape(-1, *[1] * (odds.ndim - 1))
    return 1 / (1 + np.exp(-(total[last] - total[first]) / counts))
