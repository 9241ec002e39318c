"""Samples, pseudo-labels, losses, the decoder, and the one fitting loop."""

from tcam_cache.training.head import fit_head
from tcam_cache.training.loop import FitReport, fit
from tcam_cache.training.plots import draw_search, require_board
from tcam_cache.training.ranks import SINGLE_PROCESS, Ranks, joined_ranks
from tcam_cache.training.run_folder import VAL_LOSS, RunFolder
from tcam_cache.training.samples import EpochBatches, TrainingSamples
from tcam_cache.training.schedule import planned
from tcam_cache.training.tasks import ClassifierTask, DecoderTask, ValidationLoss

__all__ = [
    "SINGLE_PROCESS",
    "VAL_LOSS",
    "ClassifierTask",
    "DecoderTask",
    "EpochBatches",
    "FitReport",
    "Ranks",
    "RunFolder",
    "TrainingSamples",
    "ValidationLoss",
    "draw_search",
    "fit",
    "fit_head",
    "joined_ranks",
    "planned",
    "require_board",
]
