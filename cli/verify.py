"""`tcam-cache verify`."""

from typing import Any

from tcam_cache.config import VerifyConfig

from .options import stage_command


@stage_command(VerifyConfig, "cache")
def command(config: VerifyConfig) -> Any:
    """Check every byte of CACHE against its commit records.

    \b
    tcam-cache verify cache
    """
    from tcam_cache.stages.verify import verify_cache

    return verify_cache(config)
