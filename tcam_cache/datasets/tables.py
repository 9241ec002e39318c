"""Text that people's programs wrote: lines, and CSV files with a header, read whole."""

import codecs
import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tcam_cache.errors import TcamCacheError

# Of a file that is no table, the first line may be all there is.
_SHOWN = 100
_DELIMITERS = ",;\t"
# What other programs' files of boxes are known by: words of their first line, and how to get there from them.
_FORMS = (
    ({"cx", "cy"}, "centre, width and height"),
    ({"xcenter", "ycenter"}, "centre, width and height"),
    ({"w", "h"}, "left, top, width and height"),
    ({"width", "height"}, "left, top, width and height"),
    ({"bbox"}, "boxes in one cell"),
    ({"imageid", "labelname"}, "OpenImages, whose corners are shares of the picture"),
)


def read_table(
    path: Path, columns: Sequence[str], optional: str, kind: type[TcamCacheError]
) -> list[tuple[int, dict[str | None, Any]]]:
    """Return (line, cells by column) of every row; a key None holds cells beyond the columns.

    Commas, semicolons or tabs part the cells: whichever gives the columns.

    Args:
        path: the file.
        columns: that it must have.
        optional: a further one, for messages.
        kind: of the error that is raised.

    Raises:
        TcamCacheError: of this kind: the file cannot be read as CSV, or columns are missing.
    """
    text = read_text(path, kind)
    skipped = text[:4].lower() == "sep="
    body = text.partition("\n")[2] if skipped else text
    delimiter = max(_DELIMITERS, key=lambda mark: len(set(_names(body, mark)) & set(columns)))
    try:
        reader = csv.DictReader(
            io.StringIO(body, newline=""), restval="", skipinitialspace=True, delimiter=delimiter
        )
        got = "an empty file" if reader.fieldnames is None else _shown(reader.fieldnames)
        reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
        missing = [column for column in columns if column not in reader.fieldnames]
        if missing:
            raise kind(
                f"{path} lacks {len(missing)} column(s): got {got}{_form(reader.fieldnames)}, "
                f"expected {','.join(columns)}[,{optional}] in line 1. Correct it.",
                missing,
            )
        return [(reader.line_num + skipped, cells) for cells in reader]
    except csv.Error as error:
        raise kind(f"{path} is not a CSV file: {error}.") from error


def read_text(path: Path, kind: type[TcamCacheError]) -> str:
    """Return a file's text with "\\n" at the end of lines; UTF-8, or UTF-16 that says so.

    Raises:
        TcamCacheError: of this kind: the file cannot be read, or is no such text.
    """
    try:
        data = path.read_bytes()
        wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise kind(
            f"{path} is not a CSV file or other text in UTF-8: {error.reason} at byte {error.start}. "
            'Save it as UTF-8 (Excel: "CSV UTF-8").'
        ) from error
    except OSError as error:
        raise kind(f"cannot read {path}: {error.strerror}.") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _names(text: str, delimiter: str) -> list[str]:
    return [name.strip().strip('"').strip() for name in text.partition("\n")[0].split(delimiter)]


def _form(names: Sequence[str]) -> str:
    """Return what a header gives instead of corners, for a message."""
    words = {name.strip().lower().replace("_", "").replace(" ", "") for name in names}
    found = next((form for known, form in _FORMS if known <= words), "")
    first = next(iter(names), "").lstrip()
    if first.startswith(("{", "[")):
        found = "JSON, such as COCO's"
    elif first.startswith("<"):
        found = "XML, such as Pascal VOC's"
    elif len(names) == 1 and len(numbers := first.split()) == 5 and all(map(_is_number, numbers)):
        found = "YOLO's centre, width and height as shares of the picture"
    return f" ({found})" if found else ""


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdecimal()


def _shown(names: Sequence[str]) -> str:
    return f"the header {','.join(names)[:_SHOWN]!r}" if any(names) else "an empty first line"
