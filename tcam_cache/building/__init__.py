"""Stage 1: compute the maps of shots and store them in the cache, in one process or several."""

from tcam_cache.building.builder import Builder, Counts
from tcam_cache.building.jobs import build_in_jobs
from tcam_cache.building.map_source import MapSource, open_map_source

__all__ = ["Builder", "Counts", "MapSource", "build_in_jobs", "open_map_source"]
