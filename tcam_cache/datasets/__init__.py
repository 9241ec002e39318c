"""Tagged video on disk: indexed into a manifest, annotated, split by video, and decoded in time order."""

from tcam_cache.datasets.annotation_files import read_annotations
from tcam_cache.datasets.annotations import Annotations, attach, without_frames
from tcam_cache.datasets.check import CheckReport, check_frames
from tcam_cache.datasets.demo.data_set import demo_tags, write_demo
from tcam_cache.datasets.frames import ImageFrames, frame_source
from tcam_cache.datasets.layouts.detect import detect_layout
from tcam_cache.datasets.layouts.expected import deviations, expected_data
from tcam_cache.datasets.layouts.folders import index_folders
from tcam_cache.datasets.layouts.scan import Scan
from tcam_cache.datasets.layouts.split_files import read_video_splits
from tcam_cache.datasets.layouts.videos import scan_videos
from tcam_cache.datasets.layouts.wsol import scan_wsol, write_wsol
from tcam_cache.datasets.layouts.ytov1 import scan_ytov1
from tcam_cache.datasets.layouts.ytov2_2 import scan_ytov2_2
from tcam_cache.datasets.listing import image_names, refuse_links_out
from tcam_cache.datasets.manifest import Manifest
from tcam_cache.datasets.manifest_file import (
    FOLLOW_LINKS,
    manifest_text,
    parse_manifest,
    read_manifest,
    write_manifest,
)
from tcam_cache.datasets.picture_files import data_depth
from tcam_cache.datasets.sampling import sample, seeded_splits, with_splits
from tcam_cache.datasets.video import VideoFrames, frame_times, is_moving

__all__ = [
    "FOLLOW_LINKS",
    "Annotations",
    "CheckReport",
    "ImageFrames",
    "Manifest",
    "Scan",
    "VideoFrames",
    "attach",
    "check_frames",
    "data_depth",
    "demo_tags",
    "detect_layout",
    "deviations",
    "expected_data",
    "frame_source",
    "frame_times",
    "image_names",
    "index_folders",
    "is_moving",
    "manifest_text",
    "parse_manifest",
    "read_annotations",
    "read_manifest",
    "read_video_splits",
    "refuse_links_out",
    "sample",
    "scan_videos",
    "scan_wsol",
    "scan_ytov1",
    "scan_ytov2_2",
    "seeded_splits",
    "with_splits",
    "without_frames",
    "write_demo",
    "write_manifest",
    "write_wsol",
]
