"""`tcam-cache export`."""

from typing import Any

from tcam_cache.config import ExportConfig
from tcam_cache.config.build import RUN_FORMATS

from .options import stage_command


@stage_command(ExportConfig, "cache", "shot")
def command(config: ExportConfig) -> Any:
    """Write CACHE, one SHOT of it, or the networks of RUN in another form.

    \b
    tcam-cache export cache --format h5 --out cache.h5
    tcam-cache export run --format onnx --out run.onnx
    """
    from tcam_cache.stages.export import export_cache, export_run

    return (export_run if config.format in RUN_FORMATS else export_cache)(config)
