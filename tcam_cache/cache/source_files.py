"""Digests of the source files of shots, to detect files whose content has changed."""

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
    """Return the SHA-256 of the names, sizes and modification times of files, "" if one is missing."""
    try:
        facts = [(path.name, path.stat()) for path in paths]
    except OSError:
        return ""
    return sha256_of([(name, stat.st_size, stat.st_mtime_ns) for name, stat in facts])


def content_of(paths: Sequence[Path]) -> str:
    """Return the SHA-256 of the bytes of files, "" if one is missing."""
    try:
        return sha256_of([_digest(path, (facts := path.stat()).st_size, facts.st_mtime_ns) for path in paths])
    except OSError:
        return ""


def source_changes(log: CommitLog, shots: Iterable[tuple[int, Shot]], source: FrameSource) -> SourceChanges:
    """Compare the source files of finished shots with the digests in their commit records.

    Args:
        log: the commit records.
        shots: (position in the cache, shot) pairs.
        source: tells which files a shot's frames are read from.
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
        if stamp == commit.stamp:
            continue
        content = stamp and content_of(paths)
        if not content:
            gone.append(shot)
        elif content == commit.content:
            touched[position] = stamp
        else:
            changed.append(shot)
    return SourceChanges(tuple(changed), touched, tuple(unrecorded), tuple(gone))


# A video file holds many shots: it is read once, unless its size or time changes.
@lru_cache(maxsize=64)
def _digest(path: Path, size: int, time: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
