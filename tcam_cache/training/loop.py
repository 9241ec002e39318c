"""The fitting loop of both classifier and decoder: steps, validation, selection, checkpoints."""

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import nn

from tcam_cache.config import FitConfig
from tcam_cache.errors import RunError, TcamCacheError
from tcam_cache.progress import Timer, held_interrupts, progress_bar
from tcam_cache.training.plots import draw_curves, open_board
from tcam_cache.training.ranks import SINGLE_PROCESS, EpochSums, Ranks, require_finite
from tcam_cache.training.run_folder import VAL_LOSS, RunFolder
from tcam_cache.training.samples import Sample
from tcam_cache.training.schedule import learning_rate, make_optimiser

logger = logging.getLogger(__name__)

CURVES_NAME = "curves.png"
_SECONDS_BETWEEN_CURVES = 30.0


class Task(Protocol):
    """What the loop fits: parameters, losses, and the module that checkpoints store."""

    counts: dict[str, torch.Tensor]
    """What is counted during an epoch, on the task's device; `start_epoch` sets it to 0."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the optimiser's groups: `params` and `scale`, a factor on the learning rate."""
        ...

    def start_epoch(self, epoch: int) -> dict[str, float]:
        """Set modes and schedules for an epoch, counted from 0; return their values for the log."""
        ...

    def losses(self, batch: Sample, generator: torch.Generator, done: float) -> dict[str, torch.Tensor]:
        """Return the weighted loss terms of a batch on the task's device; their sum is minimised.

        `done` is the share of the fit's steps that are taken, in [0, 1).
        With several ranks, each returns the terms of its share, none if its share is empty.
        """
        ...

    def model(self) -> nn.Module:
        """Return the module whose state checkpoints store."""
        ...


