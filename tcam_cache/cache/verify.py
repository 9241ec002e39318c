"""Compare everything on disk with what was committed, and name every damage."""

import hashlib

import numpy as np

from tcam_cache.cache.commits import Commit, CommitLog, content_digest
from tcam_cache.cache.contents import Contents
from tcam_cache.cache.marker import NAME
from tcam_cache.cache.pack import PackedCams, existing_pack
from tcam_cache.errors import CacheError
from tcam_cache.progress import progress_bar


def verify(contents: Contents) -> tuple[str, ...]:
    """Return one line per damage; see `CamCache.verify`."""
    try:
        log = contents.fresh_log()
    except CacheError as error:
        return (error.message,)
    problems = _attachment_problems(contents)
    problems += [
        f"{name}: is no commit record of this cache; delete it and run the same build again"
        for name in log.strangers()
    ]
    commits, packed = log.all(), existing_pack(contents)
    with progress_bar(len(commits), "verifying the CAMs", "shot") as bar:
        for position, commit in commits.items():
            problems += _shot_problems(contents, position, commit)
            bar.update()
    if packed and not problems:
        problems += _pack_problems(contents, packed)
    return tuple(problems)


def _attachment_problems(contents: Contents) -> list[str]:
    problems = []
    for name, digest in contents.marker.attachments.items():
        data = contents.objects.get(name)
        if data is None:
            problems.append(f"{name}: is gone, though {NAME} names it; build the cache again")
        elif hashlib.sha256(data).hexdigest() != digest:
            problems.append(f"{name}: is not the file that {NAME} names; build the cache again")
    return problems


def _shot_problems(contents: Contents, position: int, commit: Commit) -> list[str]:
    record = CommitLog.name(position)
    cure = contents.objects.cure(record)
    try:
        maps, stats = contents.arrays.read(contents.index.rows(position))
    except CacheError as error:
        return [f"{commit.shot}: a chunk cannot be decoded ({error.__cause__}); {cure}"]
    if np.isnan(maps).any() or np.isnan(stats).any():
        return [f"{commit.shot}: a chunk is missing; {cure}"]
    if content_digest(maps, stats) != commit.sha256:
        return [f"{commit.shot}: its numbers are not those that {record} vouches for; {cure}"]
    return []


def _pack_problems(contents: Contents, packed: PackedCams) -> list[str]:
    name = packed.path.relative_to(contents.objects.root)
    cure = "delete it, it will be made again"
    if not packed.is_whole(contents.marker.map_size):
        return [f"{name}: is cut short; {cure}"]
    for shot_id in packed.index.ids:
        rows = contents.index.rows(contents.index.position(shot_id))
        maps, _ = contents.arrays.read(rows)
        if not np.array_equal(maps.astype(np.float32), packed.cams(shot_id)):
            return [f"{name}: differs from the cache at shot {shot_id}; {cure}"]
    return []
