"""File names as people read them: what a system left behind, their order, and Unicode forms of one name."""

import re
import unicodedata
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

# Of macOS, Windows, Linux, Synology, QNAP, NetApp and what synchronises folders; in lower case.
_LEFT_BEHIND = {
    "__macosx", "network trash folder", "temporary items", "thevolumesettingsfolder", "icon\r",
    "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "picasa.ini", "$recycle.bin", "recycler",
    "system volume information", "msocache", "lost+found", "aquota.user", "aquota.group", "__pycache__",
    "@eadir", "@tmp", "@recycle", "@recently-snapshot", "@sharebin", "@snapshot", "#recycle", "#snapshot",
    "~snapshot",
}  # fmt: skip
_UNFINISHED = (
    ".part", ".partial", ".filepart", ".crdownload", ".opdownload", ".download", ".aria2", ".!ut", ".!sync",
    ".!qb", ".tmp", ".temp", ".swp", "~", "@synoeastream", "@synoresource", ":zone.identifier",
)  # fmt: skip
_STARTS = (".", "~$", "~syncthing~", "$recycle")
_CONFLICTED = re.compile(r"conflicted copy|conflicted version|case conflict|\.sync-conflict-", re.IGNORECASE)
_DIGITS = re.compile(r"(\d+)")
_DECIMALS = re.compile(r"(\d+(?:[.,]\d+)?)")
_FRACTION = re.compile(r"\d[.,](\d+)")
_POINTS = re.compile(r"\d[.,]\d+[.,]\d")
_SIGNED = re.compile(r"-?\d")

_Part = str | tuple[int, str]


class Ordered(NamedTuple):
    """Names in the order a file manager shows, and what of it the names leave open, or "".

    Attributes:
        names: sorted.
        doubt: such as "02.jpg and 2.jpg differ in zeros or case alone".
    """

    names: list[str]
    doubt: str


def left_behind(name: str) -> bool:
    """Return whether a name is what a system, a network disk or a download leaves, and no person put there.

    Hidden names, caches of thumbnails, recycle bins, lock files and unfinished copies are; a conflicted copy
    is not, see `conflicted_copy`.

    >>> [left_behind(name) for name in ("@eaDir", "Thumbs.db", "._1.jpg", "2.jpg.part", "2.jpg")]
    [True, True, True, True, False]
    """
    lower = name.lower()
    return lower.startswith(_STARTS) or lower in _LEFT_BEHIND or lower.endswith(_UNFINISHED)


def conflicted_copy(name: str) -> bool:
    """Return whether a synchronising program made this second copy of a file.

    >>> conflicted_copy("frame0001 (Ann's conflicted copy 2024-05-01).jpg"), conflicted_copy("frame0001.jpg")
    (True, False)
    """
    return _CONFLICTED.search(name) is not None


def one_name(name: str) -> str:
    """Return a name in its composed form: macOS stores "é" as two characters, most other programs as one.

    >>> one_name("cafe\\u0301") == "caf\\u00e9"
    True
    """
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def natural_key(name: str, decimals: bool = False) -> tuple[int, list[_Part], str]:
    """Return a sort key that compares runs of digits as numbers, and letters whatever their case.

    Args:
        name: of a file or folder, or a path.
        decimals: a point or comma between digits begins a fraction.

    >>> sorted(["frame10.jpg", "Frame2.jpg", "frame1.jpg"], key=natural_key)
    ['frame1.jpg', 'Frame2.jpg', 'frame10.jpg']
    """
    parts = (_DECIMALS if decimals else _DIGITS).split(name)
    key: list[_Part] = [part.casefold() for part in parts]
    key[1::2] = (_number(part) for part in parts[1::2])
    return 0, key, name


def in_order(names: Iterable[str]) -> Ordered:
    """Sort names as a file manager does, decimal numbers such as seconds by their value.

    A fraction is one where all names have at most one point or comma between digits, and no longer fraction
    ends in 0 as the part of a version does (1.9, 1.10).

    >>> in_order(["10.25.jpg", "1.jpg", "0.5.jpg", "0.25.jpg"]).names
    ['0.25.jpg', '0.5.jpg', '1.jpg', '10.25.jpg']
    """
    names = list(names)
    keys = sorted(map(natural_key, names))
    whole = [name for _, _, name in keys]
    if any(name.startswith("-") for name in names) and all(map(_SIGNED.match, names)):
        return Ordered(sorted(names, key=_signed_key), "a leading - was read as a minus")
    # Two points in a row are those of a date or a version.
    if not any(map(_FRACTION.search, names)) or any(map(_POINTS.search, names)):
        return Ordered(whole, _doubt(keys))
    decimal = sorted(names, key=_decimal_key)
    if decimal == whole:
        return Ordered(whole, _doubt(keys))
    fractions = [found for name in names for found in _FRACTION.findall(name)]
    shortest = min(map(len, fractions))
    if any(len(digits) > shortest and digits.endswith("0") for digits in fractions):
        return Ordered(whole, _two_orders(whole, decimal, "read as two numbers"))
    return Ordered(decimal, _two_orders(decimal, whole, "read as decimals"))


def _number(digits: str) -> tuple[int, str]:
    whole, _, fraction = digits.replace(",", ".").partition(".")
    # Trailing zeros add nothing, and so fractions compare as text.
    return int(whole), fraction.rstrip("0")


def _decimal_key(name: str) -> tuple[int, list[_Part], str]:
    return natural_key(name, decimals=True)


def _signed_key(name: str) -> tuple[int, list[_Part], str]:
    if name[:1] != "-":
        return 1, natural_key(name, decimals=True)[1], name
    _, key, _ = natural_key(name[1:], decimals=True)
    whole, fraction = _number(_DECIMALS.split(name[1:], maxsplit=1)[1])
    # Larger first: the digits of a fraction are complemented, and its end comes after every digit.
    complement = "".join(chr(ord("9") - int(digit)) for digit in fraction) + chr(ord("9") + 1)
    return 0, [key[0], (-whole, complement), *key[2:]], name


def _two_orders(taken: list[str], other: list[str], how: str) -> str:
    first, second = next((a, b) for a, b in zip(taken, other, strict=True) if a != b)
    return f"digits around a point were {how}: {first} comes before {second}"


def _doubt(keys: list[tuple[int, list[_Part], str]]) -> str:
    ordered = [name for _, _, name in keys]
    same = next(((one, other) for (_, a, one), (_, b, other) in pairwise(keys) if a == b), None)
    if same:
        return f"{same[0]} and {same[1]} differ in zeros or case alone"
    if len(set(map(len, ordered))) == 1:
        alphabetical = sorted(ordered, key=str.casefold)
        if alphabetical != ordered:
            first, second = next((a, b) for a, b in zip(ordered, alphabetical, strict=True) if a != b)
            return f"digits were read as numbers: {first} comes before {second}, alphabetically after it"
    return ""
