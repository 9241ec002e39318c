"""Write a CAM cache shot by shot: a killed process loses only the shots it was writing."""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np

from tcam_cache.cache.commits import Commit, CommitLog, WritableCommitLog, content_digest
from tcam_cache.cache.contents import Contents, finished_shots, iter_verified_shots
from tcam_cache.cache.format import ARRAYS, STAT_COLUMNS, CachePlan, Marker, empty_arrays, is_attachment_name
from tcam_cache.cache.format import NAME as MARKER
from tcam_cache.cache.frames import FOLDER as FRAMES
from tcam_cache.cache.frames import ShotFrames, WritableFrameFolder
from tcam_cache.cache.objects import WritableObjects
from tcam_cache.cache.source_files import content_of, source_changes, stamp_of
from tcam_cache.cache.storage import writable_objects_at
from tcam_cache.cache.storage.arrays import Arrays
from tcam_cache.errors import CacheError, ConfigError, FrameError
from tcam_cache.files import Place
from tcam_cache.progress import progress_bar
from tcam_cache.provenance import differences
from tcam_cache.records import FrameSource, Shot, ShotCams

logger = logging.getLogger(__name__)

STALE_SECONDS = 3600


class CamWriter:
    """Writes the shots of one plan; picklable, and any number of them may work on one cache.

    In a folder, a lock lets one writer at a time write a shot, and the first result stays. Remote stores have
    no locks: there, every writer must have its own shots, see `pending`.

    >>> import tempfile
    >>> shot = Shot("bird/1", "bird", "bird/1", "train", "bird/1", ("1.jpg", "2.jpg"))
    >>> plan = CachePlan(("bird", "cat"), (shot,), (2, 2), {"method": "layercam"}, {})
    >>> zeros, logits = np.zeros(2, np.float32), np.zeros((2, 2), np.float32)
    >>> cams = ShotCams(np.ones((2, 2, 2), np.float16), zeros, zeros + 5, zeros > 0, logits)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     writer = CamWriter.create(folder, plan)
    ...     writer.write("bird/1", cams)
    ...     writer.pending()
    ()
    """

    def __init__(self, objects: WritableObjects, plan: CachePlan) -> None:
        self._plan = plan
        self._objects = objects
        self._index = plan.index
        self._arrays = Arrays(objects, read_only=False)
        self._log = WritableCommitLog(objects, plan.fingerprint, self._index)
        self._frames = WritableFrameFolder(objects, plan.fingerprint, self._index)

    @classmethod
    def create(cls, path: Place, plan: CachePlan, attachments: Mapping[str, bytes] | None = None) -> Self:
        """Create a cache in a folder or at a URL, or resume the one that is there.

        Args:
            path: folder or URL of the cache; absent, empty, or with a cache of the same plan.
            plan: what the cache will hold.
            attachments: files to store with the cache, by name; a resumed cache keeps its own.

        Raises:
            CacheError: the place holds a cache of other settings or shots, or other files; or the URL's
                protocol is unknown.
            StorageError: a write fails.
        """
        if wrong := [repr(name) for name in attachments or () if not is_attachment_name(name)]:
            raise CacheError("attachments are named by plain file names. Rename these.", wrong)
        objects = writable_objects_at(path)
        marker = Marker.read(objects)
        if marker is None:
            _require_own_folder(objects, plan)
            _make(objects, plan, attachments or {})
            # Another writer may have been first.
            marker = Marker.read(objects)
        if marker is None:
            raise CacheError(f"{objects.where(MARKER)} was removed as the cache was made. Run it again.")
        _require_same_settings(objects, plan, marker)
        objects.sweep(STALE_SECONDS)
        return cls(objects, plan)

    def pending(self, shard: tuple[int, int] = (0, 1)) -> tuple[Shot, ...]:
        """Return the shots that are not finished, in order.

        Args:
            shard: (i, N): only shots whose position modulo N is i, 0 <= i < N; N such writers need no locks.

        Raises:
            ConfigError: the shard does not exist.
        """
        part, parts = shard
        if not 0 <= part < parts:
            raise ConfigError(f"got shard {part}/{parts}; expected i/N with 0 <= i < N, such as 0/2 and 1/2.")
        done = self._log.all()
        return tuple(
            shot
            for position, shot in enumerate(self._plan.shots)
            if position % parts == part and position not in done
        )

    def reopen_changed(self, source: FrameSource, shard: tuple[int, int] = (0, 1)) -> tuple[Shot, ...]:
        """Mark finished shots whose source files have changed as pending, and return them.

        Files with other times but the same bytes count as unchanged; shots whose commit records have no
        digest of their files, and those with a missing file, stay as they are.

        Args:
            source: tells which files a shot's frames are read from.
            shard: as in `pending`.

        Raises:
            StorageError: a commit record cannot be removed.
        """
        part, parts = shard
        shots = list(enumerate(self._plan.shots))[part::parts]
        changes = source_changes(self._log, shots, source)
        for position, stamp in changes.touched.items():
            self._log.put(position, replace(self._log.all()[position], stamp=stamp))
        if changes.gone:
            logger.warning(
                "%d finished shot(s) are kept, though files of theirs are gone, such as %s",
                len(changes.gone),
                changes.gone[0].id,
            )
        for shot in changes.changed:
            self._log.remove(self._index.position(shot.id))
            self._frames.remove(shot.id)
        return changes.changed

    def pending_frames(self, side: int, shard: tuple[int, int] = (0, 1)) -> tuple[Shot, ...]:
        """Return the shots whose frames are not stored, in order; `shard` as in `pending`.

        Raises:
            CacheError: frames are stored at another size; all such shots are listed.
        """
        part, parts = shard
        shots = self._plan.shots[part::parts]
        sides = {shot.id: self._frames.side(shot.id) for shot in shots}
        wrong = [
            f"{name}: {stored_side} pixels, not {side}"
            for name, stored_side in sides.items()
            if stored_side not in (None, side)
        ]
        if wrong:
            raise CacheError(
                "the cache holds frames of another size. Give that one with --frame-size, or delete its "
                f"folder {FRAMES}.",
                wrong,
            )
        return tuple(shot for shot in shots if sides[shot.id] is None)

    def write_frames(self, shot_id: str, frames: ShotFrames) -> None:
        """Store the squashed frames of one shot as one atomic write.

        Raises:
            CacheError: the shot is not in the plan, or has another number of frames.
            StorageError: the write is refused.
        """
        length = self._index.lengths[self._index.position(shot_id)]
        if not len(frames.images) == len(frames.sizes) == length:
            raise CacheError(f"got {len(frames.images)} frames of shot {shot_id!r}; expected {length}.")
        self._frames.put(shot_id, frames)

    def write(
        self, shot_id: str, cams: ShotCams, files: Sequence[Path] = (), stamp: str | None = None
    ) -> None:
        """Write one shot and commit it; a committed shot is left as it is.

        Args:
            shot_id: the shot's id.
            cams: the maps and logits of its frames.
            files: the source files of its frames; the commit record keeps their digest to detect changes.
            stamp: of the files, by `stamp_of`, from before the frames were read; by default it is taken now.

        Raises:
            CacheError: the shot is not in the plan, or an array has the wrong shape, dtype or range.
            FrameError: files have changed since the stamp was taken.
            StorageError: a write fails; all committed shots stay valid.
        """
        position = self._index.position(shot_id)
        faults = _faults(cams, self._index.lengths[position], self._plan)
        if faults:
            raise CacheError(
                f"the CAMs of shot {shot_id!r} cannot be stored. Correct what made them.", faults
            )
        stamp = stamp_of(files) if stamp is None else stamp
        content = content_of(files)
        if stamp_of(files) != stamp:
            raise FrameError(
                "source files have changed while they were read. Run the same build again.",
                [f"{shot_id}: its files have changed while they were read; run the same build again"],
            )
        maps, flat = np.asarray(cams.cams), np.asarray(cams.flat)
        stats = np.column_stack([cams.raw_min, cams.raw_max, flat, cams.logits]).astype(np.float32)
        commit = Commit(
            fingerprint=self._plan.fingerprint,
            shot=shot_id,
            frames=len(maps),
            flat=int(flat.sum()),
            sha256=content_digest(maps, stats),
            stamp=stamp if files else None,
            content=content if files else None,
        )
        with self._objects.exclusive(self._log.name(position)):
            if self._log.get(position):
                return
            self._arrays.write(self._index.starts[position], maps, stats)
            self._log.put(position, commit)


