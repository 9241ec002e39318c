"""MATLAB files as plain values: cells are lists, structs are dicts, text is str; versions 5 and 7.3."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from tcam_cache.errors import ManifestError

_HDF5 = b"\x89HDF\r\n\x1a\n"
_VERSION_5, _VERSION_73 = b"MATLAB 5.0", b"MATLAB 7.3"
_USER_BLOCK = 512


def read_variable(path: Path | str, name: str) -> Any:
    """Return one variable of a MATLAB file.

    Arrays of numbers have MATLAB's shape; cell and struct arrays become lists in MATLAB's order, column by
    column; text becomes a str.

    Raises:
        ManifestError: the file is missing, empty, damaged, not a MATLAB file, or has no such variable.
    """
    path = Path(path)
    read = _reader(path)
    try:
        with warnings.catch_warnings(action="ignore"):
            value = read(path, name)
    except KeyError as error:
        raise ManifestError(f"{path} has no variable {name!r}.") from error
    # For a damaged file the readers raise nearly any built-in exception.
    except Exception as error:
        raise ManifestError(f"{path} is a damaged MATLAB file ({error}).") from error
    return value


def _reader(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            head = file.read(_USER_BLOCK + len(_HDF5))
    except OSError as error:
        raise ManifestError(f"cannot read {path}: {error.strerror}.") from error
    if not head:
        raise ManifestError(f"{path} is empty. Expected a MATLAB file.")
    if head.startswith(_VERSION_5):
        return _read_version_5
    if head.startswith((_VERSION_73, _HDF5)):
        return _read_version_73
    raise ManifestError(f"{path} is not a MATLAB file of version 5 or 7.3.")


def _read_version_5(path: Path, name: str) -> Any:
    from scipy.io import loadmat

    return _plain(loadmat(path, variable_names=[name])[name])


def _plain(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.names:
        return [{name: _plain(item[name]) for name in value.dtype.names} for item in value.flatten("F")]
    if value.dtype == object:
        return [_plain(item) for item in value.flatten("F")]
    if value.dtype.kind == "U":
        return "".join(value.flatten())
    return value


def _read_version_73(path: Path, name: str) -> Any:
    import h5py

    with h5py.File(path, "r") as file:
        return _plain_73(file, file[name])


def _plain_73(file: Any, item: Any) -> Any:
    import h5py

    kind = item.attrs.get("MATLAB_class", b"").decode()
    if "MATLAB_empty" in item.attrs:
        return "" if kind == "char" else [] if kind in ("cell", "struct") else np.zeros((0, 0))
    if isinstance(item, h5py.Group):
        return _structs_73(file, item)
    # HDF5 keeps the columns first: reading row by row there is MATLAB's order, column by column.
    values = item[()]
    if values.dtype == object:
        return [_plain_73(file, file[reference]) for reference in values.flatten()]
    if kind == "char":
        return "".join(map(chr, values.flatten()))
    return values.T


def _structs_73(file: Any, group: Any) -> list[dict[str, Any]]:
    fields = {name: group[name] for name in group}
    many = all("MATLAB_class" not in field.attrs and field.dtype == object for field in _datasets(fields))
    if not (many and fields):
        return [{name: _plain_73(file, field) for name, field in fields.items()}]
    columns = {name: _plain_73(file, field) for name, field in fields.items()}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _datasets(fields: dict[str, Any]) -> list[Any]:
    return [field for field in fields.values() if hasattr(field, "dtype")]
