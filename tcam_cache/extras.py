"""Optional packages: imported where they are used, and named with their extra where they are missing."""

import importlib
from typing import Any

from tcam_cache.errors import ExtraError


def optional(package: str, extra: str) -> Any:
    """Import an optional package, one that `pip install tcam-cache[EXTRA]` installs.

    Raises:
        ExtraError: it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ExtraError(
            f"this needs the package {package}, which is missing here ({error}). "
            f'Run `pip install "tcam-cache[{extra}]"`.'
        ) from error
