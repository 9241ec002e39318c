"""The CAM cache: written shot by shot, resumable after a kill, read as windows of consecutive CAMs."""

from tcam_cache.cache.info import CacheInfo, Tally
from tcam_cache.cache.layout import FORMAT_VERSION, CachePlan
from tcam_cache.cache.pack import PackedCams
from tcam_cache.cache.statistics import CamStatistics
from tcam_cache.cache.store import CachedShot, CamCache, ShotStats
from tcam_cache.cache.stored_frames import ShotFrames, StoredFrames, encode_frame
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
