"""Progress with rate and time left: a bar on a terminal, else a line now and then; silent when told to be."""

import os
import sys
import time
from contextvars import ContextVar
from typing import Self

from tqdm import tqdm

QUIET: ContextVar[bool] = ContextVar("quiet", default=False)
SECONDS_BETWEEN_LINES = 30.0


def is_main_process() -> bool:
    """Tell whether this process speaks for all: it is the first that torchrun started, or has no torchrun."""
    return "TORCHELASTIC_RUN_ID" not in os.environ or os.environ["RANK"] == "0"


def progress_bar(total: int | None, label: str, unit: str, done: int = 0) -> "tqdm | ProgressLines":
    """Return what shows rate and time left on stderr; a context manager with `update(k)`.

    It is a bar on a terminal and lines elsewhere, and stays silent while `QUIET` is set.

    Args:
        total: how many units there are, or None when unknown.
        label: what is being done, a few words.
        unit: one word, such as "frame".
        done: units already done by an earlier, interrupted run: they count in the bar, not in the rate.
    """
    hidden = QUIET.get()
    if not hidden and not sys.stderr.isatty():
        return ProgressLines(total, label, unit, done)
    return tqdm(
        total=total,
        initial=done,
        desc=label,
        unit=f" {unit}s",
        disable=hidden,
        file=sys.stderr,
        smoothing=0.1,
    )


class ProgressLines:
    """Say on stderr how far work has come, each time that `SECONDS_BETWEEN_LINES` have gone by."""

    def __init__(self, total: int | None, label: str, unit: str, done: int) -> None:
        self.total, self.label, self.unit = total, label, unit
        self.first = self.done = done
        self.began = self.said = time.monotonic()
        self.told: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Work that was told of is told to its end.
        if self.told not in (None, self.done):
            self._say()

    def update(self, count: int = 1) -> None:
        """Count units that are done."""
        self.done += count
        if time.monotonic() - self.said >= SECONDS_BETWEEN_LINES:
            self._say()

    def _say(self) -> None:
        self.said, self.told = time.monotonic(), self.done
        rate = (self.done - self.first) / (self.said - self.began)
        of = "" if self.total is None else f" of {self.total:,}"
        text = f"{self.label}: {self.done:,}{of} {self.unit}s, {rate:.3g} {self.unit}s/s"
        if self.total is not None and rate > 0:
            text += f", {tqdm.format_interval((self.total - self.done) / rate)} left"
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
