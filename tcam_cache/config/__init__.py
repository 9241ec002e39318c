"""The frozen settings of every command: defaults, presets and what values have a meaning, once."""

from tcam_cache.config.build import BuildConfig, ExportConfig, ImportConfig, InspectConfig, VerifyConfig
from tcam_cache.config.classifier import ClassifierConfig
from tcam_cache.config.data import DataConfig, DemoConfig, FitConfig, ManifestConfig
from tcam_cache.config.evaluate import CompareConfig, EvaluateConfig
from tcam_cache.config.locate import LocateConfig
from tcam_cache.config.predict import PredictConfig
from tcam_cache.config.presets import preset_settings, preset_text
from tcam_cache.config.reproduce import ReproduceConfig
from tcam_cache.config.train import SearchConfig, TrainConfig, search_config, train_config

__all__ = [
    "BuildConfig",
    "ClassifierConfig",
    "CompareConfig",
    "DataConfig",
    "DemoConfig",
    "EvaluateConfig",
    "ExportConfig",
    "FitConfig",
    "ImportConfig",
    "InspectConfig",
    "LocateConfig",
    "ManifestConfig",
    "PredictConfig",
    "ReproduceConfig",
    "SearchConfig",
    "TrainConfig",
    "VerifyConfig",
    "preset_settings",
    "preset_text",
    "search_config",
    "train_config",
]
