"""Places, and atomic writes to the local file system, with named errors when it refuses them."""

import codecs
import errno
import fcntl
import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from tcam_cache.errors import ConfigError, StorageError

Place = Path | str

_URL = re.compile(r"[a-z][a-z0-9+.-]+(://|::)", re.IGNORECASE)
_FOLDER_URL = re.compile(r"(file|local)://", re.IGNORECASE)
_CRUSHED_URL = re.compile(r"[a-z][a-z0-9+.-]+:/[^/]", re.IGNORECASE)


def parse_place(place: Place) -> Place:
    """Return a URL as text without a trailing slash; a path or a file:// URL as a `Path`.

    Raises:
        ConfigError: it is a URL wrapped in a `Path`, which turns two slashes into one.

    >>> parse_place("s3://bucket/cams/")
    's3://bucket/cams'
    >>> parse_place("file:///data/cams") == parse_place("/data/cams") == Path("/data/cams")
    True
    """
    if isinstance(place, Path):
        if was_url(place):
            raise ConfigError(f"got the path {str(place)!r}. Give a URL as text, not as a Path.")
        return place
    if local := _FOLDER_URL.match(place):
        return Path(place[local.end() :])
    if not _URL.match(place):
        return Path(place)
    return place if place.endswith("://") else place.rstrip("/")


def was_url(path: Path) -> bool:
    """Return whether a path was made from a URL; `Path` turns its two slashes into one.

    >>> was_url(Path("s3://bucket/cams")), was_url(Path("cams/s3"))
    (True, False)
    """
    return bool(_CRUSHED_URL.match(str(path)))


def local_path(place: Place) -> Path:
    """Return a path or file:// URL as a `Path`, or raise `ConfigError` for any other URL.

    >>> local_path("file:///data/a.h5") == local_path("/data/a.h5") == Path("/data/a.h5")
    True
    """
    place = parse_place(place)
    if isinstance(place, str):
        raise ConfigError(f"got the URL {place}; expected a path on this machine. Give one.")
    return place


REFUSALS = {
    errno.EACCES: "no write permission",
    errno.EPERM: "no write permission",
    errno.EROFS: "the file system is read-only",
    errno.ENOSPC: "the disk is full",
    errno.EFBIG: "the file would be larger than is allowed",
    errno.EDQUOT: "the disk quota is used up",
    errno.ENOTDIR: "a file stands where a folder is needed",
    errno.EEXIST: "a file stands where a folder is needed",
    errno.EISDIR: "a folder stands where a file is needed",
    errno.ENAMETOOLONG: "the name is too long",
    errno.EIO: "the disk reports an error",
}
PARTIAL = ".partial"


@contextmanager
def storage_errors(path: Path | str) -> Iterator[None]:
    """Turn an OSError of a write below `path` into a `StorageError` that names the path."""
    try:
        yield
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        named = error.filename and not str(error.filename).endswith(PARTIAL)
        raise StorageError(
            f"cannot write {error.filename if named else path}: {REFUSALS[error.errno]}. "
            "Everything finished so far is kept; make room or choose another folder, "
            "then run the same command again."
        ) from error


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary file's path; the file is renamed to `path` when the block ends without an error.

    For libraries that open files by name; otherwise use `atomic_file`. A missing parent folder is made.
    If the process is killed, the old file stays as it was, or there is none.

    Raises:
        ConfigError: it is a URL.
        StorageError: the file system refuses the write.
    """
    path = local_path(path)
    make_folder(path.parent)
    with storage_errors(path):
        # Not `path.name` with a suffix: that may exceed the longest name the file system allows.
        partial = path.with_name(f".{secrets.token_hex(8)}{PARTIAL}")
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        try:
            yield partial
            _to_disk(partial)
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


@contextmanager
def atomic_file(path: Path | str) -> Iterator[IO[bytes]]:
    """Open a temporary binary file that is renamed to `path` when the block ends without an error.

    A missing parent folder is made. If the process is killed, the old file stays as it was, or there is none.

    Raises:
        ConfigError: it is a URL.
        StorageError: the file system refuses the write.
    """
    with atomic_path(path) as partial, partial.open("wb") as file:
        yield file


def write_bytes(path: Path | str, data: bytes) -> None:
    """Write a whole file atomically."""
    with atomic_file(path) as file:
        file.write(data)


def write_text(path: Path | str, text: str) -> None:
    """Write a whole UTF-8 file atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path | str, value: Any) -> None:
    """Write a value as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def decoded_text(content: bytes) -> str:
    """Return the text of a file, which Windows' editors and shells begin with a byte order mark.

    Raises:
        UnicodeError: it is neither UTF-8 nor marked UTF-16.

    >>> decoded_text("seed = 1".encode("utf-8-sig"))
    'seed = 1'
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16")
    return content.decode("utf-8-sig")


def make_folder(path: Path | str) -> Path:
    """Make a folder and its parents, and return it.

    Raises:
        ConfigError: it is a URL.
        StorageError: the file system refuses it, or the path is not possible there.
    """
    path = local_path(path)
    with storage_errors(path):
        try:
            path.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError as error:
            raise StorageError(f"cannot make the folder {path} there. Choose another.") from error
    return path


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file, which need not exist, across processes; a killed one releases it.

    Some network disks have no locks: there, nothing is held.

    Raises:
        StorageError: the file system refuses the lock file beside it.
    """
    make_folder(path.parent)
    lock = path.with_name(f".{path.name}.lock{PARTIAL}")
    descriptor = _lock_file(lock)
    try:
        yield
        lock.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _lock_file(lock: Path) -> int:
    """Return the descriptor of a lock file once it is locked, and is still the one that others will open."""
    while True:
        with storage_errors(lock):
            descriptor = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.path.samestat(lock.stat(), os.fstat(descriptor)):
                # Old unfinished writes are swept away; a lock file left by a killed writer may be old.
                os.utime(descriptor)
                return descriptor
        os.close(descriptor)


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
