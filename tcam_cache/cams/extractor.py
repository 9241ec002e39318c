"""CAMs of any method at any layer: closed forms where they exist, else a partial backward pass."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import nn

from tcam_cache.cams.fusion import DEEP_STAGES, Cams, fused, normalise
from tcam_cache.cams.layers import LAST, check_spatial, find_layers
from tcam_cache.cams.methods import ACTIVATION, GRADIENT_FORMS, closed_form, mean_activation
from tcam_cache.cams.recording import recorded
from tcam_cache.config.build import METHODS
from tcam_cache.devices import compile_errors
from tcam_cache.errors import ConfigError
from tcam_cache.models import Classifier

PREDICTION, ALL = "prediction", "all"
Targets = int | str | Sequence[int] | torch.Tensor


def checked_targets(targets: Targets, batch: int, classes: Sequence[str]) -> str | torch.Tensor:
    """Return "prediction", "all", or a (B,) int64 tensor of class indices.

    Args:
        targets: one class index for all frames, one index per frame, "prediction" or "all".
        batch: B, the number of frames.
        classes: the classifier's class names.

    Raises:
        ConfigError: another word, another number of indices, or an index out of range (all are listed).
    """
    if isinstance(targets, str):
        if targets in (PREDICTION, ALL):
            return targets
        raise ConfigError(f"got target {targets!r}; expected class indices, {PREDICTION!r} or {ALL!r}.")
    indices = torch.as_tensor(targets)
    if indices.dtype.is_floating_point or indices.dtype == torch.bool or indices.shape not in ((), (batch,)):
        raise ConfigError(
            f"got targets of shape {tuple(indices.shape)} and type {indices.dtype} for {batch} frames; "
            "expected one class index, or one for each frame."
        )
    wrong = sorted({index for index in indices.reshape(-1).tolist() if not 0 <= index < len(classes)})
    if wrong:
        known = ", ".join(f"{index} {name}" for index, name in enumerate(classes))
        raise ConfigError(f"got class indices {wrong}; expected some of: {known}.")
    return indices.long().expand(batch)


def chosen_classes(targets: str | torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Return the (B, N) int64 class indices of the maps, N = C for "all", else 1; logits are (B, C).

    An index below 0 stands for the predicted class.
    """
    if isinstance(targets, torch.Tensor):
        indices = targets.to(logits.device)[:, None]
        return torch.where(indices < 0, logits.argmax(1, keepdim=True), indices)
    if targets == PREDICTION:
        return logits.argmax(1, keepdim=True)
    return torch.arange(logits.shape[1], device=logits.device).expand(logits.shape[0], -1)


# Smooth Grad-CAM++: number of noisy inputs, and standard deviation of the noise on the standardised input,
# as in its implementations. Every frame gets the same noise, so that no map depends on the rest of the batch.
SMOOTH = "smooth-gradcam++"
SMOOTH_RUNS, SMOOTH_NOISE, SMOOTH_SEED = 4, 0.3, 0

# The raw output of each chosen layer, and the (B, C) logits, in one graph.
Run = tuple[list[torch.Tensor], torch.Tensor]


