"""Networks: backbone, classifier, decoder, and the files that hold them."""

from tcam_cache.models.classifier import Classifier, fold_batch_norm, seeded_classifier
from tcam_cache.models.decoder import Decoder
from tcam_cache.models.files import CHECKPOINTS, ClassifierFile, parse_classifier_file, read_classifier_file
from tcam_cache.models.presence import Concepts, Presence
from tcam_cache.models.weights import (
    is_packaged,
    pretrained_concepts,
    pretrained_network,
    read_torch_file,
    weights_hash,
)

__all__ = [
    "CHECKPOINTS",
    "Classifier",
    "ClassifierFile",
    "Concepts",
    "Decoder",
    "Presence",
    "fold_batch_norm",
    "is_packaged",
    "parse_classifier_file",
    "pretrained_concepts",
    "pretrained_network",
    "read_classifier_file",
    "read_torch_file",
    "seeded_classifier",
    "weights_hash",
]
