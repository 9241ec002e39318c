"""Where a cache lies: a folder, or the URL of a store that fsspec knows."""

import re
from pathlib import Path

from tcam_cache.errors import ConfigError

Place = Path | str

_URL = re.compile(r"[a-z][a-z0-9+.-]+(://|::)", re.IGNORECASE)
_FOLDER_URL = re.compile(r"(file|local)://", re.IGNORECASE)
_CRUSHED_URL = re.compile(r"[a-z][a-z0-9+.-]+:/[^/]", re.IGNORECASE)


def place(given: Place) -> Place:
    """Return a URL as text without a slash at its end, and all else, file:// too, as the path of a folder.

    Raises:
        ConfigError: it is a URL that went through `Path`, which makes one slash of two.

    >>> place("s3://bucket/cams/")
    's3://bucket/cams'
    >>> place("file:///data/cams") == place("/data/cams") == Path("/data/cams")
    True
    """
    if isinstance(given, Path):
        if was_url(given):
            raise ConfigError(f"got the path {str(given)!r}. Give a URL as text, not as a Path.")
        return given
    if local := _FOLDER_URL.match(given):
        return Path(given[local.end() :])
    if not _URL.match(given):
        return Path(given)
    return given if given.endswith("://") else given.rstrip("/")


def was_url(path: Path) -> bool:
    """Tell whether a path was a URL once, before `Path` made one slash of two.

    >>> was_url(Path("s3://bucket/cams")), was_url(Path("cams/s3"))
    (True, False)
    """
    return bool(_CRUSHED_URL.match(str(path)))


def local_path(given: Place) -> Path:
    """Return the path on this machine that is given, also as file://, or raise `ConfigError` for another URL.

    >>> local_path("file:///data/a.h5") == local_path("/data/a.h5") == Path("/data/a.h5")
    True
    """
    found = place(given)
    if isinstance(found, str):
        raise ConfigError(f"got the URL {found}; expected a path on this machine. Give one.")
    return found
