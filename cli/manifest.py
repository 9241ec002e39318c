"""`tcam-cache manifest`."""

from typing import Any

from tcam_cache.config import ManifestConfig
from tcam_cache_cli.options import stage_command


@stage_command(ManifestConfig, "source")
def command(config: ManifestConfig) -> Any:
    """Index the data set in the folder ROOT, in place: one line a shot."""
    from tcam_cache.stages.index_dataset import index_dataset

    return index_dataset(config)
