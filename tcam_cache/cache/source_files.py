"""Digests of the source files of shots, to detect files whose content has changed.

A stamp (names, sizes, times of modification and of status change) is cheap: `build` compares it, and reads
a file again only where it differs. The status change time is set by the system whenever a file is written or
replaced, also where the modification time is put back. `verify --sources` reads every byte.
"""

import hashlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from tcam_cache.cache.commits import CommitLog
from tcam_cache.provenance import sha256_of
from tcam_cache.records import FrameSource, Shot


class SourceChanges(NamedTuple):
    """The result of comparing finished shots with their source files.

    Attributes:
        changed: shots whose files have other bytes now.
        touched: new stamps of shots whose files have new times but the same bytes.
        unrecorded: shots whose commit records, from an earlier version, have no digest of their files.
        gone: shots with a file that is missing or unreadable, so that they cannot be computed again.
    """

    changed: tuple[Shot, ...]
    touched: dict[int, str]
    unrecorded: tuple[Shot, ...]
    gone: tuple[Shot, ...]


def stamp_of(paths: Sequence[Path]) -> str:
    """Return the SHA-256 of the names, sizes and times of files, "" if one is missing."""
    try:
        return sha256_of([(path.name, *_version(path)) for path in paths])
    except OSError:
        return ""


def content_of(paths: Sequence[Path]) -> str:
    """Return the SHA-256 of the bytes of files, "" if one is missing."""
    try:
        return sha256_of([_digest(path, _version(path)) for path in paths])
    except OSError:
        return ""


def source_changes(
    log: CommitLog, shots: Iterable[tuple[int, Shot]], source: FrameSource, every_byte: bool = False
) -> SourceChanges:
    """Compare the source files of finished shots with the digests in their commit records.

    Args:
        log: the commit records.
        shots: (position in the cache, shot) pairs.
        source: tells which files a shot's frames are read from.
        every_byte: whether to read files whose stamps are unchanged, too.
    """
    commits = log.all()
    changed, touched, unrecorded, gone = [], {}, [], []
    for position, shot in shots:
        commit = commits.get(position)
        if commit is None:
            continue
        if commit.stamp is None:
            unrecorded.append(shot)
            continue
        paths = source.files(shot)
        stamp = stamp_of(paths)
        if stamp == commit.stamp and not every_byte:
            continue
        content = stamp and content_of(paths)
        if not content:
            gone.append(shot)
        elif content != commit.content:
            changed.append(shot)
        elif stamp != commit.stamp:
            touched[position] = stamp
    return SourceChanges(tuple(changed), touched, tuple(unrecorded), tuple(gone))


def _version(path: Path) -> tuple[int, int, int]:
    facts = path.stat()
    return facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


# A video file holds many shots: it is read once, unless its size or times change.
@lru_cache(maxsize=64)
def _digest(path: Path, version: tuple[int, int, int]) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
