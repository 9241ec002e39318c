"""The frozen classifier, its features, and the CAM methods. The only room that imports torchvision."""

from tcam_cache.cams.classifier import Classifier, seeded_classifier
from tcam_cache.cams.classifier_file import (
    CHECKPOINTS,
    ClassifierFile,
    parse_classifier_file,
    read_classifier_file,
)
from tcam_cache.cams.layercam import CLOSED_FORMS, Cams, cams_of_tags, layer_cam, normalise
from tcam_cache.cams.weights import pretrained_network, read_torch_file, weights_hash

__all__ = [
    "CHECKPOINTS",
    "CLOSED_FORMS",
    "Cams",
    "Classifier",
    "ClassifierFile",
    "cams_of_tags",
    "layer_cam",
    "normalise",
    "parse_classifier_file",
    "pretrained_network",
    "read_classifier_file",
    "read_torch_file",
    "seeded_classifier",
    "weights_hash",
]