class CamExtractor:
    """Turns frames into normalised CAMs and logits by one forward pass, and a partial backward where needed.

    At the last layer before a GAP + linear head every method has a closed form: one matrix product. At any
    other module the frozen network runs to the shallowest layer without gradients, and only what follows it
    is differentiated, for the whole batch at once; `activation` needs no gradient at all. No hook is left
    behind, no weight gets a gradient, and it also works under `torch.no_grad()` and `torch.inference_mode()`.

    >>> model = Classifier("squeezenet1_1", ("cat", "dog")).freeze()
    >>> cams, logits = CamExtractor(model, "layercam")(torch.rand(2, 3, 64, 64), [0, 1])
    >>> cams.maps.shape, logits.shape
    (torch.Size([2, 7, 7]), torch.Size([2, 2]))
    """

    def __init__(
        self,
        classifier: Classifier,
        method: str = "layercam",
        layers: Sequence[str] = (LAST,),
        *,
        fuse: str = "max",
        compiled: bool = False,
        amp: torch.dtype | None = None,
        taps: bool = False,
    ) -> None:
        """Choose method and layers.

        Args:
            classifier: in evaluation mode.
            method: one of `METHODS`.
            layers: names of its modules at any depth, "last" or "auto"; see `find_layers`.
            fuse: how the maps of several become one: "max", "mean" or "geometric".
            compiled: run what comes before the first of the layers through `torch.compile`.
            amp: the precision of the network's forward pass, such as `torch.bfloat16`; the arithmetic of the
                CAMs themselves stays in single precision.
            taps: keep what a decoder taps of each pass; see `with_features`. Excludes `compiled`.

        Raises:
            ConfigError: an unknown method or layer, a method that has no form at that layer, nothing to
                compile, or a classifier in training mode.
        """
        if method not in METHODS:
            raise ConfigError(f"unknown CAM method {method!r}. Those that exist: {', '.join(METHODS)}.")
        if classifier.training:
            raise ConfigError("the classifier is in training mode. Call its freeze() first.")
        self.classifier, self.method, self._amp, self._fuse = classifier, method, amp, fuse
        self.layers = find_layers(classifier, layers)
        pooled = self.layers[0] in (*classifier.stages.last(), LAST)
        self.is_closed = len(self.layers) == 1 and pooled and isinstance(classifier.head, nn.Linear)
        if method not in (*GRADIENT_FORMS, ACTIVATION) and not self.is_closed:
            raise ConfigError(
                f"{method} is made of the head's weights: it needs one linear layer right behind the layer. "
                f"Got {', '.join(self.layers)} and a {type(classifier.head).__name__}. Take the last layer, "
                f"or one of {', '.join(GRADIENT_FORMS)}, {ACTIVATION}."
            )
        shallow = classifier.stages.before(DEEP_STAGES) if len(self.layers) > 1 else ()
        self._shallow = [name in shallow for name in self.layers]
        self._tapped = _Tapped(classifier.stages) if taps else None
        self._before, self._behind = self._cut(compiled)

    def __call__(self, images: torch.Tensor, targets: Targets) -> tuple[Cams, torch.Tensor]:
        """Return the CAMs of a batch and its (B, C) logits.

        Args:
            images: (B, 3, H, W) RGB in [0, 1].
            targets: one class index for all frames, one per frame, "prediction" or "all" (maps (B, C, h, w)).

        Raises:
            ConfigError: a class index out of range, or a layer whose activations are not spatial.
        """
        return self._of(images, checked_targets(targets, images.shape[0], self.classifier.classes))

    def _of(self, images: torch.Tensor, targets: str | torch.Tensor) -> tuple[Cams, torch.Tensor]:
        """Return what a call does, for checked targets."""
        with torch.no_grad():
            values = self.classifier.standardised(images)
        maps, logits = self._maps(values, targets)
        is_all = isinstance(targets, str) and targets == ALL
        return normalise(maps if is_all else maps[:, 0]), logits

    def with_features(
        self, images: torch.Tensor, targets: str | torch.Tensor
    ) -> tuple[list[torch.Tensor], torch.Tensor, Cams, torch.Tensor]:
        """Return of one forward pass the features that a decoder taps, the deepest ones, CAMs and logits.

        The first are a list, shallow to deep; the deepest are (B, K, h, w).

        Args:
            images: (B, 3, H, W) RGB in [0, 1].
            targets: as `checked_targets` returns them; an index below 0 stands for the predicted class.

        Raises:
            ConfigError: the extractor was made without `taps`, or a layer's activations are not spatial.
        """
        if self._tapped is None:
            raise ConfigError("the extractor keeps no features. Make it with taps=True.")
        self._tapped.kept = None
        cams, logits = self._of(images, targets)
        # A pass of the whole backbone has set them.
        features, deepest = cast(Kept, self._tapped.kept)
        return features, deepest, cams, logits

    def _cut(self, compiled: bool) -> tuple[nn.Module, nn.Module]:
        """Return the part of the backbone before the first of the layers, and the rest."""
        stages, name = self.classifier.stages, self.layers[0]
        if self._tapped is not None:
            return (self._tapped, nn.Identity()) if self.is_closed else (nn.Identity(), self._tapped)
        before, behind = (_Deepest(stages), nn.Identity()) if self.is_closed else stages.cut(name)
        if not compiled:
            return before, behind
        if next(before.parameters(), None) is None:
            raise ConfigError(
                f"there is nothing to compile before layer {name} of {self.classifier.arch}. Leave compiling "
                "out, or take the last layer."
            )
        # One program for every batch size: which one runs may not depend on the batches that came before.
        return cast(nn.Module, torch.compile(before, dynamic=True)), behind

    def _maps(self, values: torch.Tensor, targets: str | torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return raw maps (B, N, h, w) of N classes a frame and (B, C) logits, of (B, 3, H, W) `values`."""
        if self.is_closed:
            return self._closed(values, targets)
        return (self._class_free if self.method == ACTIVATION else self._by_gradient)(values, targets)

    @torch.no_grad()
    def _closed(self, values: torch.Tensor, targets: str | torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what `_maps` does by the closed form of the last layer."""
        activations = self._entered(values)
        check_spatial(self.classifier, self.layers[0], activations, values.shape[0])
        logits = self.classifier.logits(activations)
        chosen = chosen_classes(targets, logits)
        if self.method == ACTIVATION:
            return mean_activation(activations)[:, None].expand(-1, chosen.shape[1], -1, -1), logits
        return closed_form(self.method, activations, self.classifier.head.weight[chosen]), logits

    @torch.no_grad()
    def _class_free(
        self, values: torch.Tensor, targets: str | torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what `_maps` does by the mean activation, which is the same for every class."""
        kept, logits = self._run(values, gradients=False)
        maps = self._of_layers([mean_activation(one) for one in self._spatial(kept, values)])
        return maps[:, None].expand(-1, chosen_classes(targets, logits).shape[1], -1, -1), logits

    # Tensors of inference mode can never be differentiated, so this leaves it.
    @torch.inference_mode(False)
    @torch.enable_grad()
    def _by_gradient(
        self, values: torch.Tensor, targets: str | torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what `_maps` does by one partial backward pass per class."""
        kept, logits = clean = self._run(values, gradients=True)
        activations = [one.detach() for one in self._spatial(kept, values)]
        classes = chosen_classes(targets, logits.detach()).clone()
        runs = [clean] if self.method != SMOOTH else [self._run(one, True) for one in self._noisy(values)]
        maps = []
        for column in range(classes.shape[1]):
            gradients = self._gradients(runs, classes[:, column], column + 1 < classes.shape[1], values)
            with torch.no_grad():
                pairs = zip(activations, gradients, strict=True)
                maps.append(self._of_layers([GRADIENT_FORMS[self.method](*pair) for pair in pairs]))
        return torch.stack(maps, 1), logits.detach()

    def _gradients(
        self, runs: Sequence[Run], classes: torch.Tensor, again: bool, values: torch.Tensor
    ) -> list[torch.Tensor]:
        """Return each layer's gradients (n, B, K, h, w) of one class a frame, over n runs."""
        of_runs = []
        for layers, logits in runs:
            score = logits.gather(1, classes[:, None]).sum()
            gradients = torch.autograd.grad(score, layers, retain_graph=again, allow_unused=True)
            filled = [
                torch.zeros_like(one) if grad is None else grad
                for one, grad in zip(layers, gradients, strict=True)
            ]
            of_runs.append(self._spatial(filled, values))
        return [torch.stack(of_layer) for of_layer in zip(*of_runs, strict=True)]

    def _of_layers(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the (B, h, w) maps of the layers as one."""
        return maps[0] if len(maps) == 1 else fused(maps, self._shallow, self._fuse)

    def _run(self, values: torch.Tensor, gradients: bool) -> Run:
        """Run the network on standardised frames (B, 3, H, W), and record the outputs of the layers."""
        with torch.no_grad():
            entered = self._entered(values)
        named = self.classifier.stages.named()
        modules = [named.get(name, self._behind) for name in self.layers]
        with recorded(modules, values.dtype, gradients) as kept:
            with self._autocast(values):
                deepest = self._behind(entered).to(values.dtype)
            return kept, self.classifier.logits(deepest)

    def _spatial(self, kept: Sequence[torch.Tensor], values: torch.Tensor) -> list[torch.Tensor]:
        """Return the layers' outputs as maps (B, K, h, w)."""
        stages, size = self.classifier.stages, (values.shape[-2], values.shape[-1])
        named = stages.named()
        layer_maps = []
        for name, one in zip(self.layers, kept, strict=True):
            maps = stages.as_map(one, named.get(name, stages), size)
            check_spatial(self.classifier, name, maps, values.shape[0])
            layer_maps.append(maps)
        return layer_maps

    def _noisy(self, values: torch.Tensor) -> list[torch.Tensor]:
        """Return copies of standardised frames (B, 3, H, W), each with its own noise."""
        generator = torch.Generator().manual_seed(SMOOTH_SEED)
        noise = SMOOTH_NOISE * torch.randn(SMOOTH_RUNS, *values.shape[1:], generator=generator)
        return [values + one.to(values) for one in noise]

    def _entered(self, values: torch.Tensor) -> torch.Tensor:
        """Return the input of the rest of the backbone; in the closed form, the deepest features."""
        with compile_errors("the classifier"), self._autocast(values):
            return self._before(values).to(values.dtype)

    def _autocast(self, values: torch.Tensor) -> torch.autocast:
        return torch.autocast(values.device.type, self._amp, enabled=self._amp is not None)


# What a decoder taps of a pass, and the deepest features.
Kept = tuple[list[torch.Tensor], torch.Tensor]


class _Tapped(nn.Module):
    """The whole backbone, which keeps what a decoder taps of its first pass."""

    def __init__(self, stages: Any) -> None:
        super().__init__()
        self.stages: Any = stages
        self.kept: Kept | None = None

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return the deepest features (B, K, h, w) of standardised frames."""
        taps, deepest = self.stages(values)
        # Smooth Grad-CAM++ runs again, on noise.
        if self.kept is None:
            self.kept = [one.detach() for one in taps], deepest.detach()
        return deepest


class _Deepest(nn.Module):
    def __init__(self, stages: Any) -> None:
        super().__init__()
        self.stages: Any = stages

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return the deepest features (B, K, h, w) of standardised frames (B, 3, H, W)."""
        return self.stages.deepest(values)
