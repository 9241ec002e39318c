"""CSV files with a header: read whole, with the lines that rows stand on."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tcam_cache.errors import TcamCacheError

# Of a file that is no table, the first line may be all there is.
_SHOWN = 100


def read_table(
    path: Path, columns: Sequence[str], optional: str, kind: type[TcamCacheError]
) -> list[tuple[int, dict[str | None, Any]]]:
    """Return (line, cells by column) of every row; a key None holds cells beyond the columns.

    Args:
        path: the file.
        columns: that it must have.
        optional: a further one, for messages.
        kind: of the error that is raised.

    Raises:
        TcamCacheError: of this kind: the file cannot be read as CSV, or columns are missing.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="", skipinitialspace=True)
            got = "an empty file" if reader.fieldnames is None else _shown(reader.fieldnames)
            reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
            missing = [column for column in columns if column not in reader.fieldnames]
            if missing:
                raise kind(
                    f"{path} lacks {len(missing)} column(s): got {got}, "
                    f"expected {','.join(columns)}[,{optional}] in line 1. Correct it.",
                    missing,
                )
            return [(reader.line_num, cells) for cells in reader]
    except (csv.Error, UnicodeDecodeError) as error:
        raise kind(f"{path} is not a CSV file: {error}.") from error
    except OSError as error:
        raise kind(f"cannot read {path}: {error.strerror}.") from error


def _shown(names: Sequence[str]) -> str:
    return f"the header {','.join(names)[:_SHOWN]!r}" if any(names) else "an empty first line"
