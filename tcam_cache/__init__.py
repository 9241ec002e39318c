"""tcam_cache: cached temporal class activation maps, and the decoder trained on them (TCAM, WACV 2023).

Conventions, the same everywhere: tensors are NCHW, HWC uint8 only at decode and overlay; map channel 0 is
background, 1 foreground; windows run oldest to newest; boxes are x0, y0, x1, y1 in pixels of the original
frame, right and bottom exclusive.

Each command has a twin here: `tcam_cache.build_cache(BuildConfig(...))`, and so on.

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
    "Shot": "tcam_cache.records",
    "cam_tmp": "tcam_cache.window",
    "window_indices": "tcam_cache.window",
    # The commands, in the order of the work: the settings of each, and its stage.
    "DemoConfig": "tcam_cache.config",
    "run_demo": "tcam_cache.stages.demo",
    "ManifestConfig": "tcam_cache.config",
    "index_dataset": "tcam_cache.stages.manifest",
    "ClassifierConfig": "tcam_cache.config",
    "fit_classifier": "tcam_cache.stages.classifier",
    "BuildConfig": "tcam_cache.config.build",
    "build_cache": "tcam_cache.stages.build",
    "TrainConfig": "tcam_cache.config",
    "train_config": "tcam_cache.config.train",
    "train_decoder": "tcam_cache.stages.train",
    "SearchConfig": "tcam_cache.config",
    "search_config": "tcam_cache.config.train",
    "search": "tcam_cache.stages.search",
    "EvaluateConfig": "tcam_cache.config",
    "evaluate": "tcam_cache.stages.evaluate",
    "PredictConfig": "tcam_cache.config",
    "predict": "tcam_cache.stages.predict",
    "InspectConfig": "tcam_cache.config.build",
    "inspect_cache": "tcam_cache.stages.inspect",
    "VerifyConfig": "tcam_cache.config.build",
    "verify_cache": "tcam_cache.stages.verify",
    "ExportConfig": "tcam_cache.config.build",
    "export_cache": "tcam_cache.stages.export",
    "ImportConfig": "tcam_cache.config.build",
    "import_cams": "tcam_cache.stages.import_",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tcam_cache' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
