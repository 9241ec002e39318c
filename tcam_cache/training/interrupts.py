"""When a fit stops to look up: at Ctrl-C, once a step is whole, and every few minutes."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def held_interrupts() -> Iterator[Callable[[], bool]]:
    """Let the first Ctrl-C wait until the block is left; a second one interrupts it at once.

    Processes that load batches must ignore theirs, to go on until their parent has saved. Where Ctrl-C would
    not raise `KeyboardInterrupt`, or in another thread than the main one, nothing is changed.

    Yields:
        A function that tells whether Ctrl-C came.
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
    """Tell when so many seconds have passed since it last did, or since it was made.

    >>> Timer(0.0).is_due(), Timer(1e9).is_due()
    (True, False)
    """

    def __init__(self, seconds: float) -> None:
        self.seconds, self.since = seconds, time.monotonic()

    def is_due(self) -> bool:
        """Return whether they have passed, and if so start anew."""
        now = time.monotonic()
        if now - self.since < self.seconds:
            return False
        self.since = now
        return True
