"""`tcam-cache import`."""

from typing import Any

from tcam_cache.config import ImportConfig

from .options import stage_command


@stage_command(ImportConfig, "manifest", "source")
def command(config: ImportConfig) -> Any:
    """Make a cache of stored CAMs: FOLDER has a .pt file a frame.

    A file is named like its frame's path below the root of MANIFEST, each "/" an "_": bird/0001/frame0001.jpg
    is in bird_0001_frame0001.jpg.pt or bird_0001_frame0001.pt.

    \b
    tcam-cache import m.jsonl maps --classifier g.pt --out cache
    """
    from tcam_cache.stages.import_ import import_cams

    return import_cams(config)
