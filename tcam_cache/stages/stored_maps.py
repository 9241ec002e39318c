"""What whoever fills a cache says of its maps: in the cache's settings, and where they say nothing."""

import logging
from collections.abc import Sequence
from typing import Any

logger = logging.getLogger(__name__)


def map_settings(size: Sequence[int]) -> dict[str, Any]:
    """Return what a cache's settings, and so its fingerprint, hold of its maps.

    Args:
        size: height and width.
    """
    return {"size": list(size), "scaling": "minimum and maximum of the frame", "dtype": "float16"}


def warn_of_flat_maps(flat: int, frames: int) -> None:
    """Say how many of the maps of new frames are flat, if any is."""
    if flat:
        logger.warning("%d of %d new maps are flat: they say nothing of where the object is", flat, frames)
