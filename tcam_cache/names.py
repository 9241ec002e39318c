"""File names: which ones operating systems leave, natural sort order, and Unicode forms of one name."""

import re
import unicodedata
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

# Files and folders of macOS, Windows, Linux, Synology, QNAP, NetApp and sync programs; lower case.
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
    """Names in the order of a file manager, and where that order is ambiguous.

    Attributes:
        names: sorted.
        doubt: why the order is ambiguous, such as "02.jpg and 2.jpg differ in zeros or case alone"; or "".
    """

    names: list[str]
    doubt: str


def left_behind(name: str) -> bool:
    """Return whether an operating system, a network disk or a download left this file, not a user.

    True for hidden files, thumbnail caches, recycle bins, lock files and unfinished copies; false for a
    conflicted copy, see `conflicted_copy`.

    >>> [left_behind(name) for name in ("@eaDir", "Thumbs.db", "._1.jpg", "2.jpg.part", "2.jpg")]
    [True, True, True, True, False]
    """
    lower = name.lower()
    return lower.startswith(_STARTS) or lower in _LEFT_BEHIND or lower.endswith(_UNFINISHED)


def conflicted_copy(name: str) -> bool:
    """Return whether a sync program made this file as a second copy of a file in conflict.

    >>> conflicted_copy("frame0001 (Ann's conflicted copy 2024-05-01).jpg"), conflicted_copy("frame0001.jpg")
    (True, False)
    """
    return _CONFLICTED.search(name) is not None


def one_name(name: str) -> str:
    """Return a name in Unicode's composed form (NFC): macOS stores "é" as two characters, others as one.

    >>> one_name("cafe\\u0301") == "caf\\u00e9"
    True
    """
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def natural_key(name: str, decimals: bool = False) -> tuple[int, list[_Part], str]:
    """Return a sort key that compares runs of digits as numbers, and letters whatever their case.

    Args:
        name: of a file or folder, or a path.
        decimals: whether a point or comma between digits starts a decimal fraction.

    >>> sorted(["frame10.jpg", "Frame2.jpg", "frame1.jpg"], key=natural_key)
    ['frame1.jpg', 'Frame2.jpg', 'frame10.jpg']
    """
    parts = (_DECIMALS if decimals else _DIGITS).split(name)
    key: list[_Part] = [part.casefold() for part in parts]
    key[1::2] = (_number(part) for part in parts[1::2])
    return 0, key, name


def in_order(names: Iterable[str]) -> Ordered:
    """Sort names as a file manager does, but decimal numbers (such as seconds) by their value.

    Digits after a point or comma are a fraction if every name has at most one such point or comma, and no
    fraction longer than the shortest ends in 0, as version numbers do (1.9, 1.10).

    >>> in_order(["10.25.jpg", "1.jpg", "0.5.jpg", "0.25.jpg"]).names
    ['0.25.jpg', '0.5.jpg', '1.jpg', '10.25.jpg']
    """
    names = list(names)
    keys = sorted(map(natural_key, names))
    whole = [name for _, _, name in keys]
    if any(name.startswith("-") for name in names) and all(map(_SIGNED.match, names)):
        return Ordered(sorted(names, key=_signed_key), "a leading - was read as a minus")
    # A name with several points between digits is a date or a version.
    if not any(map(_FRACTION.search, names)) or any(map(_POINTS.search, names)):
        return Ordered(whole, _doubt(keys))
    decimal = sorted(names, key=_decimal_key)
    if decimal == whole:
        return Ordered(whole, _doubt(keys))
    fractions = [digits for name in names for digits in _FRACTION.findall(name)]
    shortest = min(map(len, fractions))
    if any(len(digits) > shortest and digits.endswith("0") for digits in fractions):
        return Ordered(whole, _two_orders(whole, decimal, "read as two numbers"))
    return Ordered(decimal, _two_orders(decimal, whole, "read as decimals"))


def _number(digits: str) -> tuple[int, str]:
    whole, _, fraction = digits.replace(",", ".").partition(".")
    # Without trailing zeros, fractions compare correctly as text.
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
    same = next(((x, y) for (_, a, x), (_, b, y) in pairwise(keys) if a == b), None)
    if same:
        return f"{same[0]} and {same[1]} differ in zeros or case alone"
    if len(set(map(len, ordered))) == 1:
        alphabetical = sorted(ordered, key=str.casefold)
        if alphabetical != ordered:
            first, second = next((a, b) for a, b in zip(ordered, alphabetical, strict=True) if a != b)
            return f"digits were read as numbers: {first} comes before {second}, alphabetically after it"
    return ""
