"""`tcam-cache import`."""

from typing import Any

from tcam_cache.cache_config import ImportConfig
from tcam_cache_cli.options import stage_command


@stage_command(ImportConfig, "manifest", "source")
def command(config: ImportConfig) -> Any:
    """Make a cache of the CAMs in FOLDER, one .pt file for each frame of MANIFEST."""
    from tcam_cache.stages.import_cams import import_cams

    return import_cams(config)
