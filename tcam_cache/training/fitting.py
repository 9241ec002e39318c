"""The one fitting loop, of the classifier and of the decoder: steps, validation, selection, checkpoints."""

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from tcam_cache.config import FitConfig
from tcam_cache.errors import RunError
from tcam_cache.progress import progress_bar
from tcam_cache.training.run_folder import RunFolder
from tcam_cache.training.samples import Sample

logger = logging.getLogger(__name__)


class Task(Protocol):
    """What is fitted: modules, their losses, and the state a checkpoint keeps."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the optimiser's groups: `params` and `scale`, a factor on the learning rate."""
        ...

    def start_epoch(self, epoch: int) -> dict[str, float]:
        """Set modes and schedules for an epoch, counted from 0; return what the log says of them."""
        ...

    def losses(self, batch: Sample, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Return the weighted loss terms of a batch on the task's device; their sum is minimised."""
        ...

    def end_epoch(self) -> dict[str, int]:
        """Return what was counted during the epoch."""
        ...

    def model(self) -> nn.Module:
        """Return the module whose state a checkpoint keeps."""
        ...


class Batches(Protocol):
    """Batches of one epoch after another; `EpochBatches` is the real one."""

    def epoch(self, epoch: int) -> Iterator[Sample]:
        """Iterate over an epoch's batches."""
        ...

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class FitReport:
    """How a fit ended.

    Attributes:
        epochs: how many were finished.
        best: for each kept checkpoint its epoch (counted from 1) and scores.
        log: one mapping an epoch.
    """

    epochs: int
    best: Mapping[str, Mapping[str, Any]]
    log: tuple[Mapping[str, Any], ...]


def fit(
    task: Task,
    batches: Batches,
    config: FitConfig,
    run: RunFolder,
    validate: Callable[[], Mapping[str, float]] | None,
    keep: Mapping[str, str],
) -> FitReport:
    """Minimise a task's losses, epoch by epoch, and keep the best checkpoints.

    Everything random derives from seed, epoch and step, so that a resumed run equals an uninterrupted one.

    Args:
        task: what is fitted.
        batches: where samples come from.
        config: schedule and selection.
        run: where `last.pt`, the kept checkpoints and `log.jsonl` go, after every epoch.
        validate: returns the scores on the validation split; None keeps the last epoch.
        keep: for each checkpoint to keep, the score that chooses it (higher is better, first of equals).

    Raises:
        RunError: a loss term is not finite; the terms are named and the last good checkpoint stays.
    """
    optimiser = make_optimiser(task.parameter_groups(), config)
    first, best, log = _restore(task, optimiser, run, config)
    with progress_bar(config.epochs * len(batches), run.path.name, "step", done=first * len(batches)) as bar:
        for epoch in range(first, config.epochs):
            line = {"epoch": epoch + 1, "lr": learning_rate(config, epoch), **task.start_epoch(epoch)}
            line |= _run_epoch(task, batches, optimiser, config, epoch, bar)
            if _is_validated(config, epoch, validate):
                line |= validate()
            best = _keep_best(task, run, keep, best, line, config.select == "last" or validate is None)
            log.append(line)
            run.write_log(log)
            run.save("last", _state(task, optimiser, epoch + 1, best))
            logger.info(_summary(line))
    return FitReport(len(log), best, tuple(log))


def make_optimiser(groups: list[dict[str, Any]], config: FitConfig) -> torch.optim.Optimizer:
    """Return SGD with Nesterov momentum (published), or AdamW."""
    if config.optimiser == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr, weight_decay=config.weight_decay)
    nesterov = config.momentum > 0
    return torch.optim.SGD(
        groups, config.lr, config.momentum, weight_decay=config.weight_decay, nesterov=nesterov
    )


def learning_rate(config: FitConfig, epoch: int) -> float:
    """Return the learning rate of an epoch, counted from 0: decayed in steps, never below the floor."""
    return max(config.lr_floor, config.lr * config.lr_decay ** (epoch // config.lr_step))


def step_generator(seed: int, epoch: int, step: int) -> torch.Generator:
    """Return the generator of everything random that a step's samples share."""
    mixed = np.random.SeedSequence([seed, epoch, step]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(mixed >> 1))


def _run_epoch(
    task: Task, batches: Batches, optimiser: torch.optim.Optimizer, config: FitConfig, epoch: int, bar: Any
) -> dict[str, Any]:
    rate = learning_rate(config, epoch)
    for group in optimiser.param_groups:
        group["lr"] = rate * group["scale"]
    sums: dict[str, torch.Tensor] = {}
    waited, began = 0.0, time.perf_counter()
    asked, steps = began, 0
    for step, batch in enumerate(batches.epoch(epoch)):
        waited += time.perf_counter() - asked
        terms = task.losses(batch, step_generator(config.seed, epoch, step))
        optimiser.zero_grad(set_to_none=True)
        sum(terms.values()).backward()
        optimiser.step()
        for name, value in terms.items():
            # Summed on the device: reading a value here would make every step wait for it.
            sums[name] = sums.get(name, 0.0) + value.detach()
        bar.update()
        asked, steps = time.perf_counter(), step + 1
    losses = {name: float(value) / steps for name, value in sums.items()}
    _check_finite(losses, epoch)
    took = time.perf_counter() - began
    return {
        **task.end_epoch(),
        "losses": losses,
        "loss": sum(losses.values()),
        "seconds_data": round(waited, 3),
        "seconds_compute": round(took - waited, 3),
    }


def _check_finite(losses: Mapping[str, float], epoch: int) -> None:
    broken = [f"{name}: {value}" for name, value in losses.items() if not math.isfinite(value)]
    if broken:
        raise RunError(
            f"the loss is not finite in epoch {epoch + 1}. The checkpoint before it is kept; lower --lr.",
            broken,
        )


def _is_validated(config: FitConfig, epoch: int, validate: Callable | None) -> bool:
    last = epoch + 1 == config.epochs
    return validate is not None and ((epoch + 1) % config.validate_every == 0 or last)


def _keep_best(
    task: Task,
    run: RunFolder,
    keep: Mapping[str, str],
    best: dict[str, Any],
    line: Mapping[str, Any],
    always: bool,
) -> dict[str, Any]:
    best = dict(best)
    for name, score in keep.items():
        better = score in line and line[score] > best.get(name, {}).get(score, -math.inf)
        if always or better:
            best[name] = {key: value for key, value in line.items() if isinstance(value, (int, float))}
            run.save(name, {"epoch": line["epoch"], "model": task.model().state_dict(), "scores": best[name]})
    return best


def _state(
    task: Task, optimiser: torch.optim.Optimizer, epoch: int, best: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "epoch": epoch,
        "model": task.model().state_dict(),
        "optimiser": optimiser.state_dict(),
        "best": dict(best),
    }


def _restore(
    task: Task, optimiser: torch.optim.Optimizer, run: RunFolder, config: FitConfig
) -> tuple[int, dict[str, Any], list[dict[str, Any]]]:
    if not run.has("last"):
        return 0, {}, []
    state = run.load("last")
    task.model().load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    logger.info("going on after epoch %d of %d", state["epoch"], config.epochs)
    return state["epoch"], state["best"], run.log()[: state["epoch"]]


def _summary(line: Mapping[str, Any]) -> str:
    scores = " ".join(f"{key} {line[key]:.1f}" for key in ("cl_accuracy", "corloc") if key in line)
    terms = " ".join(f"{name} {value:.4g}" for name, value in line["losses"].items())
    return f"epoch {line['epoch']}: loss {line['loss']:.4g} ({terms}) {scores}".rstrip()
