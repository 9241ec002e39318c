"""Named objects below one place: all that this room asks of a disk, a store elsewhere, an exported file."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from tcam_cache.errors import StorageError
from tcam_cache.place import Place
from tcam_cache.provenance import sha256_of

if TYPE_CHECKING:
    from zarr.abc.store import Store


class Objects(ABC):
    """Get whole objects by name, with "/" between folders. Picklable."""

    @property
    @abstractmethod
    def place(self) -> Place:
        """Where they lie."""

    @abstractmethod
    def where(self, name: str = "") -> str:
        """Return how an object is named in messages."""

    @abstractmethod
    def kind(self) -> str | None:
        """Tell whether a "folder" or a "file" stands at the place, or nothing."""

    @abstractmethod
    def get(self, name: str) -> bytes | None:
        """Return one object, or None when there is none.

        Raises:
            CacheError: it cannot be read.
            StorageError: the store elsewhere does not answer, or refuses.
        """

    def get_range(self, name: str, start: int, stop: int | None) -> bytes | None:
        """Return some bytes of one object, to its end for None, or None when there is no such object."""
        data = self.get(name)
        return None if data is None else data[start:stop]

    def get_all(self, names: Iterable[str]) -> dict[str, bytes]:
        """Return those of some objects that are there, by name."""
        return {name: data for name in names if (data := self.get(name)) is not None}

    @abstractmethod
    def names(self, folder: str = "") -> tuple[str, ...]:
        """Return the names right below a folder, sorted, without unfinished writes and what systems leave."""

    def present(self, folder: str, names: Iterable[str]) -> list[str]:
        """Return those of some names that are right below a folder, or may be where nothing is listed."""
        found = set(self.names(folder))
        return [name for name in names if name in found]

    @abstractmethod
    def size(self) -> tuple[int | None, int]:
        """Return the bytes, None where the store does not tell them, and the number of all objects."""

    def cure(self, name: str) -> str:
        """Say what mends damage that the marker or a commit record of this name shows."""
        return f"delete {name} and run the same `tcam-cache build` again: finished shots stay"

    def derived(self, folder: str) -> Path:
        """Return the folder for files made from the objects; it need not exist yet.

        It is one of this user on this machine, the same for every process that asks.

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
    """Put whole objects, too; a put is atomic."""

    @abstractmethod
    def put(self, name: str, data: bytes) -> None:
        """Write one object: whole, or not at all.

        Raises:
            StorageError: the write is refused.
        """

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove one object, if it is there.

        Raises:
            StorageError: that is refused.
        """

    @abstractmethod
    def exclusive(self, name: str) -> AbstractContextManager[None]:
        """Let one writer at a time, of all processes, make an object; one that is killed gives its turn up.

        Stores elsewhere know no locks: there, writers must not share shots.
        """

    @abstractmethod
    def sweep(self, older_than: float) -> None:
        """Remove unfinished writes whose last change is that many seconds ago; younger ones may be alive."""

    @abstractmethod
    def zarr_store(self, folder: str, *, read_only: bool) -> "Store":
        """Return the Zarr store of a folder."""
