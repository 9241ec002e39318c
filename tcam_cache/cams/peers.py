"""The CAM methods of torch-cam and pytorch-grad-cam as map functions, each run as its package documents."""

import inspect
import io
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib import metadata
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import nn

from tcam_cache.cams.layers import find_layers
from tcam_cache.devices import as_images
from tcam_cache.errors import ConfigError, near_names
from tcam_cache.extras import optional
from tcam_cache.models import Classifier
from tcam_cache.models.backbone import torchvision_models

SEED = 0


class Peer(NamedTuple):
    """A package of CAM methods.

    Attributes:
        module: that its methods are classes of.
        distribution: its name to pip.
        layers: the parameter of a method that takes the layers.
        run: makes maps (1, h, w) of one image, given the classifier, method, layers, image and class index.
    """

    module: str
    distribution: str
    layers: str
    run: Callable[[Classifier, Callable[..., Any], list[nn.Module], torch.Tensor, int], Any]


def _by_torch_cam(
    classifier: Classifier,
    method: Callable[..., Any],
    layers: list[nn.Module],
    images: torch.Tensor,
    index: int,
) -> Any:
    taken = inspect.signature(method).parameters
    options: dict[str, Any] = {"fc_layer": "head"} if "fc_layer" in taken else {}
    if any(one.kind is one.VAR_KEYWORD for one in taken.values()):
        options["reshape_transform"] = _as_maps(classifier, layers, images)
    with method(classifier, layers, **options) as extractor:
        maps = extractor(index, classifier(images))
        return extractor.fuse_cams(maps) if len(maps) > 1 else maps[0]


def _by_grad_cam(
    classifier: Classifier,
    method: Callable[..., Any],
    layers: list[nn.Module],
    images: torch.Tensor,
    index: int,
) -> Any:
    target = optional("pytorch_grad_cam.utils.model_targets", "gradcam").ClassifierOutputTarget(index)
    extractor = method(classifier, layers, reshape_transform=_as_maps(classifier, layers, images))
    if hasattr(extractor, "get_target_width_height") and "compute_cam_per_layer" not in vars(method):
        # Of the size of the finest layer, instead of enlarged to the frame's.
        kept = extractor.activations_and_grads
        extractor.get_target_width_height = lambda _: max(tuple(one.shape[:1:-1]) for one in kept.activations)
    # Finer-CAM makes the target itself, out of the class and those like it.
    own = "target_idx" in inspect.signature(extractor.forward).parameters
    return extractor(images, None, target_idx=index) if own else extractor(images, [target])


def _as_maps(
    classifier: Classifier, layers: list[nn.Module], images: torch.Tensor
) -> Callable[[torch.Tensor], torch.Tensor | None]:
    """Return a function that makes maps (B, K, h, w) of what a layer gives, which may be tokens."""
    size = (images.shape[-2], images.shape[-1])
    return lambda output: classifier.stages.as_map(output, layers[0], size)


PACKAGES: Mapping[str, Peer] = {
    "torchcam": Peer("torchcam.methods", "torchcam", "target_layer", _by_torch_cam),
    "gradcam": Peer("pytorch_grad_cam", "grad-cam", "target_layers", _by_grad_cam),
}


@dataclass(frozen=True)
class PeerMaps:
    """A method of another CAM package at layers of a classifier; a `MapFunction`.

    Frames are taken one by one, each with the same random numbers: no map depends on others of its batch, and
    methods that mask a frame by every channel in turn need memory for one.

    Attributes:
        classifier: frozen.
        peer: the package.
        method: its class.
        layers: names of modules of the classifier, in the order they run.
        version: of the package.
    """

    classifier: Classifier
    peer: Peer
    method: Callable[..., Any]
    layers: tuple[str, ...]
    version: str

    @classmethod
    def open(cls, package: str, method: str, classifier: Classifier, layers: Sequence[str]) -> Self:
        """Import a package, and find its method and the layers.

        Args:
            package: "torchcam" or "gradcam".
            method: the name of its class, such as "ScoreCAM".
            classifier: frozen, on its device.
            layers: as `find_layers` takes them.

        Raises:
            ConfigError: there is no such method or layer; the nearest names are given.
            ExtraError: the package is not installed.
        """
        peer = PACKAGES[package]
        # Both packages import torchvision, which may need help.
        torchvision_models()
        with _quiet():
            known = _methods(optional(peer.module, package), peer.layers)
        if method not in known:
            raise ConfigError(
                f"{package} has no CAM method {method!r}. {near_names(method, known)}"
                f"Those that it has: {', '.join(sorted(known))}."
            )
        layer_names, named = find_layers(classifier, layers), classifier.stages.named()
        if missing := [name for name in layer_names if name not in named]:
            raise ConfigError(
                f"no module of {classifier.arch} gives what --layers {', '.join(missing)} means. Name one."
            )
        version = f"{peer.distribution} {metadata.version(peer.distribution)}"
        return cls(classifier, peer, known[method], layer_names, version)

    def __call__(self, frames: np.ndarray, tags: Sequence[str], /) -> torch.Tensor:
        """Return the maps (B, h, w) of frames (B, H, W, 3) uint8 RGB, each of the class of its tag."""
        device, named = self.classifier.mean.device, self.classifier.stages.named()
        layers, maps = [named[name] for name in self.layers], []
        for frame, tag in zip(frames, tags, strict=True):
            images = as_images(torch.from_numpy(frame).permute(2, 0, 1)[None], device).requires_grad_()
            with _quiet(), _same_random_numbers():
                output = self.peer.run(
                    self.classifier, self.method, layers, images, self.classifier.classes.index(tag)
                )
            maps.append(torch.as_tensor(output).detach().cpu())
        return torch.cat(maps)


def _methods(module: Any, layers: str) -> dict[str, Callable[..., Any]]:
    """Return the classes of a module that are made of layers, and then make maps, by name."""
    return {
        name: kind
        for name, kind in vars(module).items()
        if isinstance(kind, type)
        and layers in inspect.signature(kind).parameters
        and (hasattr(kind, "forward") or hasattr(kind, "compute_cams"))
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep progress bars, prints and warnings of a package to itself."""
    nowhere = io.StringIO()
    with redirect_stdout(nowhere), redirect_stderr(nowhere), warnings.catch_warnings(action="ignore"):
        yield


@contextmanager
def _same_random_numbers() -> Iterator[None]:
    """Start random numbers anew, as both packages draw them, and go on as before afterwards."""
    before = np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(SEED)
        np.random.seed(SEED)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(before)  # noqa: NPY002
