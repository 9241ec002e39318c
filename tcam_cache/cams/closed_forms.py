"""CAMs of the last layer in closed form: a head of GAP and one linear layer needs no backward pass.

With S_c = b_c + sum_k w_kc mean_ij A_k(ij), the gradient dS_c/dA_k(ij) is w_kc / HW at every position,
whatever the input: every method of the family is a weighted sum of the activations.
"""

from collections.abc import Callable, Mapping

import torch

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
        (B, N, h, w).

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
