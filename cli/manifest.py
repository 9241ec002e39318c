"""`tcam-cache manifest`."""

from typing import Any

from tcam_cache.config import ManifestConfig

from .options import stage_command


@stage_command(ManifestConfig, "source")
def command(config: ManifestConfig) -> Any:
    """Index the data set in the folder ROOT, in place.

    One line a shot. With --check every frame is decoded, and all that is missing or broken listed at once.

    \b
    tcam-cache manifest data --layout folders --annotations boxes.csv --out m.jsonl
    """
    from tcam_cache.stages.manifest import index_dataset

    return index_dataset(config)
