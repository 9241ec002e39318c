"""CAMs of a frozen classifier: methods, layers, fusion, scales, and the methods of other packages."""

from tcam_cache.cams.extractor import CamExtractor
from tcam_cache.cams.fusion import Cams, normalise
from tcam_cache.cams.layers import AUTO, find_layers
from tcam_cache.cams.scales import ScaledCams, require_cells, sides_of

__all__ = [
    "AUTO",
    "CamExtractor",
    "Cams",
    "ScaledCams",
    "find_layers",
    "normalise",
    "require_cells",
    "sides_of",
]