def _make(objects: WritableObjects, plan: CachePlan, attachments: Mapping[str, bytes]) -> None:
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in attachments.items()}
    for name, data in (empty_arrays(plan) | dict(attachments)).items():
        objects.put(name, data)
    Marker.of(plan, digests).put(objects)


def _require_own_folder(objects: WritableObjects, plan: CachePlan) -> None:
    """Require a new or empty place, an interrupted creation, or a place with shots of this plan."""
    if objects.kind() == "file":
        raise CacheError(
            f"{objects.where()} is a file; expected a folder for the cache. Choose another name."
        )
    names = objects.names()
    if not names or (names == (ARRAYS,) and not objects.names(ARRAYS)):
        return
    try:
        is_cache = "tcam_cache" in json.loads(objects.get(f"{ARRAYS}/zarr.json") or b"{}")["attributes"]
    except (ValueError, KeyError, TypeError):
        is_cache = False
    if not is_cache and not CommitLog(objects, plan.fingerprint, plan.index).all():
        raise CacheError(
            f"{objects.where()} holds something else than a CAM cache; nothing was changed. "
            "Choose another folder.",
            names,
        )


def _require_same_settings(objects: WritableObjects, plan: CachePlan, marker: Marker) -> None:
    planned, stored = Marker.of(plan, {}), marker
    differing = differences(planned.settings, stored.settings)
    differing += differences(
        {"classes": planned.classes, "map_size": planned.map_size},
        {"classes": stored.classes, "map_size": stored.map_size},
    )
    if planned.index != stored.index:
        differing += plan.index.differences(Contents(objects, stored, Arrays(objects)).index)
    if differing or planned.fingerprint != stored.fingerprint:
        raise CacheError(
            f"{objects.where()} holds a cache made with other settings; nothing was changed. "
            "Choose another folder, or give the settings it was made with.",
            differing,
        )


