"""Escape names for CSV, Markdown, LaTeX and file systems: no formulas, mark-up or clashing file names."""

import csv
import hashlib
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
# An underscore inside a word is plain text in Markdown; elsewhere it may start emphasis.
_MARKDOWN = re.compile(r"[\\`*{}\[\]|#~]|(?<![^\W_])_|_(?![^\W_])")
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_LATEX = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"<": "$<$", ">": "$>$", "±": r"$\pm$", "–": "--"}
)
_LONGEST_NAME = 255


def csv_text(text: str) -> str:
    """Return a text as a CSV cell that no spreadsheet reads as a formula; numbers stay numbers.

    >>> csv_text("=1+1"), csv_text("bird"), csv_text("-0.5"), from_csv_text("'=1+1")
    ("'=1+1", 'bird', '-0.5', '=1+1')
    """
    return f"'{text}" if text.lstrip("'").startswith(_FORMULA) and not _NUMBER.fullmatch(text) else text


def from_csv_text(cell: str) -> str:
    """Return the original text of a cell that `csv_text` wrote."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(_FORMULA) else cell


def csv_line(cells: Iterable[str | float]) -> str:
    """Return one line of CSV with texts escaped by `csv_text`; a cell with a line break is quoted.

    >>> csv_line(["a\\rb", "=1", -0.5])
    '"a\\rb",\\'=1,-0.5\\n'
    """
    text = io.StringIO()
    # csv quotes only the characters of its line terminator, so the terminator must hold both of them.
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([csv_text(cell) if isinstance(cell, str) else cell for cell in cells])
    return text.getvalue().removesuffix("\r\n") + "\n"


def markdown_text(text: str) -> str:
    """Return a text as a cell of a Markdown table, on one line, with all mark-up escaped.

    >>> markdown_text("<b>a|b_c")
    '&lt;b&gt;a\\\\|b_c'
    """
    return _MARKDOWN.sub(r"\\\g<0>", " ".join(text.split())).translate(_ENTITIES)


def markdown_line(cells: Sequence[str]) -> str:
    """Return a row of a Markdown table; the cells must be escaped already."""
    return f"| {' | '.join(cells)} |"


def latex_text(text: str) -> str:
    """Return a text as a cell of a LaTeX table, on one line, with all commands escaped.

    >>> latex_text("n_1 & 50%"), latex_text("67.3 ± 1.2")
    ('n\\\\_1 \\\\& 50\\\\%', '67.3 $\\\\pm$ 1.2')
    """
    return " ".join(text.split()).translate(_LATEX)


def file_names(names: Iterable[str], suffix: str) -> dict[str, str]:
    """Return for each "/"-separated path a file name with a suffix, unique even if case is ignored.

    Parts too long for a file system are cut and end in a hash of the whole part.

    >>> file_names(["a.png", "a.png.jpg"], ".jpg")
    {'a.png': 'a.png..jpg', 'a.png.jpg': 'a.png.jpg'}
    """
    names = list(names)
    taken = {str(folder).casefold() for name in names for folder in PurePosixPath(name).parents}
    file_name_of = {}
    # First the names that have the suffix already: they stay as they are.
    for name in sorted(names, key=lambda name: not name.lower().endswith(suffix)):
        file_name = name if name.lower().endswith(suffix) else f"{name}{suffix}"
        while file_name.casefold() in taken:
            file_name = f"{file_name[: -len(suffix)]}.{suffix}"
        taken.add(file_name.casefold())
        file_name_of[name] = "/".join(_shortened(part) for part in file_name.split("/"))
    return {name: file_name_of[name] for name in names}


def _shortened(part: str) -> str:
    data = part.encode("utf-8", "surrogateescape")
    if len(data) <= _LONGEST_NAME:
        return part
    end = f"-{hashlib.sha256(data).hexdigest()[:12]}{part[part.rfind('.') :][-8:] if '.' in part else ''}"
    return data[: _LONGEST_NAME - len(end.encode())].decode("utf-8", "ignore") + end
