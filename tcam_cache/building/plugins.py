"""Your own maps: a function or class found by its name, called with frames and tags, its answers checked."""

import hashlib
import importlib
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np
import torch

from tcam_cache.cams import Cams, normalise
from tcam_cache.cams.peers import PeerMaps
from tcam_cache.config.build import PEERS, parse_maps
from tcam_cache.errors import ConfigError, MapError, TcamCacheError, near_names
from tcam_cache.models import Classifier
from tcam_cache.records import MapFunction


@dataclass(frozen=True)
class PluginMaps:
    """Turns frames into the maps of a map function, and the logits of a classifier.

    Attributes:
        name: as `--maps` gives it.
        function: makes the maps.
        classifier: frozen, on its device.
        settings: what identifies the function in the cache's fingerprint, as JSON values.
    """

    name: str
    function: MapFunction
    classifier: Classifier
    settings: dict[str, Any]

    def __call__(self, images: torch.Tensor, targets: int | str) -> tuple[Cams, torch.Tensor]:
        """Return the normalised maps (B, h, w) of (B, 3, S, S) RGB images in [0, 1], and the (B, C) logits.

        Raises:
            MapError: the function raised something, or gave something else than maps.
        """
        logits, classes = self.classifier(images), self.classifier.classes
        indices = [targets] * len(images) if isinstance(targets, int) else logits.argmax(1).tolist()
        frames = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
        # As everywhere in Python, whatever the mode here: functions may differentiate.
        with torch.inference_mode(False), torch.enable_grad():
            try:
                output = self.function(frames, [classes[index] for index in indices])
            except Exception as error:
                raise _failed(self.name, error) from error
        return normalise(_checked(self.name, output, len(images))), logits


def open_plugin(name: str, classifier: Classifier, layers: Sequence[str]) -> PluginMaps:
    """Import the map function that `--maps` names; a class is called with the classifier.

    Args:
        name: "MODULE:NAME", "torchcam:METHOD" or "gradcam:METHOD". Modules may lie in the current folder.
        classifier: frozen, on its device.
        layers: for the methods of packages, as `find_layers` takes them.

    Raises:
        ConfigError: it cannot be imported, is not there, cannot be called, or has no version and no source.
        ExtraError: the package is not installed.
        MapError: the class cannot be made.
    """
    module, attribute = parse_maps(name)
    if module in PEERS:
        peer = PeerMaps.open(module, attribute, classifier, layers)
        return PluginMaps(name, peer, classifier, {"layers": list(peer.layers), "source": peer.version})
    imported = _imported(module)
    member = getattr(imported, attribute, None)
    if not callable(member):
        known = [key for key, value in vars(imported).items() if callable(value) and key[0] != "_"]
        fault = (
            "has no" if member is None else f"has a {type(member).__name__}, no function or class, of name"
        )
        raise ConfigError(
            f"the module {module} of --maps {fault} {attribute}. {near_names(attribute, known)}"
            f"Those that it has: {', '.join(known) or 'none'}."
        )
    try:
        made = member(classifier) if isinstance(member, type) else member
    except Exception as error:
        raise _failed(name, error) from error
    if not callable(made):
        raise ConfigError(
            f"objects of --maps {name} cannot be called. Give the class a __call__(frames, tags)."
        )
    function = cast(MapFunction, made)
    return PluginMaps(name, function, classifier, {"source": _source(name, function, imported, member)})


def _imported(module: str) -> ModuleType:
    # A command's own path begins where the command is installed.
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    try:
        return importlib.import_module(module)
    except Exception as error:  # A module may fail in any way while it is imported.
        raise ConfigError(
            f"cannot import the module {module} of --maps ({type(error).__name__}: {error}). "
            f"{near_names(module, PEERS)}Name one that is installed, or lies in the current folder."
        ) from error


def _source(name: str, function: MapFunction, named_in: ModuleType, member: Any) -> str:
    """Return what stands for the function's numbers in the fingerprint: its version, or a hash of its source.

    The source is the file of the module that names it, and of the one that defines it.
    """
    version = getattr(function, "version", None)
    if isinstance(version, str | int | float):
        return f"version {version}"
    modules = dict.fromkeys([named_in, sys.modules.get(getattr(member, "__module__", ""), named_in)])
    try:
        content = [Path(str(one.__file__)).read_bytes() for one in modules]
    except (AttributeError, OSError) as error:
        raise ConfigError(
            f"the source of --maps {name} cannot be read, so nothing tells its caches apart. Give it a "
            "`version`, or put it into a file."
        ) from error
    return f"sha256 {hashlib.sha256(b''.join(content)).hexdigest()}"


def _failed(name: str, error: Exception) -> TcamCacheError:
    """Return the named error of an exception in a map function, with its way there."""
    if isinstance(error, TcamCacheError):
        return error
    steps = traceback.extract_tb(error.__traceback__)[1:]
    return MapError(
        f"the map function {name} raised {type(error).__name__}: {error}. Correct it and run build again; "
        "finished shots are kept.",
        [f"{step.filename}, line {step.lineno}: {step.line}" for step in steps],
    )


def _checked(name: str, output: Any, count: int) -> torch.Tensor:
    """Return what a map function gave as (B, h, w) floating point maps."""
    try:
        maps = output if isinstance(output, torch.Tensor) else torch.from_numpy(np.ascontiguousarray(output))
        maps, description = maps.detach().cpu(), f"{maps.dtype} of shape {tuple(maps.shape)}"
    except (TypeError, ValueError):
        maps, description = torch.empty(0), f"a {type(output).__name__} that is no array of numbers"
    if maps.is_floating_point() and maps.ndim == 3 and len(maps) == count and maps[0].numel() > 1:
        broken = (~torch.isfinite(maps.float()).all((1, 2))).nonzero().flatten().tolist()
        if not broken:
            return maps
        description = f"NaN or infinite values in map(s) {', '.join(map(str, broken))} of {count}"
    raise MapError(
        f"the map function {name} gave {description}; expected finite floating point maps of shape "
        f"({count}, h, w), one a frame. Correct it and run build again; finished shots are kept."
    )
