"""Names in tables and files that others read: no formula to a spreadsheet, no mark-up to Markdown."""

import csv
import hashlib
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
# An underscore inside a word is one; elsewhere it may be emphasis.
_MARKDOWN = re.compile(r"[\\`*{}\[\]|#~]|(?<![^\W_])_|_(?![^\W_])")
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_LONGEST_NAME = 255


def csv_text(text: str) -> str:
    """Return a text as a CSV cell that no spreadsheet takes for a formula; a number stays one.

    >>> csv_text("=1+1"), csv_text("bird"), csv_text("-0.5"), from_csv_text("'=1+1")
    ("'=1+1", 'bird', '-0.5', '=1+1')
    """
    return f"'{text}" if text.lstrip("'").startswith(_FORMULA) and not _NUMBER.fullmatch(text) else text


def from_csv_text(cell: str) -> str:
    """Return the text that `csv_text` made a cell of."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(_FORMULA) else cell


def csv_line(cells: Iterable[str | float]) -> str:
    """Return a line of CSV, its texts as `csv_text` has them; a line break inside a cell is quoted.

    >>> csv_line(["a\\rb", "=1", -0.5])
    '"a\\rb",\\'=1,-0.5\\n'
    """
    text = io.StringIO()
    # Whatever ends a line is quoted, so both characters have to.
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([csv_text(cell) if isinstance(cell, str) else cell for cell in cells])
    return text.getvalue().removesuffix("\r\n") + "\n"


def markdown_text(text: str) -> str:
    """Return a text as a cell of a Markdown table, on one line, without a meaning of its own.

    >>> markdown_text("<b>a|b_c")
    '&lt;b&gt;a\\\\|b_c'
    """
    return _MARKDOWN.sub(r"\\\g<0>", " ".join(text.split())).translate(_ENTITIES)


def markdown_line(cells: Sequence[str]) -> str:
    """Return a row of a Markdown table of cells that are escaped already."""
    return f"| {' | '.join(cells)} |"


def file_names(names: Iterable[str], suffix: str) -> dict[str, str]:
    """Return a file name for each path with "/", which ends in a suffix; no two are the same, in any case.

    Parts that are too long for a file system are cut, and end in a hash of the whole.

    >>> file_names(["a.png", "a.png.jpg"], ".jpg")
    {'a.png': 'a.png..jpg', 'a.png.jpg': 'a.png.jpg'}
    """
    names = list(names)
    taken = {str(folder).casefold() for name in names for folder in PurePosixPath(name).parents}
    found = {}
    # Those that end in the suffix keep their names.
    for name in sorted(names, key=lambda name: not name.lower().endswith(suffix)):
        made = name if name.lower().endswith(suffix) else f"{name}{suffix}"
        while made.casefold() in taken:
            made = f"{made[: -len(suffix)]}.{suffix}"
        taken.add(made.casefold())
        found[name] = "/".join(_shortened(part) for part in made.split("/"))
    return {name: found[name] for name in names}


def _shortened(part: str) -> str:
    data = part.encode("utf-8", "surrogateescape")
    if len(data) <= _LONGEST_NAME:
        return part
    end = f"-{hashlib.sha256(data).hexdigest()[:12]}{part[part.rfind('.') :][-8:] if '.' in part else ''}"
    return data[: _LONGEST_NAME - len(end.encode())].decode("utf-8", "ignore") + end
