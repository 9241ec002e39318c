"""Backbones: torchvision's networks cut into stages, at a chosen output stride."""

import importlib
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from math import prod
from types import ModuleType
from typing import Any, Self

import torch
from torch import nn

from tcam_cache.config.classifier import ARCHITECTURES
from tcam_cache.errors import ConfigError, near_names

# torchvision registers fake kernels for these two operators even if its compiled library was not loaded.
SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared: list[torch.library.Library] = []
COMPILER = "torch._dynamo.utils"


@dataclass(frozen=True)
class Preprocessing:
    """The preprocessing that a backbone was trained with; the defaults are torchvision's for ImageNet.

    Attributes:
        mean: of each channel, RGB in [0, 1].
        std: standard deviation of each channel.
        interpolation: "bilinear", "bicubic", "lanczos" or "nearest": how frames are squashed.
        size: side of the frames in pixels that it was trained on.

    >>> Preprocessing(mean=(0.5, 0.5, 0.5)).to_json()
    {'mean': [0.5, 0.5, 0.5]}
    """

    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    interpolation: str = "bilinear"
    size: int = 224

    def to_json(self) -> dict[str, Any]:
        """Return what differs from ImageNet's, as JSON-able values."""
        usual = asdict(IMAGENET)
        differences = {key: value for key, value in asdict(self).items() if value != usual[key]}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in differences.items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return what `to_json` wrote."""
        settings: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        return cls(**settings)


IMAGENET = Preprocessing()


def torchvision_models() -> ModuleType:
    """Import and return `torchvision.models`; only the networks are used, none of the compiled operators.

    A CPU build of torch beside a CUDA build of torchvision fails with "operator torchvision::nms does not
    exist". Only after that failure are the two schemas declared (declaring them first would abort the process
    where the real library loads).
    """
    try:
        with _compiler_on_demand():
            return importlib.import_module("torchvision.models")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in SCHEMAS:
        library.define(schema)
    _declared.append(library)
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    with _compiler_on_demand():
        return importlib.import_module("torchvision.models")


@contextmanager
def _compiler_on_demand() -> Iterator[None]:
    """Let torchvision import torch's compiler, which takes a second, when its RoI align first asks for it.

    That operator alone names it, and no network here has one.
    """
    if COMPILER in sys.modules:
        yield
        return
    stand_in = ModuleType(COMPILER)
    stand_in.is_compile_supported = lambda device: (  # pyright: ignore[reportAttributeAccessIssue]
        importlib.import_module(COMPILER).is_compile_supported(device)
    )
    sys.modules[COMPILER] = stand_in
    try:
        yield
    finally:
        del sys.modules[COMPILER]


TIMM = "timm:"
PUBLISHED_OUTPUT_STRIDE = 8
OTHERS_OUTPUT_STRIDE = 16
# The first child of one of these types ends the layers before pooling.
_AFTER_FEATURES = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.Linear, nn.Dropout, nn.Flatten)


def torchvision_network(arch: str, weights: str | None = None) -> nn.Module:
    """Return a torchvision network with random weights, or with the named pretrained ones.

    Raises:
        ConfigError: torchvision has no classification network of that name; the nearest are named.
    """
    models = torchvision_models()
    known = models.list_models(module=models)
    if arch not in known:
        raise ConfigError(
            f"got architecture {arch!r}; torchvision has none of that name. {near_names(arch, known)}"
            f"Expected one such as {', '.join(ARCHITECTURES)}, or {TIMM}NAME for a timm network."
        )
    with warnings.catch_warnings(action="ignore"):  # Defaults of two networks will change.
        return models.get_model(arch, weights=weights)


def torchvision_preprocessing(arch: str) -> Preprocessing:
    """Return the preprocessing that a network's first ImageNet weights of torchvision were trained with."""
    first = next(iter(torchvision_models().get_model_weights(arch))).transforms()
    return Preprocessing(
        tuple(first.mean), tuple(first.std), first.interpolation.value, int(first.crop_size[0])
    )


def feature_layers(network: nn.Module) -> dict[str, nn.Module]:
    """Return a network's layers before pooling by torchvision's names, in the order they run.

    VGG's last max pooling belongs to its old head and is dropped, as weakly supervised localization does.
    """
    features = getattr(network, "features", None)
    if features is not None:
        layers = {f"features.{name}": layer for name, layer in features.named_children()}
        if isinstance(features[-1], nn.MaxPool2d):
            layers.popitem()
        if type(network).__name__ == "DenseNet":
            layers["relu"] = nn.ReLU()  # torchvision calls the function, without a module.
        return layers
    layers = {}
    for name, child in network.named_children():
        if isinstance(child, _AFTER_FEATURES) or name in ("classifier", "heads"):
            break
        if not name.lower().startswith("aux"):
            layers[name] = child
    return layers


