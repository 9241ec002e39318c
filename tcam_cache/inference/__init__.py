"""Inference with a trained run: maps of frames, boxes of maps, scores of boxes."""

from tcam_cache.inference.localizer import Localization, Localizer

__all__ = ["Localization", "Localizer"]
