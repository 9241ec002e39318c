"""Where a result comes from: versions, host, command line; and hashes that do not depend on the platform."""

import hashlib
import json
import platform
import socket
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from tcam_cache.version import __version__

RECORDED_PACKAGES = (
    "torch",
    "torchvision",
    "zarr",
    "numpy",
    "scikit-image",
    "scikit-learn",
    "pillow",
    "timm",
)


def canonical_json(value: Any) -> str:
    """Return JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def sha256_of(value: Any) -> str:
    """Return the hexadecimal SHA-256 of a JSON-able value.

    >>> sha256_of({"a": 1, "b": 2}) == sha256_of({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def differences(expected: Mapping[str, Any], actual: Mapping[str, Any]) -> list[str]:
    """List the settings in which two mappings differ, nested ones by dotted name.

    >>> differences({"method": "layercam", "size": 224}, {"method": "cam", "size": 224})
    ['method: layercam, not cam']
    """
    lines = []
    for key in sorted({*expected, *actual}):
        left, right = expected.get(key), actual.get(key)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            lines += [f"{key}.{line}" for line in differences(left, right)]
        elif left != right:
            left, right = ("''" if value == "" else value for value in (left, right))
            lines.append(f"{key}: {left}, not {right}")
    return lines


def provenance(**facts: Any) -> dict[str, Any]:
    """Return the record kept with every result: versions, host, time, command line and the `facts`."""
    return {
        "tcam_cache": __version__,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in RECORDED_PACKAGES},
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        **facts,
    }


@cache
def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
