"""Backbones: torchvision's networks cut into stages, at a chosen output stride."""

import importlib
import sys
from collections.abc import Iterable, Mapping
from types import ModuleType

import torch
from torch import nn

from tcam_cache.config.classifier import ARCHITECTURES
from tcam_cache.errors import ConfigError

# torchvision registers fake kernels for these two operators even if its compiled library was not loaded.
SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared: list[torch.library.Library] = []


def torchvision_models() -> ModuleType:
    """Import and return `torchvision.models`; only the networks are used, none of the compiled operators.

    A CPU build of torch beside a CUDA build of torchvision fails with "operator torchvision::nms does not
    exist". Only after that failure are the two schemas declared (declaring them first would abort the process
    where the real library loads).
    """
    try:
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
    return importlib.import_module("torchvision.models")


PUBLISHED_OUTPUT_STRIDE = 8


def torchvision_network(arch: str, weights: str | None = None) -> nn.Module:
    """Return a torchvision network with random weights, or with the named pretrained ones.

    Raises:
        ConfigError: the architecture is not supported here.
    """
    if arch not in ARCHITECTURES:
        raise ConfigError(f"got architecture {arch!r}; expected one of {', '.join(ARCHITECTURES)}.")
    return torchvision_models().get_model(arch, weights=weights)


def feature_layers(network: nn.Module) -> dict[str, nn.Module]:
    """Return a network's layers before pooling by torchvision's names, in the order they run.

    VGG's last max pooling belongs to its old head and is dropped, as weakly supervised localization does.
    """
    features = getattr(network, "features", None)
    if features is not None:
        layers = {f"features.{name}": layer for name, layer in features.named_children()}
        if isinstance(features[-1], nn.MaxPool2d):
            layers.popitem()
        return layers
    names = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
    return {name: getattr(network, name) for name in names}


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
    """Return 2 for a stage that halves the resolution, else 1."""
    return 2 if _strided(stage) else 1


def limit_output_stride(
    stages: list[nn.Sequential], output_stride: int | None, arch: str, dilated: bool = False
) -> int:
    """Remove strides of the deepest stages in place, so that features are `output_stride` times smaller.

    The published ResNet-50 has stride 1 in layer3 and layer4 and no dilation: output stride 8. None means
    that stride. With `dilated` kernels are dilated instead, so that pretrained layers keep their receptive
    fields: right for a backbone that stays frozen.

    Raises:
        ConfigError: the architecture has no such output stride.
    """
    strides = [stage_stride(stage) for stage in stages]
    native = 2 ** strides.count(2)
    stride_limit = PUBLISHED_OUTPUT_STRIDE if output_stride is None else output_stride
    offered = [stride for stride in (8, 16, 32) if stride <= native]
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


def stage_channels(stages: Iterable[nn.Module]) -> list[int]:
    """Return the number of channels that leave each stage."""
    return [_last_channels(stage) for stage in stages]


def _strided(module: nn.Module) -> bool:
    kinds = (nn.Conv2d, nn.MaxPool2d)
    return any(isinstance(part, kinds) and part.stride in (2, (2, 2)) for part in module.modules())


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


def _last_channels(stage: nn.Module) -> int:
    # Fire modules and ResNet blocks declare parts in another order than they run, so run the data through.
    first = next(part for part in stage.modules() if isinstance(part, nn.Conv2d))
    was_training = stage.training
    with torch.no_grad():
        channels = stage.eval()(torch.zeros(1, first.in_channels, 16, 16)).shape[1]
    stage.train(was_training)
    return channels
