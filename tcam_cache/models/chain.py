"""A torchvision backbone: layers that run one after another, cut into stages where the resolution falls."""

from typing import Any, cast

from torch import Tensor, nn

from tcam_cache.config.classifier import ARCHITECTURES
from tcam_cache.errors import ConfigError
from tcam_cache.models.backbone import (
    TIMM,
    chained,
    feature_layers,
    limit_output_stride,
    split_into_stages,
    torchvision_network,
    torchvision_preprocessing,
)
from tcam_cache.models.tracing import SIDES, Trace, strides, traced


class Chain(nn.ModuleList):
    """The stages of a torchvision network before pooling, shallow to deep.

    Attributes:
        preprocessing: that its ImageNet weights were trained with.
        dilated: whether kernels are dilated where strides were removed.
        channels: of each stage's output, as traced.
        strides: of each stage's output against the frame, as traced.
        depth: channels of the deepest features, which the head pools.
        output_stride: of the deepest features.
        side: of the frames that are traced, in pixels; frames may have any size.
    """

    side = SIDES[0]

    def __init__(
        self,
        arch: str,
        network: nn.Module | None = None,
        output_stride: int | None = None,
        dilated: bool = False,
    ) -> None:
        """Cut a network into stages, and take strides from the deepest ones.

        Raises:
            ConfigError: there is no such architecture or output stride, or its layers are not one chain.
        """
        network = network or torchvision_network(arch)
        layers = feature_layers(network)
        if arch not in ARCHITECTURES:
            layers = chained(layers)
            _require_chain(arch, network, layers)
        stages = split_into_stages(layers.values())
        wanted = limit_output_stride(stages, output_stride, arch, dilated)
        super().__init__(stages)
        self.preprocessing, self.dilated = torchvision_preprocessing(arch), dilated
        self._names = tuple(layers)
        shapes = [[tuple(one.shape) for one in _run(arch, self, side)[0]] for side in SIDES]
        if any(len(shape) != 4 or shape[-1] != shape[-2] for shape in shapes[0]):
            raise _cannot_serve(arch, f"its features have the shapes {shapes[0]}, not (B, K, h, w)")
        self.channels = [shape[1] for shape in shapes[0]]
        self.strides = strides(shapes, SIDES)
        self.depth, self.output_stride = self.channels[-1], wanted
        if self.strides[-1] != wanted:
            raise _cannot_serve(arch, f"its features have the strides {self.strides}")

    def forward(self, values: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return each stage's output, shallow to deep, and the deepest features, each (B, K, h, w).

        Args:
            values: (B, 3, H, W) standardised frames.
        """
        taps = []
        for stage in self:
            values = stage(values)
            taps.append(values)
        return taps, values

    def deepest(self, values: Tensor) -> Tensor:
        """Return the deepest features (B, K, h, w) of standardised frames."""
        for stage in self:
            values = stage(values)
        return values

    def layers(self) -> dict[str, nn.Module]:
        """Return every layer by torchvision's names, in the order they run."""
        in_order = (layer for stage in self for layer in cast(nn.Sequential, stage))
        return chained(dict(zip(self._names, in_order, strict=True)))

    def named(self) -> dict[str, nn.Module]:
        """Return every layer and every module inside one by torchvision's names."""
        return {
            f"{name}.{inner}" if inner else name: module
            for name, layer in self.layers().items()
            for inner, module in layer.named_modules()
        }

    def last(self) -> tuple[str, ...]:
        """Return the name of the layer whose output is the deepest features, as a tuple."""
        return (list(self.layers())[-1],)

    def trace(self) -> Trace:
        """Trace a forward pass to the deepest features."""
        return traced(self, self.side)

    def before(self, deep: int) -> frozenset[str]:
        """Return the names of all that runs before the last `deep` stages."""
        early = list(self)[: max(0, len(self) - deep)]
        count = sum(len(chained({"": stage})) for stage in early)
        first = list(self.layers())[:count]
        return frozenset(
            name for name in self.named() if any(f"{name}.".startswith(f"{one}.") for one in first)
        )

    def cut(self, name: str) -> tuple[nn.Module, nn.Module]:
        """Return the layers before the one that contains a module, and those from there to the features."""
        layers = self.layers()
        place = next(at for at, one in enumerate(layers) if f"{name}.".startswith(f"{one}."))
        modules = list(layers.values())
        return nn.Sequential(*modules[:place]), nn.Sequential(*modules[place:])

    def as_map(self, values: Tensor, _module: nn.Module, _size: tuple[int, int]) -> Tensor | None:
        """Return a module's output (B, K, h, w), or None where it is not spatial."""
        return values if values.ndim == 4 else None

    def halves(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """Return the parameters before the last stage, and those of the last stage."""
        *early, last = self
        return [value for stage in early for value in stage.parameters()], list(last.parameters())


def _run(arch: str, network: nn.Module, side: int) -> Any:
    try:
        return traced(network, side).output
    except Exception as error:  # A network that is no chain raises any error when run as one.
        raise _cannot_serve(arch, str(error).split("\n")[0]) from error


def _require_chain(arch: str, network: nn.Module, layers: dict[str, nn.Module]) -> None:
    """Make sure that every layer takes the unchanged output of the layer before it.

    Raises:
        ConfigError: it does not.
    """
    try:
        calls = traced(network, SIDES[0]).calls
    except Exception as error:
        raise _cannot_serve(arch, str(error).split("\n")[0]) from error
    names = {id(layer): name for name, layer in layers.items()}
    ran = [(names[id(call.module)], call) for call in calls if id(call.module) in names]
    outside = [name for name in layers if name not in dict(ran) and name != "relu"]
    previous = None
    for name, call in ran:
        if previous not in (None, call.taken):
            outside.append(name)
        previous = call.given
    if outside:
        raise _cannot_serve(arch, f"{outside[0]} does not take the output of the layer before it")


def _cannot_serve(arch: str, reason: str) -> ConfigError:
    return ConfigError(
        f"{arch} of torchvision cannot serve as a backbone here: {reason}. Take another, or the same kind of "
        f"network from timm: --arch {TIMM}NAME."
    )
