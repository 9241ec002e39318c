"""Which reader a data set's frames need."""

from pathlib import Path

from tcam_cache.datasets.images import ImageFrames
from tcam_cache.datasets.video_frames import VideoFrames
from tcam_cache.records import FrameSource


def frame_source(layout: str, root: Path) -> FrameSource:
    """Return what reads the frames of a data set with this layout below a root."""
    return VideoFrames(root) if layout == "videos" else ImageFrames(root)
