"""How a data set's frames are read: which reader, upright or as stored, and where time begins."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from tcam_cache.datasets.images import ImageFrames
from tcam_cache.datasets.video_frames import VideoFrames
from tcam_cache.records import FrameSource

UPRIGHT, STORED = "upright", "stored"
# What a manifest's header says of its times; one that says nothing counts from the container's zero.
FROM_FIRST = {"times": "from the first frame"}


class Indexed(Protocol):
    """What was indexed: a manifest, or a scan."""

    root: Path
    layout: str
    facts: Mapping[str, Any]


def frame_source(data: Indexed) -> FrameSource:
    """Return what reads the frames of a data set, as its header says that they were indexed."""
    upright = is_upright(data.facts)
    if data.layout == "videos":
        return VideoFrames(data.root, upright, absolute="times" not in data.facts)
    return ImageFrames(data.root, upright, data.facts.get("depth", 16))


def is_upright(facts: Mapping[str, Any]) -> bool:
    """Return whether frames are turned as their files say; headers of before say nothing and mean as stored.

    >>> is_upright({"orientation": "upright"}), is_upright({})
    (True, False)
    """
    return facts.get("orientation") == UPRIGHT
