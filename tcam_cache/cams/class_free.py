"""The map that no class has a part in: where a layer is active at all."""

import torch

ACTIVATION = "activation"


def mean_activation(activations: torch.Tensor) -> torch.Tensor:
    """Return the mean (B, h, w) of a layer's activations (B, K, h, w) over channels, as the layer gives them.

    >>> mean_activation(torch.tensor([[[[2.0, 6.0]], [[0.0, 8.0]]]])).tolist()
    [[[1.0, 7.0]]]
    """
    return activations.mean(1)
