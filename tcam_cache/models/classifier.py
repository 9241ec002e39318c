"""The classifier g: backbone, global average pooling and linear head; folding of batch norms."""

import copy
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from tcam_cache.models.backbone import TIMM, Preprocessing
from tcam_cache.models.chain import Chain
from tcam_cache.models.convolution import faster_gradients
from tcam_cache.models.timm_backbone import TimmBackbone


class Classifier(nn.Module):
    """Map frames to one logit per tag, and keep the features that CAMs and the decoder are made of.

    Attributes:
        arch: torchvision's name of the backbone, or timm's behind "timm:".
        classes: tags, in the order of the logits.
        stages: the backbone, a `Chain` or a `TimmBackbone`.
        output_stride: how many times smaller the deepest features are than the frame.
        dilated: whether kernels are dilated where strides were removed.
        preprocessing: of its frames, as the backbone was trained.
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
        preprocessing: Preprocessing | None = None,
    ) -> None:
        super().__init__()
        if arch.startswith(TIMM):
            self.stages: Chain | TimmBackbone = TimmBackbone(arch, network, output_stride)
        else:
            self.stages = Chain(arch, network, output_stride, dilated)
        self.arch, self.classes = arch, tuple(classes)
        self.output_stride, self.dilated = self.stages.output_stride, self.stages.dilated
        self.preprocessing = preprocessing or self.stages.preprocessing
        self.head = nn.Linear(self.stages.depth, len(self.classes))
        # CAMs are made of these weights: from zero, they hold nothing but what was learned.
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.register_buffer("mean", torch.tensor(self.preprocessing.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(self.preprocessing.std).view(1, 3, 1, 1))

    @property
    def channels(self) -> list[int]:
        """Channels of each feature that the decoder taps, shallow to deep."""
        return self.stages.channels

    @property
    def strides(self) -> list[int]:
        """How many times smaller than the frame each of those features is."""
        return self.stages.strides

    def layers(self) -> dict[str, nn.Module]:
        """Return the layers of the backbone by its library's names, shallow to deep.

        For torchvision's networks every layer of the chain, for timm's the modules that the decoder taps.

        >>> list(Classifier("squeezenet1_1", ("cat", "dog")).layers())[:3]
        ['features.0', 'features.1', 'features.2']
        """
        return self.stages.layers()

    def standardised(self, images: torch.Tensor) -> torch.Tensor:
        """Return (B, 3, H, W) RGB images in [0, 1] standardised for the first layer."""
        return (images - self.mean) / self.std

    def features(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return the features that the decoder taps, shallow to deep, of (B, 3, H, W) images in [0, 1]."""
        return self.stages(self.standardised(images))[0]

    def features_and_logits(self, images: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Return what `features` does, and the (B, C) logits of the same forward pass."""
        taps, deepest = self.stages(self.standardised(images))
        return taps, self.logits(deepest)

    def logits(self, activations: torch.Tensor) -> torch.Tensor:
        """Return (B, C) logits of the deepest features (B, K, h, w): global average pooling, then linear."""
        return self.head(activations.mean((2, 3)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return (B, C) logits for (B, 3, H, W) RGB images in [0, 1]."""
        return self.head(self.pooled(images))

    def pooled(self, images: torch.Tensor) -> torch.Tensor:
        """Return what the head is given, (B, K), for (B, 3, H, W) RGB images in [0, 1]."""
        return self.deepest(images).mean((2, 3))

    def deepest(self, images: torch.Tensor) -> torch.Tensor:
        """Return the deepest features (B, K, h, w) of (B, 3, H, W) RGB images in [0, 1]."""
        return self.stages.deepest(self.standardised(images))

    def halves(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """Return the backbone's parameters before its last stage, and those of the last stage."""
        return self.stages.halves()

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

    Gradients of dilated depthwise convolutions are made fast, too.

    Args:
        classifier: in evaluation mode; it is left as it is.
        spared: names of modules that CAMs are taken of; a convolution among them keeps its own output.
    """
    folded = copy.deepcopy(classifier)
    named = folded.stages.named()
    kept = {id(named[name]) for name in spared if name in named}
    followed = _followed(folded)
    for parent in list(folded.modules()):
        # A BatchNorm is declared right behind the convolution it follows; the trace says whether it does.
        for (name, first), (after, second) in pairwise(list(parent.named_children())):
            if id(first) not in kept and (id(first), id(second)) in followed:
                setattr(parent, name, fuse_conv_bn_eval(cast(nn.Conv2d, first), cast(nn.BatchNorm2d, second)))
                setattr(parent, after, _without_norm(second))
    faster_gradients(folded)
    return folded.freeze()


def _followed(classifier: Classifier) -> set[tuple[int, int]]:
    """Return (convolution, BatchNorm) pairs, by identity, where the norm takes the convolution's output."""
    calls = classifier.stages.trace().calls
    # Only these exact types: a subclass may compute more than its parent.
    convolutions = {call.given: call.module for call in calls if type(call.module).__name__ in _CONVOLUTIONS}
    return {
        (id(convolutions[call.taken]), id(call.module))
        for call in calls
        if type(call.module).__name__ in _NORMS and call.taken in convolutions
    }


_CONVOLUTIONS = ("Conv2d", "Conv2dSame")
_NORMS = ("BatchNorm2d", "BatchNormAct2d")


def _without_norm(norm: nn.Module) -> nn.Module:
    """Return a norm's other parts under the same names: timm's norms may contain an activation."""
    rest = OrderedDict((name, part) for name, part in norm.named_children())
    return nn.Sequential(rest) if rest else nn.Identity()
