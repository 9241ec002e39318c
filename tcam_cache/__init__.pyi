from .cache import CamCache
from .cams import CamExtractor
from .config import (
    BuildConfig,
    ClassifierConfig,
    CompareConfig,
    DemoConfig,
    EvaluateConfig,
    ExportConfig,
    ImportConfig,
    InspectConfig,
    LocateConfig,
    ManifestConfig,
    PredictConfig,
    ReproduceConfig,
    SearchConfig,
    TrainConfig,
    VerifyConfig,
    preset_settings,
    search_config,
    train_config,
)
from .datasets import Manifest, read_manifest
from .errors import (
    AnnotationError,
    CacheError,
    ConfigError,
    DeviceError,
    EvaluationError,
    ExtraError,
    FrameError,
    ManifestError,
    MapError,
    RunError,
    StorageError,
    TcamCacheError,
    WeightsError,
)
from .inference import Localization, Localizer
from .models import read_classifier_file
from .records import Box, MapFunction, Shot
from .stages.build import build_cache
from .stages.classifier import fit_classifier
from .stages.compare import compare
from .stages.demo import run_demo
from .stages.evaluate import evaluate
from .stages.export import export_cache, export_run
from .stages.import_ import import_cams
from .stages.inspect import inspect_cache
from .stages.locate import locate
from .stages.manifest import index_dataset
from .stages.predict import predict
from .stages.reproduce import reproduce
from .stages.search import search
from .stages.train import train_decoder
from .stages.verify import verify_cache
from .window import cam_tmp, window_indices

__version__: str
__all__ = [
    "AnnotationError",
    "Box",
    "BuildConfig",
    "CacheError",
    "CamCache",
    "CamExtractor",
    "ClassifierConfig",
    "CompareConfig",
    "ConfigError",
    "DemoConfig",
    "DeviceError",
    "EvaluateConfig",
    "EvaluationError",
    "ExportConfig",
    "ExtraError",
    "FrameError",
    "ImportConfig",
    "InspectConfig",
    "Localization",
    "Localizer",
    "LocateConfig",
    "Manifest",
    "ManifestConfig",
    "ManifestError",
    "MapError",
    "MapFunction",
    "PredictConfig",
    "ReproduceConfig",
    "RunError",
    "SearchConfig",
    "Shot",
    "StorageError",
    "TcamCacheError",
    "TrainConfig",
    "VerifyConfig",
    "WeightsError",
    "__version__",
    "build_cache",
    "cam_tmp",
    "compare",
    "evaluate",
    "export_cache",
    "export_run",
    "fit_classifier",
    "import_cams",
    "index_dataset",
    "inspect_cache",
    "locate",
    "predict",
    "preset_settings",
    "read_classifier_file",
    "read_manifest",
    "reproduce",
    "run_demo",
    "search",
    "search_config",
    "train_config",
    "train_decoder",
    "verify_cache",
    "window_indices",
]
