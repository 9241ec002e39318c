"""The classifier g: backbone, global average pooling and linear head; folding of batch norms."""

import copy
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from tcam_cache.models.backbone import (
    chained,
    feature_layers,
    limit_output_stride,
    split_into_stages,
    stage_channels,
    stage_stride,
    torchvision_network,
)

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Classifier(nn.Module):
    """Map frames to one logit per tag, and keep the features that CAMs and the decoder are made of.

    Attributes:
        arch: torchvision's name of the backbone.
        classes: tags, in the order of the logits.
        output_stride: how many times smaller the deepest features are than the frame.
        dilated: whether kernels are dilated where strides were removed.
        channels: of each stage's output, shallow to deep.
        full_resolution: the shallowest stage's output is as large as the frame (VGG).
        head: the linear layer on the pooled features.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self,
        arch: str,
        classes: Sequence[str],
        output_stride: int | None = None,
        dilated: bool = False,
        network: nn.Module | None = None,
    ) -> None:
        super().__init__()
        layers = feature_layers(network or torchvision_network(arch))
        stages = split_into_stages(layers.values())
        self.arch, self.dilated = arch, dilated
        self.classes = tuple(classes)
        self.output_stride = limit_output_stride(stages, output_stride, arch, dilated)
        self.channels = stage_channels(stages)
        self.full_resolution = stage_stride(stages[0]) == 1
        self.stages = nn.ModuleList(stages)
        self._names = tuple(layers)
        self.head = nn.Linear(self.channels[-1], len(self.classes))
        # Zero initialisation: CAMs are computed from these weights, so they must hold no random part.
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))

    def layers(self) -> dict[str, nn.Module]:
        """Return every layer of the backbone by torchvision's name, in the order they run one after another.

        >>> list(Classifier("squeezenet1_1", ("cat", "dog")).layers())[:3]
        ['features.0', 'features.1', 'features.2']
        """
        in_order = (layer for stage in self.stages for layer in cast(nn.Sequential, stage))
        return chained(dict(zip(self._names, in_order, strict=True)))

    def standardised(self, images: torch.Tensor) -> torch.Tensor:
        """Return (B, 3, H, W) RGB images in [0, 1] standardised for the first layer."""
        return (images - self.mean) / self.std

    def features(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return each stage's output, shallow to deep, for (B, 3, H, W) RGB images in [0, 1]."""
        values = self.standardised(images)
        outputs = []
        for stage in self.stages:
            values = stage(values)
            outputs.append(values)
        return outputs

    def logits(self, activations: torch.Tensor) -> torch.Tensor:
        """Return (B, C) logits of the deepest features (B, K, h, w): global average pooling, then linear."""
        return self.head(activations.mean((2, 3)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return (B, C) logits for (B, 3, H, W) RGB images in [0, 1]."""
        return self.logits(self.features(images)[-1])

    def freeze(self) -> "Classifier":
        """Put the classifier permanently into evaluation mode, without gradients, and return it."""
        return self.eval().requires_grad_(False)


def seeded_classifier(
    arch: str,
    classes: Sequence[str],
    output_stride: int | None,
    seed: int,
    dilated: bool = False,
    network: nn.Module | None = None,
) -> Classifier:
    """Return a classifier whose random layers depend only on `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Classifier(arch, classes, output_stride, dilated, network)


def fold_batch_norm(classifier: Classifier, spared: Iterable[str] = ()) -> Classifier:
    """Return a copy of a frozen classifier with every BatchNorm folded into the convolution before it.

    Args:
        classifier: in evaluation mode; it is not changed.
        spared: names of convolutions to leave unfolded, because their own output is needed.
    """
    folded = copy.deepcopy(classifier)
    layers = folded.layers()
    kept = [layers[name] for name in spared]
    for parent in list(folded.modules()):
        # In all torchvision backbones a BatchNorm is declared directly after its convolution.
        for (name, first), (after, second) in pairwise(list(parent.named_children())):
            if not (isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d)):
                continue
            if not any(first is one for one in kept):
                setattr(parent, name, fuse_conv_bn_eval(first, second))
                setattr(parent, after, nn.Identity())
    return folded.freeze()
