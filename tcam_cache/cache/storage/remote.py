"""Objects in a remote store such as S3, accessed through fsspec.

Object stores write an object atomically; nothing is renamed or appended to. Every process connects for itself
on first use, and fsspec keeps the connection for the next call.
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
        """Return whether the place is a "folder" or a "file", or None if it does not exist."""
        with self._connected("read") as (system, root):
            if system.isfile(root):
                return "file"
        return "folder" if self.names() else None

    def put(self, name: str, data: bytes) -> None:
        """Write one object atomically."""
        with self._connected("write", name) as (system, root):
            system.pipe_file(f"{root}/{name}", data)

    def remove(self, name: str) -> None:
        """Remove one object, if it exists."""
        with self._connected("write", name) as (system, root), suppress(*ABSENT):
            system.rm_file(f"{root}/{name}")

    def exclusive(self, name: str) -> AbstractContextManager[None]:
        """Do nothing: remote stores have no locks, and writers there must not share shots."""
        return nullcontext()

    def get(self, name: str) -> bytes | None:
        """Return one object, or None when there is none."""
        with self._connected("read", name) as (system, root):
            try:
                return system.cat_file(f"{root}/{name}")
            except ABSENT:
                return None

    def get_range(self, name: str, start: int, stop: int | None) -> bytes | None:
        """Return bytes start to stop (None: the end) of one object, or None when there is no such object."""
        with self._connected("read", name) as (system, root):
            try:
                return system.cat_file(f"{root}/{name}", start=start, end=stop)
            except ABSENT:
                return None

    def get_all(self, names: Iterable[str]) -> dict[str, bytes]:
        """Return by name the objects that exist among `names`, read many at a time."""
        with self._connected("read") as (system, root):
            wanted = list(names)
            paths = [f"{root}/{name}" for name in wanted]
            contents = dict(zip(wanted, system.cat_ranges(paths, None, None, on_error="return"), strict=True))
            for content in contents.values():
                if isinstance(content, Exception) and not isinstance(content, ABSENT):
                    raise content
        return {name: content for name, content in contents.items() if isinstance(content, bytes)}

    def names(self, folder: str = "") -> tuple[str, ...]:
        """Return the sorted names in a folder, without operating systems' files."""
        with self._connected("read", folder) as (system, root):
            path = f"{root}/{folder}".rstrip("/")
            try:
                listed = system.ls(path, detail=False)
            except ABSENT:
                return ()
            except Exception:
                if not self._on_the_web:
                    raise
                return ()
        # Some stores list the folder itself, a file's own name, or the links of a page as entries.
        below = {name.removeprefix(f"{path}/").rstrip("/") for name in listed if name.startswith(f"{path}/")}
        plain = {name for name in below if name and not (self._on_the_web and set("/?#") & set(name))}
        return tuple(sorted(name for name in plain if not left_behind(name)))

    def present(self, folder: str, names: Iterable[str]) -> list[str]:
        """Return those of some names that are right below a folder; all, where a web server lists none."""
        names = list(names)
        entries = super().present(folder, names)
        return names if self._on_the_web and not entries else entries

    def sweep(self, older_than: float) -> None:
        """Do nothing: an interrupted write leaves nothing behind."""

    def size(self) -> tuple[int | None, int]:
        """Return the total bytes (None if the store does not report them) and the number of objects."""
        with self._connected("read") as (system, root):
            try:
                sizes = [facts.get("size") for facts in system.find(root, detail=True).values()]
            except Exception as error:
                if not (self._on_the_web or isinstance(error, ABSENT)):
                    raise
                sizes = []
        # A plain web server may report sizes of some objects only, or list nothing.
        unknown = None in sizes or (self._on_the_web and not sizes)
        return None if unknown else sum(sizes), len(sizes)

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
    def _connected(self, deed: str, name: str = "") -> Iterator[tuple[Any, str]]:
        # Any: what fsspec declares is wider than what its file systems return for such arguments.
        with _refusals(deed, self.where(name)):
            system, root = _connect(self.url)
            # fsspec's listings would hide what other processes have written since.
            system.invalidate_cache()
            yield system, root


class _NamedStore(FsspecStore):
    """A remote Zarr store that raises `StorageError`, so that a failed connection is not taken for damage."""

    async def get(self, key: str, *args: Any, **kwargs: Any) -> "Buffer | None":
        """Return one chunk, or None if it does not exist."""
        with _refusals("read", self.fs.unstrip_protocol(f"{self.path}/{key}")):
            return await super().get(key, *args, **kwargs)

    async def set(self, key: str, *args: Any, **kwargs: Any) -> None:
        """Write one chunk atomically."""
        with _refusals("write", self.fs.unstrip_protocol(f"{self.path}/{key}")):
            await super().set(key, *args, **kwargs)


def _connect(url: str) -> tuple["AbstractFileSystem", str]:
    try:
        from fsspec.core import url_to_fs

        return url_to_fs(url)
    except ImportError as error:
        has_extra = url.startswith((*S3, "memory:"))
        advice = 'Run `pip install "tcam-cache[s3]"`' if has_extra else "Install it with pip"
        raise CacheError(f"{url} needs a package that is missing ({error}). {advice}.") from error
    except ValueError as error:
        raise CacheError(
            f"cannot open {url}: {error}. Correct the URL: it starts like s3://, gs:// or memory://."
        ) from error


@contextmanager
def _refusals(action: str, where: str) -> Iterator[None]:
    # Every store raises its own exceptions, few of them OSErrors.
    try:
        yield
    except TcamCacheError:
        raise
    except Exception as error:
        advice = "check the address, the credentials and the network"
        if where.startswith(S3):
            advice += " (AWS_ENDPOINT_URL, AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)"
        raise StorageError(
            f"cannot {action} {where}: {_reason(error)}. Everything finished so far is kept; "
            f"{advice}, then run the same command again."
        ) from error


def _reason(error: Exception) -> str:
    message = str(error).strip().rstrip(".") or type(error).__name__
    if isinstance(error, FileNotFoundError):
        return f"there is no such bucket or folder ({message})"
    return f"no permission ({message})" if isinstance(error, PermissionError) else message
