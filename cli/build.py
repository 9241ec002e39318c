"""`tcam-cache build`."""

from typing import Any

from tcam_cache.config import BuildConfig

from .options import stage_command


@stage_command(BuildConfig, "manifest")
def command(config: BuildConfig) -> Any:
    """Stage 1: store the CAM of every frame of MANIFEST.

    Run again to resume.

    \b
    tcam-cache build m.jsonl --classifier g.pt --out cache
    """
    from tcam_cache.stages.build import build_cache

    return build_cache(config)
