"""`tcam-cache locate`."""

from typing import Any

from tcam_cache.config import LocateConfig

from .options import stage_command

SECTIONS = {"Options of the stages": ("classifier", "build", "train", "predict")}


@stage_command(LocateConfig, "source", sections=SECTIONS)
def command(config: LocateConfig) -> Any:
    """Draw a box around the object in every frame of tagged FOOTAGE.

    FOOTAGE is a folder with a folder for each tag: dog/*.mp4, or dog/VIDEO/frame0001.jpg; or a CSV of file
    and class; or a manifest. Run again, it goes on where it was interrupted.

    \b
    tcam-cache locate videos --out found
    """
    from tcam_cache.stages.locate import locate

    return locate(config)
