"""Check a cache: every chunk against the digest in its shot's commit record."""

from dataclasses import asdict, dataclass
from typing import Any

from tcam_cache.cache import CamCache
from tcam_cache.cache_config import VerifyConfig
from tcam_cache.errors import CacheError


@dataclass(frozen=True)
class VerifyReport:
    """What was checked: a cache without a fault.

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

    Raises:
        CacheError: something was damaged; everything is listed.
        StorageError: the store that holds it does not answer.
    """
    cache = CamCache.open(config.cache)
    problems = cache.verify()
    if problems:
        raise CacheError(
            f"{config.cache} is damaged in {len(problems)} place(s); each line says what to do.", problems
        )
    missing = len(cache.missing())
    return VerifyReport(str(config.cache), len(cache.shots()) - missing, missing)
