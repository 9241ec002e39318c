"""Objects in a store elsewhere, such as S3, reached through fsspec.

A put is atomic wherever it makes one object, as in every object store; nothing is renamed or appended to.
A connection belongs to a process: it is made when first needed there, and fsspec keeps it for the next call.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zarr.storage import FsspecStore

from tcam_cache.cache.objects import WritableObjects
from tcam_cache.errors import CacheError, StorageError, TcamCacheError
from tcam_cache.names import left_behind

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem
    from zarr.abc.buffer import Buffer

ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
S3 = ("s3:", "s3a:")


@dataclass(frozen=True)
class RemoteObjects(WritableObjects):
    """The objects below a URL."""

    url: str

    @property
    def place(self) -> str:
        """The URL."""
        return self.url

    def where(self, name: str = "") -> str:
        """Return an object's URL."""
        return f"{self.url}{'' if self.url.endswith('/') else '/'}{name}" if name else self.url

    def kind(self) -> str | None:
        """Tell whether a "folder" or a "file" stands at the place, or nothing."""
        with self._connected("read") as (system, root):
            if system.isfile(root):
                return "file"
        return "folder" if self.names() else None

    def put(self, name: str, data: bytes) -> None:
        """Write one object: whole, or not at all."""
        with self._connected("write", name) as (system, root):
            system.pipe_file(f"{root}/{name}", data)

    def remove(self, name: str) -> None:
        """Remove one object, if it is there."""
        with self._connected("write", name) as (system, root), suppress(*ABSENT):
            system.rm_file(f"{root}/{name}")

    def exclusive(self, name: str) -> AbstractContextManager[None]:
        """Do nothing: stores elsewhere know no locks, and writers there must not share shots."""
        return nullcontext()

    def get(self, name: str) -> bytes | None:
        """Return one object, or None when there is none."""
        with self._connected("read", name) as (system, root):
            try:
                return system.cat_file(f"{root}/{name}")
            except ABSENT:
                return None

    def get_range(self, name: str, start: int, stop: int | None) -> bytes | None:
        """Return some bytes of one object, to its end for None, or None when there is no such object."""
        with self._connected("read", name) as (system, root):
            try:
                return system.cat_file(f"{root}/{name}", start=start, end=stop)
            except ABSENT:
                return None

    def get_all(self, names: Iterable[str]) -> dict[str, bytes]:
        """Return those of some objects that are there, by name, read many at a time."""
        with self._connected("read") as (system, root):
            wanted = list(names)
            paths = [f"{root}/{name}" for name in wanted]
            found = dict(zip(wanted, system.cat_ranges(paths, None, None, on_error="return"), strict=True))
            for content in found.values():
                if isinstance(content, Exception) and not isinstance(content, ABSENT):
                    raise content
        return {name: content for name, content in found.items() if isinstance(content, bytes)}

    def names(self, folder: str = "") -> tuple[str, ...]:
        """Return the names right below a folder, sorted, without what systems leave."""
        with self._connected("read", folder) as (system, root):
            path = f"{root}/{folder}".rstrip("/")
            try:
                found = system.ls(path, detail=False)
            except ABSENT:
                return ()
            except Exception:
                if not self._on_the_web:
                    raise
                return ()
        # Some stores list a file, a folder's own name, or the links of a page, as what lies in it.
        below = {name.removeprefix(f"{path}/").rstrip("/") for name in found if name.startswith(f"{path}/")}
        plain = {name for name in below if name and not (self._on_the_web and set("/?#") & set(name))}
        return tuple(sorted(name for name in plain if not left_behind(name)))

    def present(self, folder: str, names: Iterable[str]) -> list[str]:
        """Return those of some names that are right below a folder; all, where a web server lists none."""
        names = list(names)
        found = super().present(folder, names)
        return names if self._on_the_web and not found else found

    def sweep(self, older_than: float) -> None:
        """Do nothing: a put that did not end leaves nothing."""

    def size(self) -> tuple[int | None, int]:
        """Return the bytes, None where the store does not tell them, and the number of all objects."""
        with self._connected("read") as (system, root):
            try:
                sizes = [facts.get("size") for facts in system.find(root, detail=True).values()]
            except Exception as error:
                if not (self._on_the_web or isinstance(error, ABSENT)):
                    raise
                sizes = []
        # A plain web server may tell the sizes of none, or of some, or list nothing.
        untold = None in sizes or (self._on_the_web and not sizes)
        return None if untold else sum(sizes), len(sizes)

    def zarr_store(self, folder: str, *, read_only: bool) -> FsspecStore:
        """Return the Zarr store of a folder."""
        with self._connected("read", folder) as (system, root):
            from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper

            wrapped = AsyncFileSystemWrapper(system, asynchronous=True)
        return _NamedStore(wrapped, read_only, f"{root}/{folder}")

    @property
    def _on_the_web(self) -> bool:
        """Whether a web server may be asked, of which many list no folder."""
        return self.url.startswith(("http:", "https:"))

    @contextmanager
    def _connected(self, deed: str, name: str = "") -> Iterator[tuple["AbstractFileSystem", str]]:
        with _refusals(deed, self.where(name)):
            system, root = _connect(self.url)
            # What others wrote since must be seen.
            system.invalidate_cache()
            yield system, root


class _NamedStore(FsspecStore):
    """Zarr's store elsewhere; one that does not answer is no damaged array, and does not surface as one."""

    async def get(self, key: str, *args: Any, **kwargs: Any) -> "Buffer | None":
        """Return one chunk, or None where there is none."""
        with _refusals("read", self.fs.unstrip_protocol(f"{self.path}/{key}")):
            return await super().get(key, *args, **kwargs)

    async def set(self, key: str, *args: Any, **kwargs: Any) -> None:
        """Write one chunk: whole, or not at all."""
        with _refusals("write", self.fs.unstrip_protocol(f"{self.path}/{key}")):
            await super().set(key, *args, **kwargs)


def _connect(url: str) -> tuple["AbstractFileSystem", str]:
    try:
        from fsspec.core import url_to_fs

        return url_to_fs(url)
    except ImportError as error:
        ours = url.startswith((*S3, "memory:"))
        advice = 'Run `pip install "tcam-cache[s3]"`' if ours else "Install it with pip"
        raise CacheError(f"{url} needs a package that is missing ({error}). {advice}.") from error
    except ValueError as error:
        raise CacheError(
            f"cannot open {url}: {error}. Correct the URL: it starts like s3://, gs:// or memory://."
        ) from error


@contextmanager
def _refusals(deed: str, where: str) -> Iterator[None]:
    # Every store has errors of its own, and few of them are OSErrors.
    try:
        yield
    except TcamCacheError:
        raise
    except Exception as error:
        advice = "check the address, the credentials and the network"
        if where.startswith(S3):
            advice += " (AWS_ENDPOINT_URL, AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)"
        raise StorageError(
            f"cannot {deed} {where}: {_reason(error)}. Everything finished so far is kept; "
            f"{advice}, then run the same command again."
        ) from error


def _reason(error: Exception) -> str:
    said = str(error).strip().rstrip(".") or type(error).__name__
    if isinstance(error, FileNotFoundError):
        return f"there is no such bucket or folder ({said})"
    return f"no permission ({said})" if isinstance(error, PermissionError) else said
