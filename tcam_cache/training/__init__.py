"""Samples, pseudo-labels, losses, the decoder, and the one fitting loop."""

from tcam_cache.training.board import require_board
from tcam_cache.training.curves import draw_search
from tcam_cache.training.decoder import Decoder
from tcam_cache.training.fitting import FitReport, fit
from tcam_cache.training.loaders import loaded, loader_of
from tcam_cache.training.ranks import SINGLE_PROCESS, Ranks, joined_ranks
from tcam_cache.training.run_folder import FREE_ON_RESUME, VAL_LOSS, RunFolder
from tcam_cache.training.samples import EpochBatches, TrainingSamples, resize_maps
from tcam_cache.training.tasks import ClassifierTask, DecoderTask
from tcam_cache.training.transfer import as_images
from tcam_cache.training.validation import ValidationLoss

__all__ = [
    "FREE_ON_RESUME",
    "SINGLE_PROCESS",
    "VAL_LOSS",
    "ClassifierTask",
    "Decoder",
    "DecoderTask",
    "EpochBatches",
    "FitReport",
    "Ranks",
    "RunFolder",
    "TrainingSamples",
    "ValidationLoss",
    "as_images",
    "draw_search",
    "fit",
    "joined_ranks",
    "loaded",
    "loader_of",
    "require_board",
    "resize_maps",
]
