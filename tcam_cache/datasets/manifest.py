"""A data set for all stages: its classes, and its shots in a fixed order."""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from tcam_cache.errors import ConfigError, ManifestError
from tcam_cache.provenance import canonical_json
from tcam_cache.records import SPLITS, Shot, shots_of_split

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Manifest:
    """The shots of a data set, indexed in place; validated when created.

    Attributes:
        root: the data set's folder; every shot's `folder` is relative to it.
        layout: how the folders were laid out, such as "folders".
        classes: the tags, in the order of the classifier's columns.
        shots: in a fixed order; ids are unique, a video has one tag and one split, no path leaves the root.
        facts: how it was indexed, as JSON values: sampling, seed, what was left out.

    Raises:
        ManifestError: the shots are inconsistent; all errors are listed.
    """

    root: Path
    layout: str
    classes: tuple[str, ...]
    shots: tuple[Shot, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        faults = [*_class_faults(self.classes), *_shot_faults(self), *_video_faults(self.shots)]
        if faults:
            raise ManifestError(
                f"the data set at {self.root} contradicts itself in {len(faults)} point(s). "
                "Correct it, then index it again.",
                faults,
            )

    @property
    def frame_count(self) -> int:
        """The number of frames of all shots."""
        return sum(map(len, self.shots))

    def shot(self, shot_id: str) -> Shot:
        """Return the shot with this id, or raise `ManifestError`."""
        if shot_id not in self._by_id:
            raise ManifestError(
                f"there is no shot {shot_id!r} among the {len(self.shots)}; one is {self.shots[0].id!r}."
            )
        return self._by_id[shot_id]

    def split(self, name: str) -> tuple[Shot, ...]:
        """Return the shots of "train", "val" or "test", or every shot for "all"."""
        if name not in (*SPLITS, "all"):
            raise ConfigError(f"there is no split {name!r}. Those that exist: {', '.join(SPLITS)}, all.")
        return shots_of_split(self.shots, name)

    def sampled(self, every: int) -> "Manifest":
        """Return a manifest with every K-th frame of each shot, from its first, and all annotated frames.

        Args:
            every: K >= 1; 1 returns the manifest itself.
        """
        if every < 1:
            raise ConfigError(f"got every = {every}; expected at least 1.")
        if every == 1:
            return self
        kept = (sorted({*range(0, len(shot), every), *shot.boxes}) for shot in self.shots)
        return replace(self, shots=tuple(map(Shot.only, self.shots, kept)))

    def digest(self) -> str:
        """Return the SHA-256 of what determines the CAMs: ordered shot ids, tags and frame names.

        Root, boxes and splits are left out: moving, annotating or splitting a data set changes no CAM.
        So are the defaults of earlier versions, which had no such keys: stored orientation and 16 bits.
        """
        digest = hashlib.sha256()
        if is_upright(self.facts):
            digest.update(b"upright\n")
        if "depth" in self.facts:
            digest.update(f"{self.facts['depth']} bits\n".encode())
        for shot in self.shots:
            digest.update(f"{canonical_json([shot.id, shot.tag, shot.frames])}\n".encode())
        return digest.hexdigest()

    @cached_property
    def _by_id(self) -> dict[str, Shot]:
        return {shot.id: shot for shot in self.shots}


def _class_faults(classes: Sequence[str]) -> Iterator[str]:
    for tag, times in Counter(classes).items():
        if times > 1:
            yield f"class {tag}: listed {times} times"


def _shot_faults(manifest: Manifest) -> Iterator[str]:
    if not manifest.shots:
        yield "no shots"
    known = set(manifest.classes)
    for shot_id, times in Counter(shot.id for shot in manifest.shots).items():
        if times > 1:
            yield f"shot {shot_id}: the id is used {times} times"
    for shot in manifest.shots:
        if not shot.frames:
            yield f"shot {shot.id}: no frames"
        if shot.tag not in known:
            yield f"shot {shot.id}: its tag {shot.tag!r} is not among the classes"
        if shot.split not in SPLITS:
            yield f"shot {shot.id}: its split {shot.split!r} is none of {', '.join(SPLITS)}"
        if any(not 0 <= t < len(shot) for t in shot.boxes):
            yield f"shot {shot.id}: boxes for a frame beyond its {len(shot)} frames"
        yield from _name_faults(shot)


def _video_faults(shots: Sequence[Shot]) -> Iterator[str]:
    tags, splits = defaultdict(set), defaultdict(set)
    for shot in shots:
        tags[shot.video].add(shot.tag)
        splits[shot.video].add(shot.split)
    for what, values_by_video in (("classes", tags), ("splits", splits)):
        for video, values in values_by_video.items():
            if len(values) > 1:
                yield f"video {video}: in {len(values)} {what} ({', '.join(sorted(values))})"


def _name_faults(shot: Shot) -> Iterator[str]:
    names = "/".join((shot.folder, *shot.frames))
    if not _is_text(names):
        yield f"shot {shot.id!r}: a file name is not UTF-8"
    if match := _CONTROL.search("/".join((names, shot.id, shot.video, shot.tag))):
        yield f"shot {shot.id!r}: a name holds the control character {match[0]!r}; rename it"
    if any(map(_leaves, (shot.id, shot.folder))) or _leaves(names):
        yield f"shot {shot.id!r}: its folder {shot.folder!r} or a frame leaves the root; paths lie below it"


def _leaves(path: str) -> bool:
    """Return whether a path can leave its root: it is absolute, or contains ".."."""
    plain = path.replace("\\", "/")
    absolute = plain.startswith("/") or "//" in plain or plain[1:3] == ":/"
    return absolute or (".." in plain and ".." in plain.split("/"))


def _is_text(name: str) -> bool:
    # Python reads an undecodable file name as lone surrogates, which cannot be written as text.
    return name.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in name)


UPRIGHT, STORED = "upright", "stored"
# The header's fact on times of frames; without it they count from the container's zero.
FROM_FIRST = {"times": "from the first frame"}


def is_upright(facts: Mapping[str, Any]) -> bool:
    """Return whether frames are turned as their files say; without the fact they are as stored.

    >>> is_upright({"orientation": "upright"}), is_upright({})
    (True, False)
    """
    return facts.get("orientation") == UPRIGHT
