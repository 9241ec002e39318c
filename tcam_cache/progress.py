"""Progress bars with rate and time left, on a terminal only; silent when told to be."""

import os
import sys
from contextvars import ContextVar

from tqdm import tqdm

QUIET: ContextVar[bool] = ContextVar("quiet", default=False)


def is_main_process() -> bool:
    """Tell whether this process speaks for all: it is the first that torchrun started, or has no torchrun."""
    return "TORCHELASTIC_RUN_ID" not in os.environ or os.environ["RANK"] == "0"


def progress_bar(total: int | None, label: str, unit: str, done: int = 0) -> tqdm:
    """Return a tqdm bar on stderr that shows rate and time left; a context manager with `update(k)`.

    It stays silent where stderr is no terminal, or while `QUIET` is set.

    Args:
        total: how many units there are, or None when unknown.
        label: what is being done, a few words.
        unit: one word, such as "frame".
        done: units already done by an earlier, interrupted run: they count in the bar, not in the rate.
    """
    hidden = True if QUIET.get() else None
    return tqdm(
        total=total,
        initial=done,
        desc=label,
        unit=f" {unit}s",
        disable=hidden,
        file=sys.stderr,
        smoothing=0.1,
    )
