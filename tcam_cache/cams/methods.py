"""How each CAM method weights activations: closed forms at the last layer, gradients elsewhere."""

from collections.abc import Callable, Mapping

import torch

ACTIVATION = "activation"


def mean_activation(activations: torch.Tensor) -> torch.Tensor:
    """Return the (B, h, w) mean over channels of a layer's activations (B, K, h, w).

    >>> mean_activation(torch.tensor([[[[2.0, 6.0]], [[0.0, 8.0]]]])).tolist()
    [[[1.0, 7.0]]]
    """
    return activations.mean(1)


# Weights of the activations from the head's weights (B, N, K), the mean activations (B, 1, K), and HW.
Weighting = Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor]


def closed_form(method: str, activations: torch.Tensor, head: torch.Tensor) -> torch.Tensor:
    """Return a method's raw maps at the last layer before a GAP + linear head.

    The outer ReLU stays, since activations may be negative (MobileNetV3 ends in Hardswish); CAM has none.

    Args:
        method: one of `CLOSED_FORMS`.
        activations: (B, K, h, w) features before pooling.
        head: (B, N, K) the head's weights of N classes for each frame.

    Returns:
        (B, N, h, w) raw maps of N classes.

    >>> activations = torch.tensor([[[[2.0, -6.0]], [[-7.0, 9.0]]]])
    >>> closed_form("layercam", activations, torch.tensor([[[1.0, -5.0]]])).tolist()
    [[[[1.0, 0.0]]]]
    """
    height, width = activations.shape[-2:]
    columns = activations.flatten(2)
    weights = CLOSED_FORMS[method](head, columns.mean(2)[:, None], height * width)
    maps = (weights @ columns).unflatten(2, (height, width))
    return maps if method == "cam" else maps.relu()


def _cam(head: torch.Tensor, means: torch.Tensor, positions: int) -> torch.Tensor:
    # Zhou et al. 2016.
    return head


def _grad_cam(head: torch.Tensor, means: torch.Tensor, positions: int) -> torch.Tensor:
    # Selvaraju et al. 2017. XGrad-CAM (Fu et al. 2020) is the same here: its sum of A_k cancels.
    return head / positions


def _grad_cam_pp(head: torch.Tensor, means: torch.Tensor, positions: int) -> torch.Tensor:
    # Chattopadhyay et al. 2018, Eq. 19: alpha = 1 / (2 + w mean(A)). With derivatives that no noise changes,
    # Smooth Grad-CAM++ (Omeiza et al. 2019) is the same.
    return head.relu() / (2 + head * means)


def _layer_cam(head: torch.Tensor, means: torch.Tensor, positions: int) -> torch.Tensor:
    # Jiang et al. 2021.
    return head.relu() / positions


CLOSED_FORMS: Mapping[str, Weighting] = {
    "cam": _cam,
    "gradcam": _grad_cam,
    "gradcam++": _grad_cam_pp,
    "smooth-gradcam++": _grad_cam_pp,
    "xgradcam": _grad_cam,
    "layercam": _layer_cam,
}

# From activations (B, K, h, w) and gradients of n runs (n, B, K, h, w) to raw maps (B, h, w).
GradientForm = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def grad_cam(activations: torch.Tensor, gradients: torch.Tensor) -> torch.Tensor:
    """Return Grad-CAM (Selvaraju et al. 2017): ReLU(sum_k mean_ij(g_k) A_k)."""
    return _weighted(activations, gradients[0].mean((2, 3)))


def grad_cam_pp(activations: torch.Tensor, gradients: torch.Tensor) -> torch.Tensor:
    """Return Grad-CAM++, or Smooth Grad-CAM++ where there are several runs, as published.

    ReLU(sum_k w_k A_k) with w_k = sum_ij alpha ReLU(g_k) and alpha = g^2 / (2 g^2 + sum_ab A_k(ab) g^3)
    (Chattopadhyay et al. 2018, Eq. 19, for Y = exp(S); the common factor exp(S) vanishes when a map is
    normalised). Smooth Grad-CAM++ (Omeiza et al. 2019) uses the means of g, g^2, g^3 over noisy inputs.
    alpha is zero where its denominator is.
    """
    # In units of the largest gradient: g^3 of small gradients underflows in float32.
    largest = gradients.abs().amax((0, 2, 3, 4))[:, None, None, None].clamp_min(torch.finfo().tiny)
    scaled = gradients / largest
    second, third = scaled.square().mean(0), scaled.pow(3).mean(0)
    below = 2 * second + activations.sum((2, 3), keepdim=True) * largest * third
    alpha = torch.where(below == 0, 0.0, second / torch.where(below == 0, 1.0, below))
    return _weighted(activations, (alpha * gradients.mean(0).relu()).sum((2, 3)))


def x_grad_cam(activations: torch.Tensor, gradients: torch.Tensor) -> torch.Tensor:
    """Return XGrad-CAM (Fu et al. 2020): ReLU(sum_k w_k A_k), w_k = sum_ij A_k g_k / sum_ij A_k.

    The weight of a channel whose sum is zero is zero.
    """
    total = activations.sum((2, 3))
    product = (activations * gradients[0]).sum((2, 3))
    return _weighted(activations, torch.where(total == 0, 0.0, product / torch.where(total == 0, 1.0, total)))


def layer_cam(activations: torch.Tensor, gradients: torch.Tensor) -> torch.Tensor:
    """Return LayerCAM (Jiang et al. 2021): ReLU(sum_k ReLU(g_k) A_k), position by position."""
    return (gradients[0].relu() * activations).sum(1).relu()


GRADIENT_FORMS: Mapping[str, GradientForm] = {
    "gradcam": grad_cam,
    "gradcam++": grad_cam_pp,
    "smooth-gradcam++": grad_cam_pp,
    "xgradcam": x_grad_cam,
    "layercam": layer_cam,
}


def _weighted(activations: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return torch.einsum("bk,bkhw->bhw", weights, activations).relu()
