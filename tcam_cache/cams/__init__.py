"""The frozen classifier, its features, and the CAM methods. The only room that imports torchvision."""

from tcam_cache.cams.extractor import CamExtractor
from tcam_cache.cams.fusion import Cams, normalise
from tcam_cache.cams.layers import find_layers

__all__ = [
    "CamExtractor",
    "Cams",
    "find_layers",
    "normalise",
]
