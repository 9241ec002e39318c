"""CSV files with a header: read whole, with the lines that rows stand on."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tcam_cache.errors import TcamCacheError


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
            reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
            missing = [column for column in columns if column not in reader.fieldnames]
            if missing:
                raise kind(
                    f"{path} lacks {len(missing)} column(s). "
                    f"Expected {','.join(columns)}[,{optional}] in line 1.",
                    missing,
                )
            return [(reader.line_num, cells) for cells in reader]
    except (csv.Error, UnicodeDecodeError) as error:
        raise kind(f"{path} is not a CSV file: {error}.") from error
    except OSError as error:
        raise kind(f"cannot read {path}: {error.strerror}.") from error
