"""`tcam-cache export`."""

from typing import Any

from tcam_cache.config import ExportConfig

from .options import stage_command


@stage_command(ExportConfig, "cache", "shot")
def command(config: ExportConfig) -> Any:
    """Write CACHE, or one SHOT of it, in another form, for sharing.

    \b
    tcam-cache export cache --format h5 --out cache.h5
    """
    from tcam_cache.stages.export import export_cache

    return export_cache(config)
