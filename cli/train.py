"""`tcam-cache train`."""

from typing import Any

from tcam_cache.config import TrainConfig
from tcam_cache_cli.options import stage_command


@stage_command(TrainConfig, "manifest", alone=False)
def command(config: TrainConfig) -> Any:
    """Stage 2: train the decoder on the cached CAMs of MANIFEST.

    Options that a preset sets show the value of `recommended`; one that is given wins over the preset.

    \b
    tcam-cache train m.jsonl --cache cache --out run
    """
    from tcam_cache.stages.train_decoder import train_decoder

    return train_decoder(config)
