"""tcam_cache: cached temporal class activation maps, and the decoder trained on them (TCAM, WACV 2023).

Conventions, the same everywhere: tensors are NCHW, HWC uint8 only at decode and overlay; map channel 0 is
background, 1 foreground; windows run oldest to newest; boxes are x0, y0, x1, y1 in pixels of the original
frame, right and bottom exclusive.

Nothing here imports torch until a stage that needs it is asked for.
"""

import importlib
from typing import Any

from tcam_cache.version import __version__

_HOMES = {
    "CamCache": "tcam_cache.cache",
    "Manifest": "tcam_cache.datasets",
    "TcamCacheError": "tcam_cache.errors",
    "Box": "tcam_cache.records",
    "FrameKey": "tcam_cache.records",
    "Shot": "tcam_cache.records",
    "cam_tmp": "tcam_cache.window",
    "window_indices": "tcam_cache.window",
    "ManifestConfig": "tcam_cache.config",
    "ClassifierConfig": "tcam_cache.config",
    "BuildConfig": "tcam_cache.cache_config",
    "TrainConfig": "tcam_cache.config",
    "train_config": "tcam_cache.presets",
    "SearchConfig": "tcam_cache.config",
    "search_config": "tcam_cache.presets",
    "EvaluateConfig": "tcam_cache.config",
    "DemoConfig": "tcam_cache.config",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tcam_cache' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
