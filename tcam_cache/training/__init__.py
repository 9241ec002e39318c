"""Samples, pseudo-labels, losses, the decoder, and the one fitting loop."""

from tcam_cache.training.decoder import Decoder
from tcam_cache.training.fitting import FitReport, fit
from tcam_cache.training.run_folder import RunFolder
from tcam_cache.training.samples import EpochBatches, TrainingSamples, resize_maps
from tcam_cache.training.tasks import ClassifierTask, DecoderTask

__all__ = [
    "ClassifierTask",
    "Decoder",
    "DecoderTask",
    "EpochBatches",
    "FitReport",
    "RunFolder",
    "TrainingSamples",
    "fit",
    "resize_maps",
]
