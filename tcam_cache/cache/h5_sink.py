"""A file as HDF5 sees it: one that never fails. HDF5 crashes the process where closing a file fails."""

from collections.abc import Callable
from io import FileIO
from typing import Any


class Sink:
    """A file-like object that h5py writes to.

    The first error is kept and nothing more is written; `settle` raises it once HDF5 has closed the file.
    """

    def __init__(self, raw: FileIO) -> None:
        self._raw = raw
        self._error: BaseException | None = None
        self.seek, self.tell, self.read, self.readinto = raw.seek, raw.tell, raw.read, raw.readinto

    def write(self, data: Any) -> int:
        """Write all of the data at the current position."""
        rest = memoryview(data).cast("B")
        self._attempt(lambda: self._write_all(rest))
        return len(rest)

    def truncate(self, size: int) -> None:
        """Cut or lengthen the file."""
        self._attempt(lambda: self._raw.truncate(size))

    def flush(self) -> None:
        """Do nothing: nothing is held back."""

    def settle(self) -> None:
        """Raise what went wrong, if anything did."""
        if self._error is not None:
            raise self._error

    def _write_all(self, rest: memoryview) -> None:
        while rest:
            rest = rest[self._raw.write(rest) :]

    def _attempt(self, deed: Callable[[], Any]) -> None:
        try:
            if self._error is None:
                deed()
        except BaseException as error:
            self._error = error
