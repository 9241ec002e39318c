"""`tcam-cache train`."""

from typing import Any

from tcam_cache.config import TrainConfig

from .options import stage_command

# The sections in the help of `train` and `search`; unlisted options are everyday ones.
SECTIONS = {
    "Method (Eq. 1 to 5)": (
        "neighbours", "window", "fg_region", "fg_top", "bg_low", "pixels", "dilate", "cross_entropy", "crf",
        "crf_weight", "lattice_gain", "landmarks", "asc", "asc_weight", "barrier_t", "barrier_growth",
        "barrier_cap",
    ),
    "Optimiser": ("lr", "optimiser", "momentum", "weight_decay", "lr_step", "lr_decay", "lr_floor"),
    "Beyond the paper": (
        "frames_together", "crops", "middle", "fg_level", "colour_crf", "colour_crf_weight", "colour_warmup",
    ),
}  # fmt: skip


@stage_command(TrainConfig, "manifest", alone=False, sections=SECTIONS)
def command(config: TrainConfig) -> Any:
    """Stage 2: train the decoder on the cached CAMs of MANIFEST.

    Options that a preset sets show the value of `recommended`; one that is given wins over the preset.

    \b
    tcam-cache train m.jsonl --cache cache --out run
    """
    from tcam_cache.stages.train import train_decoder

    return train_decoder(config)
