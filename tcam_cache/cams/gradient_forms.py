"""CAMs of any layer, from its activations A_k and the gradients g_k = dS_c/dA_k of one class each."""

from collections.abc import Callable, Mapping

import torch

# From activations (B, K, h, w) and gradients of n runs (n, B, K, h, w) to raw maps (B, h, w).
GradientForm = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def grad_cam(activations: torch.Tensor, gradients: torch.Tensor) -> torch.Tensor:
    """Return Grad-CAM (Selvaraju et al. 2017): ReLU(sum_k mean_ij(g_k) A_k)."""
    return _weighted(activations, gradients[0].mean((2, 3)))


def grad_cam_pp(activations: torch.Tensor, gradients: torch.Tensor) -> torch.Tensor:
    """Return Grad-CAM++, or Smooth Grad-CAM++ where there are several runs, as published.

    ReLU(sum_k w_k A_k) with w_k = sum_ij alpha ReLU(g_k) and alpha = g^2 / (2 g^2 + sum_ab A_k(ab) g^3)
    (Chattopadhyay et al. 2018, Eq. 19, for Y = exp(S); the common factor exp(S) vanishes when a map is
    normalised). Smooth Grad-CAM++ (Omeiza et al. 2019) puts the means of g, g^2 and g^3 over noisy inputs in
    their places. alpha is zero where its denominator is.
    """
    # In units of the largest gradient: g^3 of a small one is nothing in single precision.
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
