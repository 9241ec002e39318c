"""Devices, threads and worker processes, and the tensors that go to them."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn
from torch.nn.functional import interpolate

from tcam_cache.errors import ConfigError, DeviceError
from tcam_cache.processes import affordable, worker_number

ModuleT = TypeVar("ModuleT", bound=nn.Module)
# Activations of more are taken from the system anew in every layer, a third of the time at large scales.
FRAMES_ON_CPU = 4


def on_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return a tensor on a device.

    On CUDA the copy of pinned memory is asynchronous; on MPS it must not be, memory could be freed before.
    """
    return tensor.to(device, non_blocking=device.type == "cuda")


def to_device(module: ModuleT, device: torch.device) -> ModuleT:
    """Move a network to a device, its weights channels last, and return it."""
    # torch: its overloads lack this combination.
    return module.to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def as_images(rgb: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return (B, 3, H, W) uint8 frames on a device as float32 in [0, 1], channels last.

    >>> as_images(torch.tensor([[[[0]], [[51]], [[255]]]], dtype=torch.uint8), torch.device("cpu")).flatten()
    tensor([0.0000, 0.2000, 1.0000])
    """
    return on_device(rgb, device).to(torch.float32, memory_format=torch.channels_last) / 255


def frames_at_once(batch_size: int, device: torch.device) -> int:
    """Return how many frames of a batch pass a network together at several scales; few do on a CPU.

    >>> frames_at_once(32, torch.device("cpu"))
    4
    """
    return min(batch_size, FRAMES_ON_CPU) if device.type == "cpu" else batch_size


def resize_maps(maps: torch.Tensor, size: int | tuple[int, int]) -> torch.Tensor:
    """Resize (B, h, w) maps to a side, or to (height, width); bilinear, align_corners=False as everywhere."""
    return interpolate(maps[:, None], size, mode="bilinear", align_corners=False)[:, 0]


def find_device(name: str, local_rank: int = 0, local_size: int = 1) -> torch.device:
    """Return the device that `--device` names; "auto" takes CUDA, then MPS, then the CPU.

    Under "auto" and "cuda" the processes of `--jobs` take the CUDA devices in turn.

    Args:
        name: the value of `--device`, such as "auto", "cpu" or "cuda:1".
        local_rank: rank of this process among the training processes on this machine.
        local_size: number of those processes; each gets its own CUDA device, or else the CPU.

    Raises:
        DeviceError: no such device (the available ones are listed), or fewer devices than processes.
    """
    if local_size > 1:
        return _own_device(name, local_rank, local_size)
    there = torch.cuda.device_count()
    present = ["cpu", *(f"cuda:{i}" for i in range(there))]
    if torch.backends.mps.is_available():
        present.append("mps")
    if name in ("auto", "cuda") and there:
        return torch.device("cuda", worker_number() % there)
    device = present[-1] if name == "auto" else name
    if device not in present:
        raise DeviceError(f"there is no device {name!r} here. Those that are: auto, {', '.join(present)}.")
    return torch.device(device)


def worker_count(workers: int | None, local_size: int = 1) -> int:
    """Return how many processes load frames: `workers`, or for None all cores but one.

    Each of the `local_size` processes on the machine gets an equal part of the cores. With too little shared
    memory for workers the result is 0, with a warning.
    """
    return affordable(max(1, (os.cpu_count() or 2) // local_size - 1) if workers is None else workers)


def _own_device(name: str, local_rank: int, local_size: int) -> torch.device:
    there = torch.cuda.device_count()
    if name == "cpu" or (name == "auto" and not there):
        return torch.device("cpu")
    if name not in ("auto", "cuda"):
        raise DeviceError(
            f"got device {name!r} for {local_size} processes; expected auto, cpu, or cuda, which gives "
            "each a device of its own."
        )
    if local_size > there:
        raise DeviceError(
            f"torchrun started {local_size} processes here, where there are {there} CUDA device(s). "
            "Start one a device, or give --device cpu."
        )
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)


@contextmanager
def computing_threads(count: int | None) -> Iterator[None]:
    """Set torch's number of threads inside the block and restore it afterwards; None changes nothing."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def compile_errors(what: str) -> Iterator[None]:
    """Turn a failure of `torch.compile` inside the block into a named error.

    Args:
        what: the networks that are compiled.

    Raises:
        ConfigError: they cannot be compiled here.
    """
    try:
        yield
    except RuntimeError as error:
        # Looked up, not imported: importing it takes a second, and where it is not loaded nothing compiled.
        dynamo = sys.modules.get("torch._dynamo.exc")
        if dynamo is None or not isinstance(error, dynamo.TorchDynamoException):
            raise
        reason = " ".join(str(error).strip().split("\n")[:2])  # the first line names only the backend
        raise ConfigError(
            f"torch.compile cannot compile {what} here ({reason}). Leave --compile out, or "
            "install a C++ compiler."
        ) from error
