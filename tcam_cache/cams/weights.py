"""Pretrained weights: torchvision's own, or a plain state dict from a file, checked key by key."""

import hashlib
import io
import re
import warnings
from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import nn

from tcam_cache.cams.backbone import torchvision_network
from tcam_cache.errors import WeightsError

# The layers after pooling, in torchvision's names: they classify ImageNet, and are never used.
CLASSIFICATION_LAYERS = ("fc.", "classifier.")


def pretrained_network(arch: str, weights: str) -> nn.Module | None:
    """Return torchvision's network with the weights that `--weights` names, or None for "none".

    Args:
        arch: torchvision's name.
        weights: "imagenet" (downloaded by torchvision), "none", or a file holding a plain state dict.

    Raises:
        WeightsError: no download, not a state dict, or missing, unexpected or mis-shaped keys (all named).
    """
    if weights == "none":
        return None
    if weights == "imagenet":
        return _downloaded(arch)
    network = torchvision_network(arch)
    load_backbone(network, read_state_dict(Path(weights)), arch, weights)
    return network


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """Read a file that holds a plain state dict, names to tensors.

    Raises:
        WeightsError: the file is missing, unreadable, or holds something else.
    """
    values = read_torch_file(path, _EXPECTED)
    if not isinstance(values, Mapping) or not values:
        raise WeightsError(f"{path} is not a state dict: it holds a {type(values).__name__}. {_EXPECTED}")
    foreign = [
        str(key)
        for key, value in values.items()
        if not (isinstance(key, str) and isinstance(value, torch.Tensor))
    ]
    if foreign:
        raise WeightsError(f"{path} is not a state dict: these entries are no tensors. {_EXPECTED}", foreign)
    return dict(values)


def read_torch_file(path: Path | str, expected: str) -> Any:
    """Read a file of tensors and plain values, without running code from it.

    Args:
        path: the file.
        expected: a sentence for the error: what the file should be.

    Raises:
        WeightsError: the file is missing, or torch cannot read it.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}. {expected}") from error
    return parse_torch_bytes(data, str(path), expected)


def parse_torch_bytes(data: bytes, source: str, expected: str) -> Any:
    """Parse what torch.save wrote: tensors and plain values.

    Args:
        data: the file's content.
        source: where it came from, for the error.
        expected: a sentence for the error: what it should be.

    Raises:
        WeightsError: torch cannot read it.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # A damaged pickle fails in whatever way its bytes happen to spell.
        raise WeightsError(
            f"{source} is not a file of tensors and plain values that torch.save wrote"
            f"{_why_not(data, str(error))}. {expected}"
        ) from error


def load_backbone(network: nn.Module, values: Mapping[str, torch.Tensor], arch: str, source: str) -> None:
    """Load a state dict into a torchvision network, leaving out the original classification layers by name.

    Raises:
        WeightsError: any other difference; every missing, unexpected and mis-shaped key is named.
    """
    wanted = {key: value for key, value in network.state_dict().items() if _of_backbone(key)}
    given = {key: value for key, value in values.items() if _of_backbone(key)}
    # Counters of BatchNorm are absent from old files and play no part in evaluation.
    missing = [
        f"missing {key}" for key in wanted if key not in given and not key.endswith("num_batches_tracked")
    ]
    shapes = [
        f"mis-shaped {key}: got {tuple(given[key].shape)}, expected {tuple(wanted[key].shape)}"
        for key in wanted
        if key in given and given[key].shape != wanted[key].shape
    ]
    unexpected = [f"unexpected {key}" for key in given if key not in wanted]
    # In turn, so that each kind is among the few that are shown.
    faults = [fault for turn in zip_longest(missing, unexpected, shapes) for fault in turn if fault]
    if faults:
        raise WeightsError(
            f"the weights in {source} do not fit {arch}. Give the weights of that architecture, or --arch.",
            faults,
        )
    network.load_state_dict({**wanted, **given}, strict=False)


def weights_hash(values: Mapping[str, torch.Tensor]) -> str:
    """Return the SHA-256 of a state dict's content: names, dtypes, shapes and bytes, in order."""
    digest = hashlib.sha256()
    for name, value in values.items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


_EXPECTED = "Expected a state dict, written by torch.save(model.state_dict(), path)."
_CODE = re.compile(r"Unsupported global: GLOBAL (\S+)")
_CUT = re.compile(r"finding central directory|unexpected EOF")


def _why_not(data: bytes, reason: str) -> str:
    # Most of what torch says is of its own inside; these are the reasons that help.
    if not data:
        return ": it is empty"
    if found := _CODE.search(reason):
        return f": it cannot be read without running code, {found[1]}"
    return ": it is cut short" if _CUT.search(reason) else ""


def _of_backbone(key: str) -> bool:
    return not key.startswith(CLASSIFICATION_LAYERS)


def _downloaded(arch: str) -> nn.Module:
    try:
        return torchvision_network(arch, weights="IMAGENET1K_V1")
    except (URLError, OSError) as error:
        raise WeightsError(
            f"torchvision cannot download the ImageNet weights of {arch} ({error}). "
            "Give a state-dict file with --weights FILE, or --weights none."
        ) from error
