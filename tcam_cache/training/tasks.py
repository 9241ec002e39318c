"""The two tasks that are fitted: the classifier g on tags, and the decoder f on pseudo-labels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import avg_pool2d, binary_cross_entropy_with_logits, cross_entropy, one_hot

from tcam_cache.config import ClassifierConfig, TrainConfig
from tcam_cache.devices import as_images, compile_errors, on_device, to_device
from tcam_cache.models import Classifier, Decoder
from tcam_cache.training.loop import step_generator
from tcam_cache.training.losses import barrier_t, shared_terms, tcam_terms
from tcam_cache.training.pseudo_labels import PseudoLabels, draw_pseudo_labels
from tcam_cache.training.ranks import SINGLE_PROCESS, Ranks
from tcam_cache.training.run_folder import VAL_LOSS
from tcam_cache.training.samples import EpochBatches, Sample
from tcam_cache.training.schedule import warmth


class ClassifierTask:
    """Fit a classifier to the tags of independent frames by cross-entropy (paper, Sec. 4.1).

    Args:
        classifier: has `stages`, `head`, `halves()` and `forward(images in [0, 1]) -> logits`.
        config: learning rates; with `freeze_backbone` the head alone is fitted and batch norms stand still.
        device: where steps run.
    """

    def __init__(self, classifier: Classifier, config: ClassifierConfig, device: torch.device) -> None:
        self.classifier = to_device(classifier, device)
        self.frozen, self.loss = config.freeze_backbone, config.loss
        self.scale, self.device = config.lr_last_stage, device
        self.counts: dict[str, torch.Tensor] = {}
        self.classifier.stages.requires_grad_(not self.frozen)

    def model(self) -> nn.Module:
        """Return the classifier."""
        return self.classifier

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the early stages, and the last stage and head with their larger learning rate."""
        early, last = self.classifier.halves()
        fast = {"params": [*last, *self.classifier.head.parameters()], "scale": self.scale}
        if self.frozen:
            return [{**fast, "params": list(self.classifier.head.parameters())}]
        return [{"params": early, "scale": 1.0}, fast] if early else [fast]

    def start_epoch(self, epoch: int) -> dict[str, float]:
        """Put the fitted modules into training mode."""
        self.classifier.train()
        self.classifier.stages.train(not self.frozen)
        return {}

    def losses(self, batch: Sample, generator: torch.Generator, done: float = 0.0) -> dict[str, torch.Tensor]:
        """Return the cross-entropy of the frames' tags, or the mean of the one-vs-rest logistic losses."""
        tags = on_device(batch.tag, self.device)
        with autocast(self.device):
            logits = self.classifier(as_images(batch.rgb, self.device)).float()
        if self.loss == "one-vs-rest":
            present = one_hot(tags, logits.shape[1]).float()
            return {"one_vs_rest": binary_cross_entropy_with_logits(logits, present)}
        return {"cross_entropy": cross_entropy(logits, tags)}


