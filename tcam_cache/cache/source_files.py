"""The files that a shot's frames were read from, so that other pixels under the same names are noticed."""

import hashlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from tcam_cache.cache.commits import CommitLog
from tcam_cache.provenance import sha256_of
from tcam_cache.records import FrameSource, Shot


class SourceChanges(NamedTuple):
    """What comparing finished shots with their files found.

    Attributes:
        changed: shots whose files hold other bytes now.
        touched: shots whose files have other times, but the same bytes, with their new stamp.
        unrecorded: shots whose records, made by an earlier version, do not tell their files.
        gone: shots of which a file is gone or cannot be read: nobody could compute them again.
    """

    changed: tuple[Shot, ...]
    touched: dict[int, str]
    unrecorded: tuple[Shot, ...]
    gone: tuple[Shot, ...]


def stamp_of(paths: Sequence[Path]) -> str:
    """Return the SHA-256 of names, sizes and modification times, "" where a file is gone."""
    try:
        facts = [(path.name, path.stat()) for path in paths]
    except OSError:
        return ""
    return sha256_of([(name, found.st_size, found.st_mtime_ns) for name, found in facts])


def content_of(paths: Sequence[Path]) -> str:
    """Return the SHA-256 of the bytes of files, "" where one is gone."""
    try:
        return sha256_of([_digest(path, (facts := path.stat()).st_size, facts.st_mtime_ns) for path in paths])
    except OSError:
        return ""


def source_changes(log: CommitLog, shots: Iterable[tuple[int, Shot]], source: FrameSource) -> SourceChanges:
    """Compare the files of finished shots with what their records keep of them.

    Args:
        log: the commit records.
        shots: position in the cache and shot.
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


# A video file holds many shots: its bytes are read once, as long as its size and time stay.
@lru_cache(maxsize=64)
def _digest(path: Path, size: int, time: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
