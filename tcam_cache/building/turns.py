"""What the shards of `locate` make for each other, and how one waits for it."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

from tcam_cache.cache import CamCache
from tcam_cache.config.sharing import parse_shard
from tcam_cache.datasets import Manifest
from tcam_cache.datasets.frames import frame_source
from tcam_cache.errors import CacheError, RunError
from tcam_cache.training import RunFolder

logger = logging.getLogger(__name__)

# Seconds between two looks, and how often the wait is as long as the look itself took.
LOOK, RESTS = 5.0, 10


def wait_for(is_there: Callable[[], bool], what: str, shard: str | None, minutes: float) -> None:
    """Return when other shards have made something.

    Args:
        is_there: tells whether they have.
        what: they make, a few words.
        shard: of this machine, i/N.
        minutes: to wait; 0 looks once.

    Raises:
        RunError: it is not there in time.
    """
    began, logged = time.monotonic(), False
    while True:
        looked = time.monotonic()
        if is_there():
            return
        now = time.monotonic()
        if now - began >= 60 * minutes:
            index, count = parse_shard(shard)
            others = "the other shards" if index == 0 else f"shard 0/{count}"
            raise RunError(
                f"shard {shard} has done what it can: {what} comes from {others}. Run the same command again "
                "when it is there, or let it wait for it with --wait MINUTES."
            )
        if not logged:
            logger.info("waiting for %s, which other shards make", what)
            logged = True
        time.sleep(max(LOOK, RESTS * (now - looked)))


def is_whole_cache(path: Path, manifest: Manifest) -> bool:
    """Return whether the CAMs and frames of every shot are in a cache."""
    try:
        cache = CamCache.open(path)
        cache.require_complete()
        cache.frames(frame_source(manifest), [shot.id for shot in cache.shots()])
    except CacheError:
        return False
    return True


def is_trained(path: Path) -> bool:
    """Return whether every epoch of a run is in its log."""
    try:
        run = RunFolder.open(path)
        return len(run.log()) >= (run.config()["epochs"] or 1)
    except RunError:
        return False
