"""Long tasks: progress bars with rate and time left, timers, and Ctrl-C that waits for a whole step."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType
from typing import Self

from tqdm import tqdm

QUIET: ContextVar[bool] = ContextVar("quiet", default=False)
SECONDS_BETWEEN_LINES = 30.0


def is_main_process() -> bool:
    """Return whether this is the process that logs and prints: torchrun's rank 0, or one without torchrun."""
    return "TORCHELASTIC_RUN_ID" not in os.environ or os.environ["RANK"] == "0"


def progress_bar(total: int | None, label: str, unit: str, done: int = 0) -> "tqdm | ProgressLines":
    """Return a context manager with `update(k)` that shows progress, rate and time left on stderr.

    It is a bar on a terminal and plain lines elsewhere; it shows nothing while `QUIET` is set.

    Args:
        total: number of units, or None when unknown.
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


def count_known(bar: "tqdm | ProgressLines", count: int) -> None:
    """Count units that an earlier run has done: they count in the bar, not in the rate."""
    if isinstance(bar, ProgressLines):
        bar.first, bar.done = bar.first + count, bar.done + count
    elif not bar.disable:  # One that shows nothing has no count.
        bar.initial, bar.n = bar.initial + count, bar.n + count
        bar.refresh()


class ProgressLines:
    """Write a line of progress to stderr every `SECONDS_BETWEEN_LINES`."""

    def __init__(self, total: int | None, label: str, unit: str, done: int) -> None:
        self.total, self.label, self.unit = total, label, unit
        self.first = self.done = done
        self.began = self.last_line = time.monotonic()
        self.last_count: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Where lines were written, the last one shows the final count.
        if self.last_count not in (None, self.done):
            self._write_line()

    def update(self, count: int = 1) -> None:
        """Add finished units to the count."""
        self.done += count
        if time.monotonic() - self.last_line >= SECONDS_BETWEEN_LINES:
            self._write_line()

    def _write_line(self) -> None:
        self.last_line, self.last_count = time.monotonic(), self.done
        rate = (self.done - self.first) / (self.last_line - self.began)
        of = "" if self.total is None else f" of {self.total:,}"
        text = f"{self.label}: {self.done:,}{of} {self.unit}s, {rate:.3g} {self.unit}s/s"
        if self.total is not None and rate > 0:
            text += f", {tqdm.format_interval((self.total - self.done) / rate)} left"
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


@contextmanager
def held_interrupts() -> Iterator[Callable[[], bool]]:
    """Delay the first Ctrl-C until the block ends; a second one interrupts it at once.

    Worker processes that load batches must ignore SIGINT, so that they live until the parent has saved. If
    Ctrl-C would not raise `KeyboardInterrupt`, or outside the main thread, nothing is changed.

    Yields:
        A function that returns whether Ctrl-C was pressed.
    """
    came: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:
        """Note the first Ctrl-C, and raise at the second."""
        if came:
            raise KeyboardInterrupt
        came.append(number)

    mine = threading.current_thread() is threading.main_thread()
    if not mine or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield lambda: False
        return
    signal.signal(signal.SIGINT, hold)
    try:
        yield lambda: bool(came)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if came:
        raise KeyboardInterrupt


class Timer:
    """Report when a number of seconds has passed since the last report, or since the start.

    >>> Timer(0.0).is_due(), Timer(1e9).is_due()
    (True, False)
    """

    def __init__(self, seconds: float) -> None:
        self.seconds, self.since = seconds, time.monotonic()

    def is_due(self) -> bool:
        """Return whether the seconds have passed; if so, restart the timer."""
        now = time.monotonic()
        if now - self.since < self.seconds:
            return False
        self.since = now
        return True
