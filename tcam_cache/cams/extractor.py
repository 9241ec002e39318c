"""CAMs of any method at any layer: closed forms where they exist, else a partial backward pass."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch._dynamo.exc import TorchDynamoException

from tcam_cache.cams.fusion import DEEP_STAGES, Cams, fused, normalise
from tcam_cache.cams.layers import LAST, check_spatial, find_layers, shallow_layers
from tcam_cache.cams.methods import ACTIVATION, GRADIENT_FORMS, closed_form, mean_activation
from tcam_cache.config.build import METHODS
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
    """Return the (B, N) int64 class indices of the maps, N = C for "all", else 1; logits are (B, C)."""
    if isinstance(targets, torch.Tensor):
        return targets.to(logits.device)[:, None]
    if targets == PREDICTION:
        return logits.argmax(1, keepdim=True)
    return torch.arange(logits.shape[1], device=logits.device).expand(len(logits), -1)


# Smooth Grad-CAM++: number of noisy inputs, and standard deviation of the noise on the standardised input,
# as in its implementations. Every frame gets the same noise, so that no map depends on the rest of the batch.
SMOOTH = "smooth-gradcam++"
SMOOTH_RUNS, SMOOTH_NOISE, SMOOTH_SEED = 4, 0.3, 0

# The activations (B, K, h, w) of each chosen layer, and the (B, C) logits, in one graph.
Run = tuple[list[torch.Tensor], torch.Tensor]


class CamExtractor:
    """Turns frames into normalised CAMs and logits by one forward pass, and a partial backward where needed.

    At the last layer before a GAP + linear head every method has a closed form: one matrix product. Elsewhere
    the frozen network runs to the shallowest layer without gradients, and only the layers after it are
    differentiated, for the whole batch at once; `activation` needs no gradient. It sets no hooks, weights get
    no gradients, and it also works under `torch.no_grad()` and `torch.inference_mode()`.

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
        compiled: bool = False,
        amp: torch.dtype | None = None,
    ) -> None:
        """Choose method and layers.

        Args:
            classifier: in evaluation mode.
            method: one of `METHODS`.
            layers: names of its layers, or "last"; maps of several layers are fused by their maximum.
            compiled: run the forward pass through `torch.compile`.
            amp: the precision of the network's forward pass, such as `torch.bfloat16`; the arithmetic of the
                CAMs themselves stays in single precision.

        Raises:
            ConfigError: an unknown method or layer, a method not defined at that layer, or a classifier in
                training mode.
        """
        if method not in METHODS:
            raise ConfigError(f"unknown CAM method {method!r}. Those that exist: {', '.join(METHODS)}.")
        if classifier.training:
            raise ConfigError("the classifier is in training mode. Call its freeze() first.")
        self.classifier, self.method, self._amp = classifier, method, amp
        self.layers = find_layers(classifier, layers)
        modules = classifier.layers()
        self.is_closed = self.layers == (list(modules)[-1],) and isinstance(classifier.head, nn.Linear)
        if method not in (*GRADIENT_FORMS, ACTIVATION) and not self.is_closed:
            raise ConfigError(
                f"{method} is made of the head's weights: it needs one linear layer right behind the layer. "
                f"Got {', '.join(self.layers)} and a {type(classifier.head).__name__}. Take the last layer, "
                f"or one of {', '.join(GRADIENT_FORMS)}, {ACTIVATION}."
            )
        shallow = shallow_layers(classifier, DEEP_STAGES)
        self._shallow = [name in shallow for name in self.layers]
        ends = [list(modules).index(name) + 1 for name in self.layers]
        before, *self._behind = [
            nn.Sequential(*list(modules.values())[start:end])
            for start, end in pairwise([0, *ends, len(modules)])
        ]
        # One program for all batch sizes: results must not depend on the sizes of earlier batches.
        self._before = torch.compile(before, dynamic=True) if compiled else before

    def __call__(self, images: torch.Tensor, targets: Targets) -> tuple[Cams, torch.Tensor]:
        """Return the CAMs of a batch and its (B, C) logits.

        Args:
            images: (B, 3, H, W) RGB in [0, 1].
            targets: one class index for all frames, one per frame, "prediction" or "all" (maps (B, C, h, w)).

        Raises:
            ConfigError: a class index out of range, or a layer whose activations are not spatial.
        """
        checked = checked_targets(targets, len(images), self.classifier.classes)
        with torch.no_grad():
            values = self.classifier.standardised(images)
            activations = self._activations(values)
        check_spatial(self.classifier, self.layers[0], activations)
        maps, logits = self._maps(values, activations, checked)
        return normalise(maps if checked == ALL else maps[:, 0]), logits

    def _maps(
        self, values: torch.Tensor, activations: torch.Tensor, targets: str | torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return raw maps (B, N, h, w) of N classes per frame, and the (B, C) logits."""
        if self.method == ACTIVATION:
            return self._class_free(activations, targets)
        return (self._closed if self.is_closed else self._by_gradient)(values, activations, targets)

    @torch.no_grad()
    def _class_free(
        self, activations: torch.Tensor, targets: str | torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        layers, logits = self._run(activations)
        maps = self._of_layers([mean_activation(layer) for layer in layers])
        return maps[:, None].expand(-1, chosen_classes(targets, logits).shape[1], -1, -1), logits

    @torch.no_grad()
    def _closed(
        self, _values: torch.Tensor, activations: torch.Tensor, targets: str | torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        logits = self.classifier.logits(activations)
        head = self.classifier.head.weight[chosen_classes(targets, logits)]
        return closed_form(self.method, activations, head), logits

    # Tensors of inference mode can never get gradients, so it is switched off here.
    @torch.inference_mode(False)
    @torch.enable_grad()
    def _by_gradient(
        self, values: torch.Tensor, activations: torch.Tensor, targets: str | torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        clean = self._run(activations)
        classes = chosen_classes(targets, clean[1].detach()).clone()
        runs = [clean] if self.method != SMOOTH else [self._run(noisy) for noisy in self._noisy(values)]
        maps = [
            self._layer_map(clean[0], runs, classes[:, column], column + 1 < classes.shape[1])
            for column in range(classes.shape[1])
        ]
        return torch.stack(maps, 1), clean[1].detach()

    def _layer_map(
        self, activations: list[torch.Tensor], runs: list[Run], classes: torch.Tensor, keep_graph: bool
    ) -> torch.Tensor:
        form = GRADIENT_FORMS[self.method]
        scores = [logits.gather(1, classes[:, None]).sum() for _, logits in runs]
        gradients = [
            torch.autograd.grad(score, layers, retain_graph=keep_graph)
            for score, (layers, _) in zip(scores, runs, strict=True)
        ]
        with torch.no_grad():
            of_layers = map(torch.stack, zip(*gradients, strict=True))
            return self._of_layers([form(*of_layer) for of_layer in zip(activations, of_layers, strict=True)])

    def _of_layers(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        return maps[0] if len(maps) == 1 else fused(maps, self._shallow)

    def _run(self, activations: torch.Tensor) -> Run:
        layers = [activations.detach().clone().requires_grad_(torch.is_grad_enabled())]
        with self._autocast(activations):
            # A layer may work in place, so each gets a copy: the stored activations must not change.
            for part in self._behind:
                layers.append(part(layers[-1].clone()).to(activations.dtype))
        *kept, deepest = layers
        return kept, self.classifier.logits(deepest)

    def _noisy(self, values: torch.Tensor) -> list[torch.Tensor]:
        generator = torch.Generator().manual_seed(SMOOTH_SEED)
        noise = SMOOTH_NOISE * torch.randn(SMOOTH_RUNS, *values.shape[1:], generator=generator)
        with torch.no_grad():
            return [self._activations(values + sample.to(values)) for sample in noise]

    def _activations(self, values: torch.Tensor) -> torch.Tensor:
        try:
            with self._autocast(values):
                return self._before(values).to(values.dtype)
        except TorchDynamoException as error:
            reason = str(error).strip().split("\n")[0]
            raise ConfigError(
                f"torch.compile cannot compile the classifier here ({reason}). Leave compiling out, "
                "or install a C++ compiler."
            ) from error

    def _autocast(self, values: torch.Tensor) -> torch.autocast:
        return torch.autocast(values.device.type, self._amp, enabled=self._amp is not None)
