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
        preprocessing: what its ImageNet weights were trained to see.
        dilated: kernels spread where strides were removed.
        channels: of each stage's output, as traced.
        strides: of each stage's output against the frame, as traced.
        depth: channels of the deepest features, which the head pools.
        output_stride: of the deepest features.
        side: of a frame in pixels that the network takes; any other does as well.
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
            ConfigError: there is no such architecture or output stride, or it is no chain of layers.
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
        """Return each stage's output, shallow to deep, and the deepest features, for standardised frames."""
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
        """Return every layer by torchvision's name, in the order they run one after another."""
        in_order = (layer for stage in self for layer in cast(nn.Sequential, stage))
        return chained(dict(zip(self._names, in_order, strict=True)))

    def named(self) -> dict[str, nn.Module]:
        """Return every layer and every module inside one by torchvision's name."""
        return {
            f"{name}.{inner}" if inner else name: module
            for name, layer in self.layers().items()
            for inner, module in layer.named_modules()
        }

    def last(self) -> tuple[str, ...]:
        """Return the names of what gives the deepest features, the usual one first."""
        return (list(self.layers())[-1],)

    def trace(self) -> Trace:
        """Return the calls of a forward pass to the deepest features."""
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
        """Return what runs before the layer that a module is in, and what runs from there to the features."""
        layers = self.layers()
        place = next(at for at, one in enumerate(layers) if f"{name}.".startswith(f"{one}."))
        modules = list(layers.values())
        return nn.Sequential(*modules[:place]), nn.Sequential(*modules[place:])

    def as_map(self, values: Tensor, _module: nn.Module, _size: tuple[int, int]) -> Tensor | None:
        """Return what a module gave as (B, K, h, w), or None where it is no map."""
        return values if values.ndim == 4 else None

    def halves(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """Return the parameters before the last stage, and those of the last stage."""
        *early, last = self
        return [value for stage in early for value in stage.parameters()], list(last.parameters())


def _run(arch: str, network: nn.Module, side: int) -> Any:
    try:
        return traced(network, side).output
    except Exception as error:  # A network that is run as it was not meant to be fails in any way it can.
        raise _cannot_serve(arch, str(error).split("\n")[0]) from error


def _require_chain(arch: str, network: nn.Module, layers: dict[str, nn.Module]) -> None:
    """Make sure that each layer takes what the one before it gives, and nothing else happens between them.

    Raises:
        ConfigError: it does not.
    """
    try:
        calls = traced(network, SIDES[0]).calls
    except Exception as error:
        raise _cannot_serve(arch, str(error).split("\n")[0]) from error
    given, of = None, {id(layer): name for name, layer in layers.items()}
    ran = [(of[id(call.module)], call) for call in calls if id(call.module) in of]
    missing = [name for name in layers if name not in dict(ran) and name != "relu"]
    for name, call in ran:
        if given not in (None, call.taken):
            missing.append(name)
        given = call.given
    if missing:
        raise _cannot_serve(arch, f"{missing[0]} is no link of a chain of layers")


def _cannot_serve(arch: str, reason: str) -> ConfigError:
    return ConfigError(
        f"{arch} of torchvision cannot serve as a backbone here: {reason}. Take another, or the same kind of "
        f"network from timm: --arch {TIMM}NAME."
    )
