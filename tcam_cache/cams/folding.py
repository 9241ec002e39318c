"""BatchNorm folded into the convolution before it: the same function of a frozen classifier, in less time."""

import copy
from collections.abc import Iterable
from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from tcam_cache.cams.classifier import Classifier


def fold_batch_norm(classifier: Classifier, spared: Iterable[str] = ()) -> Classifier:
    """Return a copy of a frozen classifier whose convolutions do the work of the BatchNorms that follow them.

    Args:
        classifier: in evaluation mode; it is left as it is.
        spared: names of layers whose own output is wanted, before the BatchNorm.
    """
    folded = copy.deepcopy(classifier)
    layers = folded.layers()
    kept = [layers[name] for name in spared]
    for parent in list(folded.modules()):
        # In every torchvision backbone a BatchNorm is declared right behind the convolution it follows.
        for (name, first), (after, second) in pairwise(list(parent.named_children())):
            pair = isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d)
            if pair and not any(first is one for one in kept):
                setattr(parent, name, fuse_conv_bn_eval(first, second))
                setattr(parent, after, nn.Identity())
    return folded.freeze()