def _faults(cams: ShotCams, length: int, plan: CachePlan) -> list[str]:
    """List what is wrong with a shot's numbers."""
    maps = np.asarray(cams.cams)
    shapes = {
        "cams": (length, *plan.map_size),
        "raw_min": (length,),
        "raw_max": (length,),
        "flat": (length,),
        "logits": (length, len(plan.scored)),
    }
    arrays = {name: np.asarray(getattr(cams, name)) for name in shapes}
    faults = [
        f"{name}: got shape {arrays[name].shape}, expected {shape}"
        for name, shape in shapes.items()
        if arrays[name].shape != shape
    ]
    if maps.dtype != np.float16:
        faults.append(f"cams: got {maps.dtype}, expected float16")
    broken = [name for name, values in arrays.items() if not np.isfinite(values).all()]
    faults += [f"{name}: NaN or infinite" for name in broken]
    if "cams" not in broken and maps.size and not 0 <= maps.min() <= maps.max() <= 1:
        faults.append(f"cams: got values from {maps.min()} to {maps.max()}, expected [0, 1]")
    return faults


def copy_cache(contents: Contents, path: Place) -> None:
    """Write the finished shots of a cache into a cache folder; see `CamCache.to_zarr`."""
    commits = finished_shots(contents)
    attachments = {name: contents.attachment(name) for name in contents.marker.attachments}
    writer = CamWriter.create(path, contents.plan, attachments)
    pending_ids = {shot.id for shot in writer.pending()}
    left = {at: commit for at, commit in commits.items() if commit.shot in pending_ids}
    with progress_bar(sum(commit.frames for commit in left.values()), "copying the CAMs", "frame") as bar:
        for at, maps, stats in iter_verified_shots(contents, left):
            raw_min, raw_max, flat = stats[:, : len(STAT_COLUMNS)].T
            cams = ShotCams(maps, raw_min, raw_max, flat > 0, stats[:, len(STAT_COLUMNS) :])
            writer.write(contents.index.ids[at], cams)
            bar.update(len(maps))
