"""Names in tables and files that others read: no formula to a spreadsheet, no mark-up to Markdown."""

import csv
import hashlib
import io
import re
from collections.abc import Iterable

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>|#&~])")
_LONGEST_NAME = 255


def csv_line(cells: Iterable[str | float]) -> str:
    """Return a line of a CSV with its end: texts as `csv_text`, numbers as they are."""
    made = [csv_text(cell) if isinstance(cell, str) else cell for cell in cells]
    # Python's writer leaves a carriage return bare, which readers take for the end of a line.
    quoting = csv.QUOTE_ALL if any("\r" in str(cell) for cell in made) else csv.QUOTE_MINIMAL
    line = io.StringIO(newline="")
    csv.writer(line, lineterminator="\n", quoting=quoting).writerow(made)
    return line.getvalue()


def csv_text(text: str) -> str:
    """Return a text as a CSV cell that no spreadsheet takes for a formula; numbers are not for this.

    >>> csv_text("=1+1"), csv_text("bird"), from_csv_text("'=1+1")
    ("'=1+1", 'bird', '=1+1')
    """
    return f"'{text}" if text.lstrip("'").startswith(_FORMULA) else text


def from_csv_text(cell: str) -> str:
    """Return the text that `csv_text` made a cell of."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(_FORMULA) else cell


def markdown_text(text: str) -> str:
    """Return a text as a cell of a Markdown table, on one line, without a meaning of its own.

    >>> markdown_text("<b>a|b")
    '\\\\<b\\\\>a\\\\|b'
    """
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))


def file_names(names: Iterable[str], suffix: str) -> dict[str, str]:
    """Return a file name for each path with "/", which ends in a suffix; no two are the same, in any case.

    Parts that are too long for a file system are cut, and end in a hash of the whole.

    >>> file_names(["a.png", "a.png.jpg"], ".jpg")
    {'a.png': 'a.png..jpg', 'a.png.jpg': 'a.png.jpg'}
    """
    names = list(names)
    own = {name.casefold() for name in names if name.lower().endswith(suffix)}
    found = {}
    for name in names:
        if name.lower().endswith(suffix):
            made = name
        else:
            made = f"{name}{suffix}"
            while made.casefold() in own:
                made = f"{made[: -len(suffix)]}.{suffix}"
            own.add(made.casefold())
        found[name] = "/".join(_shortened(part) for part in made.split("/"))
    return found


def _shortened(part: str) -> str:
    data = part.encode("utf-8", "surrogateescape")
    if len(data) <= _LONGEST_NAME:
        return part
    end = f"-{hashlib.sha256(data).hexdigest()[:12]}{part[part.rfind('.') :][-8:] if '.' in part else ''}"
    return data[: _LONGEST_NAME - len(end.encode())].decode("utf-8", "ignore") + end
