"""The layers of a backbone at which CAMs can be computed, by torchvision's names."""

from collections.abc import Sequence

import torch

from tcam_cache.errors import ConfigError
from tcam_cache.models import Classifier
from tcam_cache.models.backbone import chained

LAST = "last"
# Names, here and in torchvision, of the parts after the features: their outputs are not spatial.
NOT_SPATIAL = ("head", "fc", "classifier", "avgpool", "pool", "flatten")


def find_layers(classifier: Classifier, wanted: Sequence[str]) -> tuple[str, ...]:
    """Return the full names of layers, without repeats, in the order they run.

    Args:
        classifier: the classifier that has the layers.
        wanted: names such as "layer3.1"; "layer3" is its last part, "last" the deepest layer.

    Raises:
        ConfigError: there is no such layer, or it is not spatial; those that exist are listed.

    >>> from tcam_cache.models import Classifier
    >>> find_layers(Classifier("resnet18", ("cat", "dog")), ["last", "layer2"])
    ('layer2.1', 'layer4.1')
    """
    names = list(classifier.layers())
    chosen, faults = set(), []
    for name in wanted:
        matches = names if name == LAST else [full for full in names if f"{full}.".startswith(f"{name}.")]
        if matches:
            chosen.add(matches[-1])
        elif name.split(".")[0] in NOT_SPATIAL:
            faults.append(f"{name}: comes after pooling, its activation is not spatial")
        else:
            faults.append(f"{name or 'an empty name'}: no such layer")
    if faults or not chosen:
        raise ConfigError(
            f"got {len(faults)} layer(s) of {classifier.arch} that no CAM can be taken of; expected some of: "
            f"{LAST}, {', '.join(names)}.",
            faults,
        )
    return tuple(name for name in names if name in chosen)


def shallow_layers(classifier: Classifier, deep_stages: int) -> frozenset[str]:
    """Return the names of all layers before the last `deep_stages` stages."""
    first = classifier.stages[: max(0, len(classifier.stages) - deep_stages)]
    count = sum(len(chained({"": stage})) for stage in first)
    return frozenset(list(classifier.layers())[:count])


def check_spatial(classifier: Classifier, name: str, activations: torch.Tensor) -> None:
    """Make sure that a layer's activations (B, K, h, w) have more than one position.

    Raises:
        ConfigError: they have a single position, so a CAM would be constant.
    """
    if activations.ndim != 4 or activations.shape[-2] * activations.shape[-1] < 2:
        raise ConfigError(
            f"layer {name} of {classifier.arch} gives activations of shape {tuple(activations.shape)}: "
            "they are not spatial. Take larger frames, a smaller output stride, or an earlier layer: "
            f"{', '.join(classifier.layers())}."
        )
