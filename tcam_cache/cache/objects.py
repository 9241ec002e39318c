"""Named objects below one place: all that this room asks of a disk or of a store elsewhere."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tcam_cache.place import Place

if TYPE_CHECKING:
    from zarr.abc.store import Store


class Objects(ABC):
    """Put and get whole objects by name, with "/" between folders; a put is atomic. Picklable."""

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
    def put(self, name: str, data: bytes) -> None:
        """Write one object: whole, or not at all.

        Raises:
            StorageError: the write is refused.
        """

    @abstractmethod
    def get(self, name: str) -> bytes | None:
        """Return one object, or None when there is none.

        Raises:
            CacheError: it cannot be read.
            StorageError: the store elsewhere does not answer, or refuses.
        """

    def get_all(self, names: Iterable[str]) -> dict[str, bytes]:
        """Return those of some objects that are there, by name."""
        return {name: data for name in names if (data := self.get(name)) is not None}

    @abstractmethod
    def names(self, folder: str = "") -> tuple[str, ...]:
        """Return the names right below a folder, sorted, without unfinished writes."""

    @abstractmethod
    def sweep(self, older_than: float) -> None:
        """Remove unfinished writes whose last change is that many seconds ago; younger ones may be alive."""

    @abstractmethod
    def size(self) -> tuple[int, int]:
        """Return the bytes and the number of all objects."""

    @abstractmethod
    def zarr_store(self, folder: str, *, read_only: bool) -> "Store":
        """Return the Zarr store of a folder."""

    @abstractmethod
    def derived(self, folder: str) -> Path:
        """Return the folder on this machine for files made from the objects; it need not exist yet.

        Raises:
            StorageError: there is no such place.
        """
