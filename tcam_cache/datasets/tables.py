"""Read text, CSV files with a header, JSON and XML, as written by other programs."""

import codecs
import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from tcam_cache.errors import TcamCacheError

# A file that is not a table may have a very long first line.
_SHOWN = 100
# What columns are called elsewhere, and here.
SYNONYMS = {"tag": "class", "x0": "xmin", "y0": "ymin", "x1": "xmax", "y1": "ymax"}
_DELIMITERS = ",;\t"
# Box formats of other programs: words of their first line, and their name in messages.
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
    """Return (line number, cells by column) of every row; extra cells are under the key None.

    The delimiter is the one of comma, semicolon and tab that yields the columns.

    Args:
        path: the file.
        columns: required columns.
        optional: an optional column, for messages.
        kind: type of the error to raise.

    Raises:
        TcamCacheError: of type `kind`: the file cannot be read as CSV, or columns are missing.
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
        reader.fieldnames = [_known_as(name, columns, reader.fieldnames) for name in reader.fieldnames]
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


def _known_as(name: str, columns: Sequence[str], there: Sequence[str]) -> str:
    """Return the required column that a name stands for where that one is absent, or the name."""
    required = SYNONYMS.get(name.casefold(), name)
    return required if required in columns and required not in there else name


def read_text(path: Path, kind: type[TcamCacheError]) -> str:
    """Return a file's text with "\\n" line ends, from UTF-8, or from UTF-16 with a byte order mark.

    Raises:
        TcamCacheError: of type `kind`: the file cannot be read, or is not such text.
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


def column_names(text: str) -> set[str]:
    """Return the names in the first line of a table, whichever of the known delimiters it has.

    >>> sorted(column_names("frame;class\\na;b"))
    ['class', 'frame', 'frame;class']
    """
    return {name for delimiter in _DELIMITERS for name in _names(text, delimiter)}


def parse_json(path: Path, text: str, kind: type[TcamCacheError]) -> Any:
    """Return the value of a JSON file's text, or raise an error of type `kind` that names the file."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise kind(f"{path} is not whole JSON: {error}. Export it again.") from error


def parse_xml(path: Path, text: str, kind: type[TcamCacheError]) -> ElementTree.Element:
    """Return the root of an XML file's text, or raise an error of type `kind` that names the file."""
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise kind(f"{path} is not whole XML: {error}. Export it again.") from error


def _names(text: str, delimiter: str) -> list[str]:
    return [name.strip().strip('"').strip() for name in text.partition("\n")[0].split(delimiter)]


def _form(names: Sequence[str]) -> str:
    """Return the box format that a header suggests instead of corners, for a message."""
    words = {name.strip().lower().replace("_", "").replace(" ", "") for name in names}
    box_format = next((form for known, form in _FORMS if known <= words), "")
    first = next(iter(names), "").lstrip()
    if first.startswith(("{", "[")):
        box_format = "JSON, such as COCO's"
    elif first.startswith("<"):
        box_format = "XML, such as Pascal VOC's"
    elif len(names) == 1 and len(numbers := first.split()) == 5 and all(map(_is_number, numbers)):
        box_format = "YOLO's centre, width and height as shares of the picture"
    return f" ({box_format})" if box_format else ""


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdecimal()


def _shown(names: Sequence[str]) -> str:
    return f"the header {','.join(names)[:_SHOWN]!r}" if any(names) else "an empty first line"
