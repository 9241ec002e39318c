"""The class that each frame's CAM is of: given, the predicted one, or every class at once."""

from collections.abc import Sequence

import torch

from tcam_cache.errors import ConfigError

PREDICTION, ALL = "prediction", "all"
Targets = int | str | Sequence[int] | torch.Tensor


def checked_targets(targets: Targets, batch: int, classes: Sequence[str]) -> str | torch.Tensor:
    """Return "prediction", "all", or a (B,) int64 tensor of class indices.

    Args:
        targets: one index for all frames, one index each, "prediction" or "all".
        batch: B, the number of frames.
        classes: of the classifier.

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
    """Return the (B, N) class indices whose maps are wanted, N = 1 but for "all"; logits are (B, C)."""
    if isinstance(targets, torch.Tensor):
        return targets.to(logits.device)[:, None]
    if targets == PREDICTION:
        return logits.argmax(1, keepdim=True)
    return torch.arange(logits.shape[1], device=logits.device).expand(len(logits), -1)
