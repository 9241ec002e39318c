"""`tcam-cache export`."""

from typing import Any

from tcam_cache.config import ExportConfig

from .options import stage_command


@stage_command(ExportConfig, "cache", "shot")
def command(config: ExportConfig) -> Any:
    """Write CACHE, one SHOT of it, or a run in another format.

    \b
    tcam-cache export cache --format h5 --out cache.h5
    tcam-cache export run --format onnx --out run.onnx
    """
    from tcam_cache.stages.export import export

    return export(config)
