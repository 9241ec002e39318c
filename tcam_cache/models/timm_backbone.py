"""timm's networks as backbones, convolutional or transformer, by timm's own intermediate features."""

from collections.abc import Sequence
from types import ModuleType
from typing import Any, cast

import torch
from torch import Tensor, nn

from tcam_cache.errors import ConfigError, near_names
from tcam_cache.extras import optional
from tcam_cache.models.backbone import OTHERS_OUTPUT_STRIDE, TIMM, Preprocessing, torchvision_models
from tcam_cache.models.tracing import SIDES, Trace, strides, traced

INTERPOLATIONS = ("bilinear", "bicubic", "lanczos", "nearest")


def timm_library() -> ModuleType:
    """Import and return timm.

    Raises:
        ExtraError: it is not installed.
    """
    torchvision_models()  # First: timm imports torchvision, which fails beside some builds of torch.
    return optional("timm", "timm")


def timm_network(arch: str, **options: Any) -> Any:
    """Return a timm network with random weights, without its classification layers.

    Args:
        arch: its name behind "timm:".
        options: of `timm.create_model`.

    Raises:
        ConfigError: timm has no network of that name; the nearest are named.
        ExtraError: timm is not installed.
    """
    timm, name = timm_library(), arch.removeprefix(TIMM)
    if not timm.is_model(name.partition(".")[0]):
        raise ConfigError(
            f"got architecture {arch!r}; timm {timm.__version__} has none of that name. "
            f"{near_names(name, timm.list_models())}`timm.list_models()` lists them all."
        )
    try:
        return timm.create_model(name, num_classes=0, **options)
    except (TypeError, NotImplementedError, AssertionError) as error:
        raise ConfigError(
            f"timm cannot create {arch} with {', '.join(f'{key} {value}' for key, value in options.items())} "
            f"({error}). Leave that out."
        ) from error
    except RuntimeError as error:
        # The name ends in a tag of pretrained weights that timm does not know.
        raise ConfigError(f"timm cannot create {arch} ({error}). Correct its name.") from error


def timm_preprocessing(network: nn.Module) -> Preprocessing:
    """Return the preprocessing that the weights of a timm network were trained with."""
    facts = cast(Any, network).pretrained_cfg
    known = facts["interpolation"] in INTERPOLATIONS
    return Preprocessing(
        tuple(facts["mean"]),
        tuple(facts["std"]),
        facts["interpolation"] if known else "bilinear",
        int(facts["input_size"][-1]),
    )


