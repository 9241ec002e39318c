"""The interface of a storage: named objects in a folder, a remote store or an exported file."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from tcam_cache.errors import StorageError
from tcam_cache.files import Place
from tcam_cache.provenance import sha256_of

if TYPE_CHECKING:
    from zarr.abc.store import Store


class Objects(ABC):
    """Reads whole objects by name, with "/" between folders. Picklable."""

    @property
    @abstractmethod
    def place(self) -> Place:
        """The folder, URL or file that holds the objects."""

    @abstractmethod
    def where(self, name: str = "") -> str:
        """Return the name of an object for messages."""

    @abstractmethod
    def kind(self) -> str | None:
        """Return whether the place is a "folder" or a "file", or None if it does not exist."""

    @abstractmethod
    def get(self, name: str) -> bytes | None:
        """Return one object, or None when there is none.

        Raises:
            CacheError: it cannot be read.
            StorageError: the remote store does not answer, or refuses.
        """

    def get_range(self, name: str, start: int, stop: int | None) -> bytes | None:
        """Return bytes start to stop (None: the end) of one object, or None when there is no such object."""
        data = self.get(name)
        return None if data is None else data[start:stop]

    def get_all(self, names: Iterable[str]) -> dict[str, bytes]:
        """Return by name the objects that exist among `names`."""
        return {name: data for name in names if (data := self.get(name)) is not None}

    @abstractmethod
    def names(self, folder: str = "") -> tuple[str, ...]:
        """Return the sorted names in a folder, without unfinished writes and operating systems' files."""

    def present(self, folder: str, names: Iterable[str]) -> list[str]:
        """Return those of some names that lie directly in a folder; all where the store cannot list it."""
        entries = set(self.names(folder))
        return [name for name in names if name in entries]

    @abstractmethod
    def size(self) -> tuple[int | None, int]:
        """Return the total bytes (None if the store does not report them) and the number of objects."""

    def repair_hint(self, name: str) -> str:
        """Return what to do about damage found through cache.json or the commit record of this name."""
        return f"delete {name} and run the same `tcam-cache build` again: finished shots stay"

    def derived(self, folder: str) -> Path:
        """Return the folder for files derived from the objects; it need not exist yet.

        It belongs to this user on this machine and is the same for every process.

        Raises:
            StorageError: there is no such place.
        """
        try:
            kept = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        except RuntimeError as error:
            raise StorageError(
                "this user has no home folder to keep files in. Set XDG_CACHE_HOME."
            ) from error
        return Path(kept, "tcam_cache", f"{folder}-{sha256_of(str(self.place))[:16]}")


class WritableObjects(Objects):
    """Reads, writes and removes whole objects; writes are atomic."""

    @abstractmethod
    def put(self, name: str, data: bytes) -> None:
        """Write one object atomically.

        Raises:
            StorageError: the write fails.
        """

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove one object, if it exists.

        Raises:
            StorageError: the removal fails.
        """

    @abstractmethod
    def exclusive(self, name: str) -> AbstractContextManager[None]:
        """Hold an exclusive lock on an object across processes; a killed process releases it.

        Remote stores have no locks: there, writers must not share shots.
        """

    @abstractmethod
    def sweep(self, older_than: float) -> None:
        """Remove unfinished writes older than so many seconds; newer ones may be of a running writer."""

    @abstractmethod
    def zarr_store(self, folder: str, *, read_only: bool) -> "Store":
        """Return the Zarr store of a folder."""
