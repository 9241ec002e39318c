"""The frozen classifier, its features, and the CAM methods. The only room that imports torchvision."""

from tcam_cache.cams.classifier import Classifier, seeded_classifier
from tcam_cache.cams.classifier_file import (
    CHECKPOINTS,
    ClassifierFile,
    parse_classifier_file,
    read_classifier_file,
)
from tcam_cache.cams.extractor import CamExtractor
from tcam_cache.cams.folding import fold_batch_norm
from tcam_cache.cams.layers import find_layers
from tcam_cache.cams.normalise import Cams, normalise
from tcam_cache.cams.weights import pretrained_network, read_torch_file, weights_hash

__all__ = [
    "CHECKPOINTS",
    "CamExtractor",
    "Cams",
    "Classifier",
    "ClassifierFile",
    "find_layers",
    "fold_batch_norm",
    "normalise",
    "parse_classifier_file",
    "pretrained_network",
    "read_classifier_file",
    "read_torch_file",
    "seeded_classifier",
    "weights_hash",
]
