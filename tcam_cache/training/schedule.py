"""How long a fit lasts, and its learning rate from step to step."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch

from tcam_cache.config import FitConfig, TrainConfig
from tcam_cache.training.samples import clips_of_shot, middle_frames

# Of a fit whose length is chosen: the steps of an epoch where shots are few, and the epochs at least.
STEPS_AN_EPOCH, LEAST_EPOCHS = 25, 10
# One cycle: the share of the steps in which the rate rises, and where it starts, as a share of the highest.
RISE, START = 0.1, 0.04


def planned(config: TrainConfig, lengths: Sequence[int]) -> TrainConfig:
    """Return settings in which epochs and frames a shot are numbers, chosen for the shots where they are 0.

    Args:
        config: the settings.
        lengths: frames of each shot that is learned from; at least one shot.

    >>> config = TrainConfig(preset="recommended", manifest="m", cache="c", out="r")
    >>> chosen = planned(config, [80] * 10)  # ten clips: 40 frames of each are 25 steps
    >>> chosen.frames_per_shot, chosen.epochs
    (40, 12)
    >>> chosen = planned(config, [80] * 5000)
    >>> chosen.frames_per_shot, chosen.epochs
    (1, 10)
    """
    lengths = [len(middle_frames(length, config.middle)) for length in lengths]
    frames = config.frames_per_shot or math.ceil(STEPS_AN_EPOCH * config.batch_size / len(lengths))
    clips = sum(clips_of_shot(length, frames, config.frames_together) for length in lengths)
    steps = math.ceil(clips * config.frames_together / config.batch_size)
    epochs = config.epochs or max(LEAST_EPOCHS, math.ceil(config.steps / steps))
    return replace(config, frames_per_shot=min(frames, max(lengths)), epochs=epochs)


def warmth(share: float, done: float) -> float:
    """Return what share of its weight a term has that rises linearly from 0 in a share of the steps.

    Args:
        share: in [0, 1]; 0 is all of the weight from the first step.
        done: the share of the fit's steps that are taken, in [0, 1).

    >>> warmth(0.5, 0.0), warmth(0.5, 0.25), warmth(0.5, 0.75), warmth(0.0, 0.0)
    (0.0, 0.5, 1.0, 1.0)
    """
    return min(1.0, done / share) if share else 1.0


def make_optimiser(groups: list[dict], config: FitConfig) -> torch.optim.Optimizer:
    """Return SGD with Nesterov momentum (published), or AdamW."""
    if config.optimiser == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr, weight_decay=config.weight_decay)
    nesterov = config.momentum > 0
    return torch.optim.SGD(
        groups, config.lr, config.momentum, weight_decay=config.weight_decay, nesterov=nesterov
    )


def learning_rate(config: FitConfig, epoch: int, within: float = 0.0) -> float:
    """Return the learning rate of a step, never below the floor.

    Decayed in steps of whole epochs (published), or one cycle: linear to `lr`, then a cosine to 0.

    Args:
        config: the schedule and its numbers.
        epoch: counted from 0.
        within: the share of the epoch's steps that are taken, in [0, 1).
    """
    if config.schedule == "steps":
        return max(config.lr_floor, config.lr * config.lr_decay ** (epoch // config.lr_step))
    done = (epoch + within) / config.epochs
    if done < RISE:
        return config.lr * (START + (1 - START) * done / RISE)
    return max(config.lr_floor, config.lr * (1 + math.cos(math.pi * (done - RISE) / (1 - RISE))) / 2)
