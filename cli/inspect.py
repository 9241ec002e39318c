"""`tcam-cache inspect`."""

from typing import Any

from tcam_cache.config import InspectConfig

from .options import stage_command


@stage_command(InspectConfig, "cache", "shot")
def command(config: InspectConfig) -> Any:
    """Show what is in CACHE, or in one SHOT of it.

    \b
    tcam-cache inspect cache bird/0001/001 --png shot.png
    """
    from tcam_cache.stages.inspect import inspect_cache

    return inspect_cache(config)