def chained(layers: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """Return the layers with every `nn.Sequential` flattened, so that each part can be addressed.

    >>> list(chained({"stem": nn.ReLU(), "layer1": nn.Sequential(nn.ReLU(), nn.Tanh())}))
    ['stem', 'layer1.0', 'layer1.1']
    """
    flat: dict[str, nn.Module] = {}
    for name, layer in layers.items():
        parts = {f"{name}.{part}": child for part, child in layer.named_children()}
        flat |= chained(parts) if isinstance(layer, nn.Sequential) else {name: layer}
    return flat


def split_into_stages(layers: Iterable[nn.Module]) -> list[nn.Sequential]:
    """Cut a list of layers before each one that halves the resolution."""
    stages: list[list[nn.Module]] = []
    for layer in layers:
        if not stages or _strided(layer):
            stages.append([])
        stages[-1].append(layer)
    return [nn.Sequential(*stage) for stage in stages]


def stage_stride(stage: nn.Module) -> int:
    """Return how many times smaller a stage makes its input: 1, 2, or 4 where it cuts it into patches."""
    return max((_stride(part) for part in stage.modules()), default=1)


def limit_output_stride(
    stages: list[nn.Sequential], output_stride: int | None, arch: str, dilated: bool = False
) -> int:
    """Remove strides of the deepest stages in place, so that features are `output_stride` times smaller.

    The published ResNet-50 has stride 1 in layer3 and layer4 and no dilation: output stride 8. None means
    that stride. With `dilated`, kernels are dilated as well, so that pretrained layers keep their receptive
    fields, which suits a backbone that stays frozen.

    Raises:
        ConfigError: the architecture has no such output stride.
    """
    strides = [stage_stride(stage) for stage in stages]
    native = prod(strides)
    offered = [stride for stride in (8, 16, 32) if stride <= native]
    if not all(_can_lose_its_stride(part) for stage in stages for part in stage.modules()):
        offered = [native]
    own = PUBLISHED_OUTPUT_STRIDE if arch in ARCHITECTURES else OTHERS_OUTPUT_STRIDE
    stride_limit = (own if own in offered else native) if output_stride is None else output_stride
    if stride_limit not in offered:
        raise ConfigError(
            f"got output stride {stride_limit} for {arch}; expected one of {', '.join(map(str, offered))}."
        )
    reached, rate = 1, 1
    for index, stride in enumerate(strides):
        if reached * stride <= stride_limit:
            reached *= stride
            continue
        spread = rate * 2 if dilated else rate
        stages[index] = nn.Sequential(*(_without_stride(layer, rate, spread) for layer in stages[index]))
        rate = spread
    return stride_limit


def _strided(module: nn.Module) -> bool:
    return any(_stride(part) > 1 for part in module.modules())


def _stride(part: nn.Module) -> int:
    if not isinstance(part, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
        return 1
    return part.stride if isinstance(part.stride, int) else max(part.stride)


def _can_lose_its_stride(part: nn.Module) -> bool:
    # An even kernel cannot keep the resolution; average pooling cannot be taken out of trained weights.
    if isinstance(part, nn.Conv2d):
        return _stride(part) == 1 or all(side % 2 for side in part.kernel_size)
    # Two blocks of Inception pool beside their convolutions by a function, without a module.
    pools = isinstance(part, nn.AvgPool2d) and _stride(part) > 1
    return not pools and type(part).__name__ not in ("InceptionB", "InceptionD")


def _without_stride(layer: nn.Module, rate: int, spread: int) -> nn.Module:
    """Set strides to 1; dilate the strided layer by `rate`, the layers after it by `spread`."""
    if isinstance(layer, nn.MaxPool2d):
        # An even kernel cannot keep the size at stride 1, so that pooling is left out.
        side = layer.kernel_size if isinstance(layer.kernel_size, int) else layer.kernel_size[0]
        even = side % 2 == 0
        return nn.Identity() if even else nn.MaxPool2d(3, stride=1, padding=rate, dilation=rate)
    for part in layer.modules():
        if isinstance(part, nn.Conv2d):
            dilation = rate if part.stride == (2, 2) else spread
            part.stride, part.dilation = (1, 1), (dilation, dilation)
            part.padding = tuple(dilation * (side // 2) for side in part.kernel_size)
    return layer
