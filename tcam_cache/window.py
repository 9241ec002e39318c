"""S(C_t, n): the frames around t within one shot, and CAM-TMP, their maximum through time (TCAM Eq. 1)."""

from typing import Any

MODES = ("before", "after", "both")


def window_indices(t: int, n: int, length: int, mode: str = "before") -> range:
    """Return the positions of frame t and its n neighbours in its shot, oldest first.

    The window is shorter at the ends of the shot and never leaves it (TCAM Eq. 1; n = 1 in the paper).

    Args:
        t: position of the frame in its shot, 0 <= t < length.
        n: number of neighbours on each side that `mode` selects, n >= 0.
        length: number of frames of the shot.
        mode: "before" (the paper), "after" or "both".

    Raises:
        IndexError: t lies outside the shot.
        ValueError: n is negative or the mode unknown.

    >>> list(window_indices(5, n=2, length=10))
    [3, 4, 5]
    >>> list(window_indices(0, n=2, length=10))
    [0]
    """
    if not 0 <= t < length:
        raise IndexError(f"frame {t} is outside a shot of {length} frames")
    if n < 0 or mode not in MODES:
        raise ValueError(f"got n = {n}, mode = {mode!r}; expected n >= 0 and a mode of {MODES}")
    first = t if mode == "after" else max(0, t - n)
    last = t if mode == "before" else min(length - 1, t + n)
    return range(first, last + 1)


def cam_tmp(window: Any) -> Any:
    """Take the elementwise maximum of CAMs through time, without renormalising (CAM-TMP, TCAM Eq. 1).

    Args:
        window: (m, h, w) array or tensor of normalised CAMs in [0, 1], at native resolution.

    Returns:
        (h, w), of the same type and dtype as the window.

    >>> import numpy as np
    >>> cam_tmp(np.array([[[0.1, 0.9]], [[0.4, 0.2]]])).tolist()
    [[0.4, 0.9]]
    """
    return window.amax(0) if hasattr(window, "amax") else window.max(axis=0)