class DecoderTask:
    """Fit a decoder to pseudo-labels from CAM-TMP, with the CRF and size terms (TCAM Eq. 1-5).

    Args:
        encoder: the frozen classifier; has `features(images in [0, 1]) -> list of tensors`.
        decoder: the fitted module.
        config: sampling of pseudo-labels, weights of the terms, schedule of the barrier, precision, and
            whether the networks are compiled.
        device: the device of the steps.
        ranks: the processes that take every step; `losses` returns this rank's part.
    """

    def __init__(
        self,
        encoder: Classifier,
        decoder: Decoder,
        config: TrainConfig,
        device: torch.device,
        ranks: Ranks = SINGLE_PROCESS,
    ) -> None:
        self.encoder = to_device(encoder, device).eval()
        self.decoder = to_device(decoder, device)
        self.config, self.device, self.ranks = config, device, ranks
        self._features, self._decode = self.encoder.features, self.decoder
        if config.compile:
            self._features, self._decode = torch.compile(self._features), torch.compile(self._decode)
        self.t = config.barrier_t
        self.counts = {"flat_frames": torch.zeros((), dtype=torch.int64, device=device)}

    def model(self) -> nn.Module:
        """Return the decoder; the encoder is frozen."""
        return self.decoder

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return all of the decoder's parameters."""
        return [{"params": list(self.decoder.parameters()), "scale": 1.0}]

    def start_epoch(self, epoch: int) -> dict[str, float]:
        """Set the barrier's t of the epoch and put the decoder into training mode."""
        config = self.config
        self.t = barrier_t(epoch, config.barrier_t, config.barrier_growth, config.barrier_cap)
        self.counts["flat_frames"].zero_()
        self.decoder.train()
        return {"barrier_t": self.t} if config.asc else {}

    def losses(self, batch: Sample, generator: torch.Generator, done: float = 0.0) -> dict[str, torch.Tensor]:
        """Return cross-entropy, CRF and size terms of a batch, on freshly drawn pseudo-labels.

        Counts frames with a flat CAM, which have no pseudo-labels.
        """
        if not len(batch.tag):
            return shared_terms({}, batch.cam.to(self.device), batch.clip, self.config, self.ranks)
        terms, drawn = self._terms(batch, self.t, generator, warmth(self.config.colour_warmup, done))
        self.counts["flat_frames"] += drawn.flat.sum()
        return shared_terms(terms, drawn.labels, batch.clip, self.config, self.ranks)

    @torch.no_grad()
    def validation_losses(self, batch: Sample, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Return the losses in evaluation mode: the barrier of the first epoch, no warm-up, no counting.

        So the terms of two epochs can be compared.
        """
        self.decoder.eval()
        return self._terms(batch, self.config.barrier_t, generator, drops=False)[0]

    def logits(self, images: torch.Tensor, seeds: torch.Tensor | None = None) -> torch.Tensor:
        """Return the decoder's (B, 2, h, w) logits of (B, 3, H, W) images in [0, 1].

        Args:
            images: the frames.
            seeds: (B,) of each frame's feature dropout; None for none.

        Raises:
            ConfigError: the networks should be compiled, but that fails.
        """
        with compile_errors("encoder and decoder"):
            # Inference tensors are safe for the decoder: each is concatenated first, so autograd saves none.
            with torch.inference_mode():
                features = self._features(images)
                if seeds is not None and self.config.dropout:
                    features = without_channels(features, self.config.dropout, seeds)
            return self._decode(features, images)

    def _terms(
        self, batch: Sample, t: float, generator: torch.Generator, warm: float = 1.0, drops: bool = True
    ) -> tuple[dict[str, torch.Tensor], PseudoLabels]:
        config = self.config
        images = as_images(batch.rgb, self.device)
        with autocast(self.device, config.amp):
            logits = self.logits(images, batch.seed if drops else None).float()
        stride = config.decoder_stride
        drawn = draw_pseudo_labels(
            _pooled(on_device(batch.cam, self.device)[:, None], stride)[:, 0],
            batch.seed,
            fg_top=config.fg_top,
            bg_low=config.bg_low,
            pixels=config.pixels,
            dilate=config.dilate,
            fg_level=config.fg_level,
            fg_region=config.fg_region,
        )
        rgb = _pooled(images, stride) * 255
        return tcam_terms(logits, drawn.labels, rgb, batch.clip, config, t, generator, warm), drawn


def without_channels(
    features: Sequence[torch.Tensor], share: float, seeds: torch.Tensor
) -> list[torch.Tensor]:
    """Return each stage's features with a random share of the channels zero, the others scaled up for it.

    Args:
        features: (B, K, h, w) of each stage.
        share: in [0, 1): the probability of each channel to be hidden.
        seeds: (B,) int64 on the CPU: the draws of a frame depend neither on its batch nor on the device.

    >>> kept = without_channels([torch.ones(1, 1000, 1, 1)], 0.3, torch.tensor([0]))[0]
    >>> sorted(set(kept.flatten().tolist())), round((kept > 0).float().mean().item(), 1)
    ([0.0, 1.4285714626312256], 0.7)
    """
    channels = [stage.shape[1] for stage in features]
    # Apart from the frame's pseudo-labels, which begin with its seed.
    rows = [np.random.default_rng([seed, 1]).random(sum(channels)) >= share for seed in seeds.tolist()]
    masks = torch.from_numpy(np.stack(rows)).to(features[0].device, features[0].dtype) / (1 - share)
    parts = masks.split(channels, 1)
    return [stage * part[:, :, None, None] for stage, part in zip(features, parts, strict=True)]


def _pooled(maps: torch.Tensor, stride: int) -> torch.Tensor:
    """Return (B, C, H, W) maps so many times smaller, each pixel the mean of those that it covers."""
    return maps if stride == 1 else avg_pool2d(maps, stride, ceil_mode=True)


def autocast(device: torch.device, amp: str = "auto") -> torch.autocast:
    """Return the autocast context of a precision, "bf16" or "none"; "auto" is bf16 on CUDA only."""
    mixed = amp == "bf16" or (amp == "auto" and device.type == "cuda")
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=mixed)


class ValidationLoss:
    """Return the decoder's mean loss on a split: the same frames, crops and pseudo-labels in every epoch.

    Args:
        task: holds the decoder to validate.
        batches: whole batches of the split.
        ranks: the processes that share the batches; all must call it, and all get the mean.
    """

    def __init__(self, task: DecoderTask, batches: EpochBatches, ranks: Ranks = SINGLE_PROCESS) -> None:
        self.task, self.batches, self.ranks = task, batches, ranks

    def __call__(self) -> dict[str, float]:
        """Return `VAL_LOSS`, the mean over frames."""
        total = frames = 0.0
        steps = self.ranks.share(range(len(self.batches)))
        for step, batch in zip(steps, self.batches.of_steps(0, steps), strict=True):
            terms = self.task.validation_losses(batch, step_generator(self.batches.config.seed, 0, step))
            total = total + len(batch.tag) * sum(terms.values())
            frames += len(batch.tag)
        totals, counts = zip(*self.ranks.gather((float(total), frames)), strict=True)
        return {VAL_LOSS: sum(totals) / sum(counts)}
