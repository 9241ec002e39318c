"""Objects as files of a local folder; the rest of the cache reaches the file system only through this."""

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zarr.storage import LocalStore

from tcam_cache import files
from tcam_cache.cache.objects import WritableObjects
from tcam_cache.errors import CacheError
from tcam_cache.names import left_behind

if TYPE_CHECKING:
    from zarr.abc.buffer import Buffer


@dataclass(frozen=True)
class FolderObjects(WritableObjects):
    """The files below a folder; writes are durable as well as atomic."""

    root: Path

    @property
    def place(self) -> Path:
        """The folder."""
        return self.root

    def where(self, name: str = "") -> str:
        """Return a file's path as text."""
        return str(self.root / name)

    def kind(self) -> str | None:
        """Return whether the place is a "folder" or a "file", or None if it does not exist."""
        if self.root.is_dir():
            return "folder"
        return "file" if self.root.exists() else None

    def put(self, name: str, data: bytes) -> None:
        """Write one file atomically."""
        files.write_bytes(self._inside(name), data)

    def remove(self, name: str) -> None:
        """Remove one file, if it exists."""
        path = self._inside(name)
        with files.storage_errors(path):
            path.unlink(missing_ok=True)

    @contextmanager
    def exclusive(self, name: str) -> Iterator[None]:
        """Hold an exclusive lock on a file across processes; a killed process releases it."""
        with files.locked(self._inside(name)):
            yield

    def get(self, name: str) -> bytes | None:
        """Return the content of one file, or None when there is none."""
        try:
            return self._inside(name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _unreadable(self.root / name, error) from error

    def get_range(self, name: str, start: int, stop: int | None) -> bytes | None:
        """Return bytes start to stop (None: the end) of one file, or None when there is no such file."""
        try:
            with self._inside(name).open("rb") as file:
                file.seek(start)
                return file.read(-1 if stop is None else stop - start)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _unreadable(self.root / name, error) from error

    def names(self, folder: str = "") -> tuple[str, ...]:
        """Return the sorted names in a folder, without unfinished writes and operating systems' files."""
        try:
            entries = [entry.name for entry in self._inside(folder).iterdir()]
        except (FileNotFoundError, NotADirectoryError):
            return ()
        except OSError as error:
            raise _unreadable(self.root / folder, error) from error
        return tuple(sorted(name for name in entries if not left_behind(name)))

    def sweep(self, older_than: float) -> None:
        """Remove unfinished writes older than so many seconds; newer ones may be of a running writer."""
        for path, facts in self._files():
            if path.name.endswith(files.PARTIAL) and facts.st_mtime < time.time() - older_than:
                with files.storage_errors(path):
                    path.unlink(missing_ok=True)

    def size(self) -> tuple[int, int]:
        """Return the total bytes and the number of files."""
        sizes = [facts.st_size for _, facts in self._files()]
        return sum(sizes), len(sizes)

    def zarr_store(self, folder: str, *, read_only: bool) -> LocalStore:
        """Return the Zarr store of a folder."""
        return _DurableStore(self._inside(folder), read_only=read_only)

    def derived(self, folder: str) -> Path:
        """Return a folder beside the objects."""
        return self._inside(folder)

    def _inside(self, name: str) -> Path:
        """Return the path of a file or folder, which no link of a cache from elsewhere leads away."""
        path = self.root
        for part in Path(name).parts:
            path /= part
            _refuse_link_out(path, self.root)
        return path

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        for folder, _, names in os.walk(self.root):
            for name in names:
                path = Path(folder, name)
                # A running writer may rename its temporary files while this lists them; links may be broken.
                with suppress(OSError):
                    yield path, path.stat()


def _unreadable(path: Path, error: OSError) -> CacheError:
    return CacheError(f"cannot read {path}: {error.strerror}. Mend that, or name another cache.")


def _refuse_link_out(path: Path, root: Path) -> None:
    if not path.is_symlink():
        return
    try:
        inside = path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError) as error:
        raise CacheError(
            f"{path} is a link that leads to itself. Remove it, or copy the cache anew."
        ) from error
    if not inside:
        raise CacheError(
            f"{path} is a link that leads out of the cache. Replace it by what it leads to, if you trust it."
        )


class _DurableStore(LocalStore):
    """A local Zarr store that syncs every chunk to disk before its commit record is written."""

    def get_sync(self, key: str, *args: Any, **kwargs: Any) -> "Buffer | None":
        """Return one chunk, or None where there is none."""
        _refuse_link_out(self.root / key, self.root)
        return super().get_sync(key, *args, **kwargs)

    async def get(self, key: str, *args: Any, **kwargs: Any) -> "Buffer | None":
        """Return one chunk, or None where there is none."""
        _refuse_link_out(self.root / key, self.root)
        return await super().get(key, *args, **kwargs)

    def set_sync(self, key: str, value: "Buffer") -> None:
        """Write one chunk atomically."""
        self._check_writable()
        files.write_bytes(self.root / key, value.to_bytes())

    async def set(self, key: str, value: "Buffer") -> None:
        """Write one chunk atomically."""
        await asyncio.to_thread(self.set_sync, key, value)
