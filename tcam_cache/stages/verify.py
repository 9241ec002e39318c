"""Check a cache: every chunk against the digest in its shot's commit record."""

import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from tcam_cache.cache import CamCache
from tcam_cache.config import VerifyConfig
from tcam_cache.datasets import frame_source
from tcam_cache.datasets.manifest_file import attached_manifest
from tcam_cache.errors import CacheError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class VerifyReport:
    """The result of a check without damage.

    Attributes:
        cache: the cache's folder or URL.
        shots: finished shots, each equal to its commit record.
        missing: shots that are not finished yet.
    """

    cache: str
    shots: int
    missing: int

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON-able values."""
        return asdict(self)

    def to_text(self) -> str:
        """Return the report as one line."""
        unfinished = f"; {self.missing} are not finished" if self.missing else ""
        return f"{self.cache}: {self.shots} shots, each as it was written{unfinished}"


def verify_cache(config: VerifyConfig) -> VerifyReport:
    """Read a whole cache and compare it with its commit records.

    With `sources`, the files of the data set are also compared with those that it was built from.

    Raises:
        CacheError: shots are damaged, or were built from other files; all are listed.
        ManifestError: the data set's folder does not exist.
        StorageError: the store that holds it does not answer.
    """
    cache = CamCache.open(config.cache)
    problems = list(cache.verify())
    if config.sources and not problems:
        problems += _changed_sources(cache, config)
    if problems:
        raise CacheError(
            f"{config.cache} is damaged in {len(problems)} place(s) or out of date; each line says more.",
            problems,
        )
    missing = len(cache.missing())
    return VerifyReport(str(config.cache), len(cache.shots()) - missing, missing)


def _changed_sources(cache: CamCache, config: VerifyConfig) -> Iterator[str]:
    manifest = attached_manifest(cache, config.root)
    changes = cache.source_changes(frame_source(manifest), manifest.shots)
    if changes.unrecorded:
        logger.warning(
            "%d shot(s) were built by a version that kept nothing of their files, such as %s: not compared",
            len(changes.unrecorded),
            changes.unrecorded[0].id,
        )
    for shot in changes.gone:
        yield f"{shot.id}: files that it was built from are gone; put them back, its CAMs stay"
    for shot in changes.changed:
        yield f"{shot.id}: its files have changed since it was built; run the same `tcam-cache build` again"