class Batches(Protocol):
    """The batches of successive epochs; `EpochBatches` implements it."""

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Sample]:
        """Iterate over an epoch's batches, starting at `first_step`."""
        ...

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class FitReport:
    """The result of a fit.

    Attributes:
        epochs: number of finished epochs.
        best: for each kept checkpoint its epoch (counted from 1) and scores.
        log: one mapping per epoch.
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
    ranks: Ranks = SINGLE_PROCESS,
) -> FitReport:
    """Minimise a task's losses, epoch by epoch, and keep the best checkpoints.

    All random numbers derive from seed, epoch and step, so that a resumed run equals an uninterrupted one.
    `last.pt` is written after every epoch, every `save_minutes` within one, and at the first Ctrl-C.
    Several ranks take each step together, each on its share of the batch; rank 0 writes the files.

    Args:
        task: what to fit.
        batches: the training samples.
        config: schedule and selection.
        run: the folder for `last.pt`, the kept checkpoints, `log.jsonl` and `curves.png`.
        validate: returns the scores on the validation split; called by every rank, with equal results;
            None keeps the last epoch.
        keep: for each checkpoint to keep, the score that selects it: the highest (for `VAL_LOSS` the lowest),
            the first of equals.
        ranks: the processes that take every step; buffers that they do not share, such as statistics of
            batch norms, are validated and stored as rank 0 has them.

    Raises:
        RunError: a loss term is not finite (the terms are named, the last good checkpoint stays); the run's
            log lacks epochs; or a resumed run ends before the next epoch that is validated.
    """
    loop = _Loop(task, batches, config, run, keep, ranks)
    loop.restore()
    always = config.select == "last" or validate is None
    draw = Timer(_SECONDS_BETWEEN_CURVES)
    with (
        progress_bar(config.epochs * len(batches), run.path.name, "step", done=loop.steps_done()) as bar,
        open_board(run.path, config.tensorboard and run.writes, len(loop.log)) as board,
    ):
        for epoch in range(len(loop.log), config.epochs):
            line = loop.run_epoch(epoch, bar.update)
            if validate is not None and _is_validated(config, epoch):
                line |= loop.validated(validate)
            loop.finish_epoch(line, always, board)
            logger.info(_summary(line))
            if draw.is_due() and epoch + 1 < config.epochs:
                run.write(CURVES_NAME, draw_curves(loop.log))
    loop.require_kept()
    run.write(CURVES_NAME, draw_curves(loop.log))
    return FitReport(len(loop.log), loop.best, tuple(loop.log))


def step_generator(seed: int, epoch: int, step: int) -> torch.Generator:
    """Return the random generator that all samples of a step share."""
    mixed = np.random.SeedSequence([seed, epoch, step]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(mixed >> 1))


class _Loop:
    """The state of a running fit, as stored in `last.pt`: log, kept checkpoints and the current epoch."""

    def __init__(
        self,
        task: Task,
        batches: Batches,
        config: FitConfig,
        run: RunFolder,
        keep: Mapping[str, str],
        ranks: Ranks,
    ) -> None:
        self.task, self.batches, self.config, self.run, self.keep = task, batches, config, run, keep
        self.ranks = ranks
        self.optimiser = make_optimiser(task.parameter_groups(), config)
        self.log: list[dict[str, Any]] = []
        self.best: dict[str, Any] = {}
        self.sums, self.whole = EpochSums(), EpochSums()
        self.save_now = Timer(60 * config.save_minutes)

    def steps_done(self) -> int:
        """Return the number of steps taken, including those of the current epoch."""
        return len(self.log) * len(self.batches) + self.sums.step

    def restore(self) -> None:
        """Continue from `last.pt` if it exists; see `fit` for the errors."""
        # The folder may exist only on the machine of rank 0.
        state, log = self.ranks.from_first(self._stored)
        if state is None:
            return
        self.task.model().load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.best, self.sums = state["best"], EpochSums(**state.get("sums", {})).for_rank(self.ranks)
        self.log = log
        logger.info(
            "going on after epoch %d of %d, step %d", state["epoch"], self.config.epochs, self.sums.step
        )

    def _stored(self) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
        if not self.run.has("last"):
            return None, []
        state = self.run.load("last")
        # A process killed between two writes leaves the log one line ahead of `last.pt`.
        log = self.run.log()[: state["epoch"]]
        if len(log) < state["epoch"]:
            raise RunError(
                f"{self.run.path}/log.jsonl ends with epoch {len(log)}, but last.pt with "
                f"{state['epoch']}. Restore it, or train anew in another folder."
            )
        if len(log) < self.config.epochs:
            self._put_back(state["best"])
        return state, log

    def _put_back(self, best: dict[str, Any]) -> None:
        """Drop kept checkpoints of epochs that were validated only because they ended a shorter run."""
        for name in filter(self.run.has, list(best)):
            chosen = checkpoint = self.run.load(name)
            # Checkpoints of earlier versions hold no previous checkpoint.
            while checkpoint is not None and self._is_extra(checkpoint["epoch"]) and "before" in checkpoint:
                checkpoint = checkpoint["before"]
            if checkpoint is None:
                del best[name]
            elif checkpoint is not chosen:
                self.run.save(name, checkpoint)
                best[name] = checkpoint["scores"]

    def _is_extra(self, epoch: int) -> bool:
        return epoch % self.config.validate_every != 0

    def save(self) -> None:
        """Write `last.pt`: the current state of the fit, also within an epoch."""
        state = {
            "epoch": len(self.log),
            "model": self.task.model().state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "best": dict(self.best),
            "sums": self.whole.to_state(),
        }
        self.run.save("last", state)

    def run_epoch(self, epoch: int, on_step: Callable[[], Any]) -> dict[str, Any]:
        """Take the remaining steps of an epoch, and return its line of the log."""
        rate = learning_rate(self.config, epoch)
        schedule = self.task.start_epoch(epoch)
        self.sums.restore_counts(self.task.counts)
        with held_interrupts() as interrupted:
            asked = time.perf_counter()
            for batch in self.batches.epoch(epoch, self.sums.step):
                began = time.perf_counter()
                self._take_step(batch, epoch)
                self.sums.seconds_data += began - asked
                self.sums.seconds_compute += time.perf_counter() - began
                on_step()
                due = self.ranks.is_first and self.save_now.is_due()
                due, stop = self.ranks.any(due, interrupted())
                if due or stop:
                    self._sum_up(epoch)
                    self.save()
                if stop:
                    raise KeyboardInterrupt
                asked = time.perf_counter()
        ended = time.perf_counter()
        self._sum_up(epoch)
        # The sums above waited for the asynchronous device; this time belongs to the steps.
        self.whole.seconds_compute += time.perf_counter() - ended
        return {"epoch": epoch + 1, "lr": rate, **schedule, **self.whole.line()}

    def _take_step(self, batch: Sample, epoch: int) -> None:
        within = self.sums.step / len(self.batches)
        rate = learning_rate(self.config, epoch, within)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["scale"]
        generator = step_generator(self.config.seed, epoch, self.sums.step)
        terms = self.task.losses(batch, generator, (epoch + within) / self.config.epochs)
        self.optimiser.zero_grad(set_to_none=True)
        if terms:
            cast(torch.Tensor, sum(terms.values())).backward()
        self.ranks.sum_gradients(p for group in self.optimiser.param_groups for p in group["params"])
        self.optimiser.step()
        self.sums.add(terms)

    def _sum_up(self, epoch: int) -> None:
        self.whole = self.sums.reduce(self.ranks, self.task.counts)
        require_finite(self.whole, self.task.model(), epoch)

    def validated(self, validate: Callable[[], Mapping[str, float]]) -> Mapping[str, float]:
        """Return the scores on the validation split; on an error, save the epoch before raising it."""
        try:
            # All ranks score the same weights and buffers that are saved.
            self.ranks.copy_buffers(self.task.model())
            return validate()
        except (KeyboardInterrupt, TcamCacheError):
            # If another process got Ctrl-C first, its end is an error in this one.
            self.save()
            raise

    def require_kept(self) -> None:
        """Make sure that every checkpoint was selected: a run may stop before its first validation."""
        missing = [name for name in self.keep if name not in self.best]
        if missing:
            raise RunError(
                f"{self.run.path} stopped after epoch {len(self.log)}, before it was validated: no "
                f"{' or '.join(missing)} is chosen. Give --epochs {len(self.log) + 1} or more."
            )

    def finish_epoch(
        self, line: dict[str, Any], always: bool, board: Callable[[Mapping[str, Any]], None]
    ) -> None:
        """Store the checkpoints for which an epoch is the best, its line of the log, and `last.pt`."""
        with held_interrupts():  # else Ctrl-C could leave the log an epoch ahead of `last.pt`
            self._keep_best(line, always)
            self.log.append(line)
            self.run.write_log(self.log)
            self.sums, self.whole = EpochSums(), EpochSums()
            board(line)
            self.save()

    def _keep_best(self, line: dict[str, Any], always: bool) -> None:
        for name, score in self.keep.items():
            sign = -1 if score == VAL_LOSS else 1
            beaten = self.best.get(name, {}).get(score, -sign * math.inf)
            if always or (score in line and sign * line[score] > sign * beaten):
                before = {} if always else self._before(name, line["epoch"])
                self.best[name] = {
                    key: value for key, value in line.items() if isinstance(value, int | float)
                }
                state = self.task.model().state_dict()
                kept = {"epoch": line["epoch"], "model": state, "scores": self.best[name]}
                self.run.save(name, kept | before)

    def _before(self, name: str, epoch: int) -> dict[str, Any]:
        """Return the checkpoint that a new one replaces, stored in it for `_put_back`."""
        if not self._is_extra(epoch) or not self.run.writes:
            return {}
        return {"before": self.run.load(name) if name in self.best else None}


def _is_validated(config: FitConfig, epoch: int) -> bool:
    return (epoch + 1) % config.validate_every == 0 or epoch + 1 == config.epochs


def _summary(line: Mapping[str, Any]) -> str:
    scores = " ".join(f"{key} {line[key]:.4g}" for key in ("cl_accuracy", "corloc", VAL_LOSS) if key in line)
    terms = " ".join(f"{name} {value:.4g}" for name, value in line["losses"].items())
    waited = line["seconds_data"] / max(1e-9, line["seconds_data"] + line["seconds_compute"])
    text = f"epoch {line['epoch']}: loss {line['loss']:.4g} ({terms}) {scores}".rstrip()
    return f"{text}; {waited:.1%} of the time waiting for data"
