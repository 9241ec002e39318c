"""A trained run at work: frames become maps, maps become boxes, boxes are scored."""

from tcam_cache.inference.localizer import Localization, Localizer

__all__ = ["Localization", "Localizer"]
