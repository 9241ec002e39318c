"""Compare all stored data with the commit records, and report every damage."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tcam_cache.cache.commits import Commit, CommitLog, content_digest
from tcam_cache.cache.contents import Contents
from tcam_cache.cache.format import ARRAYS, CAM, NAME, STATS, empty_group
from tcam_cache.cache.pack import PackedCams, existing_pack
from tcam_cache.errors import CacheError
from tcam_cache.progress import progress_bar

# The other small arrays form the index of shots; cache.json keeps its digest.
COORDINATES = ("class", "stat", "y", "x")
# Number of shots read concurrently.
READERS = 16


def verify(opened: Contents) -> tuple[str, ...]:
    """Return one line per damage; see `CamCache.verify`."""
    # Read again what this process has already read.
    try:
        contents = Contents.open(opened.objects.place)
    except CacheError as error:
        return (error.message,)
    problems = _attachment_problems(contents)
    try:
        plan = contents.plan
    except CacheError:
        return (
            *problems,
            f"{ARRAYS}: the index of shots is missing or damaged; {contents.repair_hint}",
        )
    if plan.fingerprint != contents.marker.fingerprint:
        return (
            *problems,
            f"{NAME}: its fingerprint is not that of its settings; {contents.repair_hint}",
        )
    arrays = _array_problems(contents)
    problems += arrays.values()
    problems += [
        f"{name}: is no commit record of this cache; delete it and run the same build again"
        for name in contents.log.foreign_names()
    ]
    if not arrays.keys() & {CAM, STATS}:
        problems += _all_shot_problems(contents)
    problems += contents.frames.problems()
    packed = existing_pack(contents)
    if packed and not problems:
        problems += _pack_problems(contents, packed)
    return tuple(problems)


def _attachment_problems(contents: Contents) -> list[str]:
    problems = []
    for name, digest in contents.marker.attachments.items():
        data = contents.objects.get(name)
        if data is None:
            problems.append(f"{name}: is gone, though {NAME} names it; {contents.repair_hint}")
        elif hashlib.sha256(data).hexdigest() != digest:
            problems.append(f"{name}: is not the file that {NAME} names; {contents.repair_hint}")
    return problems


def _array_problems(contents: Contents) -> dict[str, str]:
    """Compare metadata, index and coordinates with a new cache of the same plan; return damages by array."""
    problems, expected, stored = {}, empty_group(contents.plan), contents.arrays
    try:
        sound = stored.attributes() in (None, expected.attrs.asdict())
    except CacheError:
        sound = False
    if not sound:
        problems["zarr.json"] = (
            f"{ARRAYS}/zarr.json: is missing, or not what {NAME} says; {contents.repair_hint}"
        )
    for name, array in expected.arrays():
        try:
            sound = stored.metadata(name) in (None, array.metadata.to_dict())
            if name in COORDINATES:
                sound = sound and np.array_equal(stored.column(name), array[:])
        except CacheError:
            sound = False
        if not sound:
            problems[name] = f"{ARRAYS}/{name}: is missing or damaged; {contents.repair_hint}"
    return problems


def _all_shot_problems(contents: Contents) -> list[str]:
    problems, commits = [], contents.log.all()
    todo = list(commits.items())
    # Remote stores are slow but serve many reads at once; in parts, so that Ctrl-C does not wait for all.
    with progress_bar(len(todo), "verifying the CAMs", "shot") as bar, ThreadPoolExecutor(READERS) as pool:
        for start in range(0, len(todo), 4 * READERS):
            part = todo[start : start + 4 * READERS]
            for shot_problems in pool.map(lambda item: _shot_problems(contents, *item), part):
                problems += shot_problems
                bar.update()
    return problems


def _shot_problems(contents: Contents, position: int, commit: Commit) -> list[str]:
    record = CommitLog.name(position)
    repair_hint = contents.objects.repair_hint(record)
    try:
        maps, stats = contents.read(contents.index.rows(position))
    except CacheError as error:
        return [
            f"{commit.shot}: a chunk cannot be decoded ({error.__cause__ or error.message}); {repair_hint}"
        ]
    if np.isnan(maps).any() or np.isnan(stats).any():
        return [f"{commit.shot}: a chunk is missing; {repair_hint}"]
    if content_digest(maps, stats) != commit.sha256:
        return [f"{commit.shot}: its numbers do not match the digest in {record}; {repair_hint}"]
    return []


def _pack_problems(contents: Contents, packed: PackedCams) -> list[str]:
    repair_hint = "delete it, it will be made again"
    if not packed.is_whole(contents.marker.map_size):
        return [f"{packed.path}: is cut short; {repair_hint}"]
    for shot_id in packed.index.ids:
        rows = contents.index.rows(contents.index.position(shot_id))
        maps, _ = contents.read(rows)
        if not np.array_equal(maps.astype(np.float32), packed.cams(shot_id)):
            return [f"{packed.path}: differs from the cache at shot {shot_id}; {repair_hint}"]
    return []
