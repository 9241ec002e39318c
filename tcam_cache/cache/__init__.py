"""The CAM cache: written shot by shot, resumable after a kill, read as windows of consecutive CAMs."""

from tcam_cache.cache.format import FORMAT_VERSION, CachePlan
from tcam_cache.cache.frames import ShotFrames, StoredFrames, encode_frame
from tcam_cache.cache.pack import PackedCams
from tcam_cache.cache.reader import CachedShot, CamCache, ShotStats
from tcam_cache.cache.summary import CacheInfo, CamStatistics, Tally
from tcam_cache.cache.writer import CamWriter

__all__ = [
    "FORMAT_VERSION",
    "CacheInfo",
    "CachePlan",
    "CachedShot",
    "CamCache",
    "CamStatistics",
    "CamWriter",
    "PackedCams",
    "ShotFrames",
    "ShotStats",
    "StoredFrames",
    "Tally",
    "encode_frame",
]
