"""Stage 1: frames and a source of maps become the maps of a shot in the cache, on one process or many."""

from tcam_cache.building.builder import Builder, Counts
from tcam_cache.building.jobs import build_in_jobs
from tcam_cache.building.map_source import MapSource, open_map_source

__all__ = ["Builder", "Counts", "MapSource", "build_in_jobs", "open_map_source"]