class TimmBackbone(nn.Module):
    """The features of a timm network; timm dilates kernels wherever it reduces the output stride.

    Attributes:
        arch: the network's name behind "timm:".
        preprocessing: that its weights were trained with.
        dilated: whether kernels are dilated where strides were removed.
        channels: of each feature that the decoder taps, shallow to deep, as traced.
        strides: of each of them against the frame, as traced.
        depth: channels of the deepest features, which the head pools.
        output_stride: of the deepest features.
        network: timm's.
        indices: of timm's intermediate features that the decoder taps.
        fixed_size: the only side of a frame in pixels that the network takes, or None if it takes any.
    """

    def __init__(self, arch: str, network: nn.Module | None = None, output_stride: int | None = None) -> None:
        """Create the network, with random weights or those of another of the same name.

        Args:
            arch: its name behind "timm:".
            network: whose weights are taken; default: random ones.
            output_stride: of the deepest features; default: 16 where timm offers it, else the network's own.

        Raises:
            ConfigError: there is no such network or output stride, or its features are not spatial.
            ExtraError: timm is not installed.
        """
        super().__init__()
        self.arch = arch
        native = _native_stride(arch)
        stride = output_stride or min(native, OTHERS_OUTPUT_STRIDE)
        self.network: Any = _with_output_stride(arch, stride, native)
        if network is not None:
            self.network.load_state_dict(network.state_dict())
        self.preprocessing = timm_preprocessing(self.network)
        info = _feature_info(self.network)
        self._ends = [one["module"] for one in info]
        # The blocks of a plain transformer have one stride: the decoder taps the last one alone.
        several = len({one["reduction"] for one in info}) > 1
        self.indices = list(range(len(info))) if several else [len(info) - 1]
        self._measure()
        if output_stride not in (None, self.output_stride):
            raise ConfigError(
                f"got output stride {output_stride} for {arch}; expected {self.output_stride}: timm offers "
                "no other for it."
            )
        self.dilated = self.output_stride < native

    def forward(self, values: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return timm's intermediate features, shallow to deep, and the deepest, each (B, K, h, w).

        Args:
            values: (B, 3, H, W) standardised frames.

        Raises:
            ConfigError: the network takes frames of another size alone.
        """
        self._require_size(values)
        deepest, taps = self.network.forward_intermediates(values, indices=self.indices)
        return taps, self._spatial(deepest, values)

    def deepest(self, values: Tensor) -> Tensor:
        """Return the deepest features (B, K, h, w) of standardised frames."""
        self._require_size(values)
        return self._spatial(self.network.forward_features(values), values)

    @property
    def side(self) -> int:
        """Side of a frame in pixels that the network takes."""
        return self.fixed_size or SIDES[0]

    def layers(self) -> dict[str, nn.Module]:
        """Return the modules whose outputs the decoder taps by timm's names, shallow to deep."""
        named, places = self.named(), [self._ends[index] for index in self.indices]
        return {name: named[name] for name in places if name in named}

    def named(self) -> dict[str, nn.Module]:
        """Return every module by timm's names."""
        return {name: module for name, module in self.network.named_modules() if name}

    def last(self) -> tuple[str, ...]:
        """Return the names of the modules whose output is the deepest features, the outermost first."""
        run, names = self.trace(), {id(module): name for name, module in self.named().items()}
        final = (id(run.output), run.output._version)
        matches = {names[id(call.module)] for call in run.calls[:-1] if call.given == final}
        return tuple(sorted(matches, key=lambda name: (name.count("."), name)))

    def trace(self) -> Trace:
        """Trace a forward pass to the deepest features, which keep the network's own layout."""
        return traced(_Trunk(self.network), self.side)

    def before(self, deep: int) -> frozenset[str]:
        """Return the names of all that runs before the last `deep` of timm's stages or blocks."""
        if len(self._ends) <= deep:
            return frozenset()
        named, last = self.named(), self._ends[-(deep + 1)]
        ran = [id(call.module) for call in self.trace().calls]
        place = ran.index(id(named[last])) if last in named and id(named[last]) in ran else -1
        early = set(ran[: place + 1])
        return frozenset(name for name, module in named.items() if id(module) in early)

    def cut(self, _name: str) -> tuple[nn.Module, nn.Module]:
        """Return nothing to run before a module, and the whole network: timm's are no chains to cut."""
        return nn.Sequential(), _Deepest(self)

    def as_map(self, values: Tensor, module: nn.Module, size: tuple[int, int]) -> Tensor | None:
        """Return a module's output as a map (B, K, h, w), or None where it is not spatial.

        Args:
            values: (B, K, h, w), a grid of tokens (B, h, w, K), or tokens (B, N, K).
            module: that returned them.
            size: (height, width) of the frames in pixels.
        """
        if values.ndim == 3:
            return self._map_of_tokens(values, size)
        if values.ndim != 4 or not self._is_channels_last() or _is_channels_first(module):
            return values if values.ndim == 4 else None
        return values.permute(0, 3, 1, 2) if _has_aspect(values.shape[1:3], size) else None

    def halves(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """Return the parameters before the last of timm's stages or blocks, and those from there on."""
        before = {"", *self.before(1)}
        early, late = [], []
        for name, value in self.network.named_parameters():
            (early if name.rpartition(".")[0] in before else late).append(value)
        return early, late

    def _is_channels_last(self) -> bool:
        """Return whether modules return tokens (B, N, K) or grids of them (B, h, w, K)."""
        return hasattr(self.network, "num_prefix_tokens") or (
            getattr(self.network, "output_fmt", "NCHW") == "NHWC"
        )

    def _spatial(self, values: Tensor, frames: Tensor) -> Tensor:
        """Return the deepest features of frames (B, 3, H, W) as (B, K, h, w), or unchanged if not spatial."""
        feature_map = self.as_map(values, self, (frames.shape[-2], frames.shape[-1]))
        return values if feature_map is None else feature_map

    def _map_of_tokens(self, values: Tensor, size: tuple[int, int]) -> Tensor | None:
        """Return the patches' tokens of (B, N, K) as (B, K, h, w), or None where they fill no grid.

        The prefix tokens, of class and registers, belong to no patch; some modules return tokens without.
        """
        height, width = size
        for prefix in (getattr(self.network, "num_prefix_tokens", 0), 0):
            count = values.shape[1] - prefix
            rows = max(1, round((count * height / width) ** 0.5))
            columns = count // rows
            if rows * columns == count and _has_aspect((rows, columns), size):
                return values[:, prefix:].transpose(1, 2).unflatten(2, (rows, columns))
        return None

    def _require_size(self, values: Tensor) -> None:
        side = self.fixed_size
        if side is not None and tuple(values.shape[-2:]) != (side, side):
            raise ConfigError(
                f"{self.arch} takes only frames of {side} x {side} pixels; got {values.shape[-2]} x "
                f"{values.shape[-1]}. Give --image-size {side}, and no --scales."
            )

    def _measure(self) -> None:
        """Trace channels and strides, and find out whether frames must have one fixed size."""
        self.fixed_size: int | None = None
        try:
            sides: tuple[int, ...] = SIDES
            runs = [traced(self, side).output for side in sides]
        except Exception:  # A network of a fixed size raises any error for another.
            self.fixed_size = self.preprocessing.size
            sides = (self.fixed_size,)
            runs = [self._run_once(self.fixed_size)]
        shapes = [[tuple(one.shape) for one in (*taps, deepest)] for taps, deepest in runs]
        if any(len(shape) != 4 or shape[-1] != shape[-2] or shape[-1] < 2 for shape in shapes[0]):
            raise _cannot_serve(
                self.arch, f"its features have the shapes {[shape[1:] for shape in shapes[0]]}"
            )
        *self.channels, self.depth = [shape[1] for shape in shapes[0]]
        *self.strides, self.output_stride = strides(shapes, sides)

    def _run_once(self, side: int) -> tuple[list[Tensor], Tensor]:
        try:
            return traced(self, side).output
        except Exception as error:
            raise _cannot_serve(self.arch, str(error).split("\n")[0]) from error


class _Trunk(nn.Module):
    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network: Any = network

    def forward(self, values: Tensor) -> Tensor:
        """Return the deepest features in the network's layout: (B, K, h, w), (B, h, w, K) or (B, N, K)."""
        return self.network.forward_features(values)


class _Deepest(nn.Module):
    def __init__(self, backbone: TimmBackbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, values: Tensor) -> Tensor:
        """Return the deepest features (B, K, h, w) of standardised frames (B, 3, H, W)."""
        return self.backbone.deepest(values)


def _feature_info(network: nn.Module) -> list[dict[str, Any]]:
    info = getattr(network, "feature_info", ())
    return [dict(one) for one in getattr(info, "info", info)]


def _native_stride(arch: str) -> int:
    with torch.device("meta"):
        network = timm_network(arch)
    info = _feature_info(network)
    if not info or not hasattr(network, "forward_intermediates"):
        raise _cannot_serve(arch, "timm offers no intermediate features of it")
    return int(info[-1]["reduction"])


def _with_output_stride(arch: str, wanted: int, native: int) -> Any:
    """Return a network with the wanted output stride, or its own where timm offers no other."""
    if wanted == native:
        return timm_network(arch)
    try:
        with torch.device("meta"):
            timm_network(arch, output_stride=wanted)
    except ConfigError:
        return timm_network(arch)
    return timm_network(arch, output_stride=wanted)


def _has_aspect(grid: Sequence[int], size: Sequence[int]) -> bool:
    """Return whether (rows, columns) have the aspect of (height, width), to less than one row or column."""
    return abs(grid[0] * size[1] - grid[1] * size[0]) < max(size)


def _is_channels_first(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d | nn.BatchNorm2d | nn.MaxPool2d | nn.AvgPool2d)


def _cannot_serve(arch: str, reason: str) -> ConfigError:
    return ConfigError(f"{arch} cannot serve as a backbone here: {reason}. Take another network.")
