"""From the host to a device, without waiting where waiting is not needed."""

import torch


def on_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return a tensor on a device.

    On CUDA the copy runs beside what follows where memory is pinned. MPS would read memory after it is freed.
    """
    return tensor.to(device, non_blocking=device.type == "cuda")


def as_images(rgb: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return (B, 3, H, W) uint8 frames on a device as float32 in [0, 1], channels last.

    >>> as_images(torch.tensor([[[[0]], [[51]], [[255]]]], dtype=torch.uint8), torch.device("cpu")).flatten()
    tensor([0.0000, 0.2000, 1.0000])
    """
    return on_device(rgb, device).to(torch.float32, memory_format=torch.channels_last) / 255
