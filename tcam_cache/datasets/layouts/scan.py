"""The result of scanning a layout on disk, with all its faults, before it becomes a manifest."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from tcam_cache.datasets.annotations import Annotations, Row, Sizes, attach, without_frames
from tcam_cache.datasets.box_units import checked_box
from tcam_cache.datasets.frames import image_sizes
from tcam_cache.datasets.layouts.matlab import read_variable
from tcam_cache.datasets.listing import Notes, is_folder, log_notes
from tcam_cache.datasets.manifest import STORED, Manifest, is_upright
from tcam_cache.datasets.picture_files import data_depth
from tcam_cache.datasets.sampling import with_splits
from tcam_cache.errors import AnnotationError, ManifestError
from tcam_cache.records import Shot

logger = logging.getLogger(__name__)


@dataclass
class Findings:
    """What a layout collects while it scans its folders.

    Attributes:
        shots: found so far, all of them "train".
        rows: boxes found so far.
        faults: errors that prevent the use of the data set, one text each.
        notes: what was left out, by kind, for the log.
        splits: by video; a video without one is "train".
    """

    shots: list[Shot] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    notes: Notes = field(default_factory=lambda: Notes(list))
    splits: dict[str, str] = field(default_factory=dict)

    def read(self, path: Path, root: Path, name: str) -> Any:
        """Return a variable of a MATLAB file, or add a fault and return None."""
        try:
            return read_variable(root / path, name)
        except ManifestError as error:
            self.faults.append(error.message.replace(f"{root}/", ""))
            return None

    def add_box(self, location: str, frame: str, tag: str, corners: Sequence[str | float]) -> None:
        """Add a row for a box, or a fault where it is none."""
        try:
            self.rows.append(Row(location, frame, tag, checked_box(corners), ""))
        except ValueError as error:
            self.faults.append(f"{location}: {frame}: {error}")

    def scan(
        self,
        root: Path,
        layout: str,
        classes: tuple[str, ...],
        orientation: str = STORED,
        facts: Mapping[str, Any] | None = None,
    ) -> "Scan":
        """Log the notes, and return the scan with splits and boxes in place."""
        log_notes(self.notes, self.shots)
        shots = with_splits(self.shots, self.splits)
        facts = {"orientation": orientation, **(facts or {})}
        return Scan(root, layout, classes, shots, tuple(self.faults), facts).with_boxes(self.rows)


@dataclass(frozen=True)
class Scan:
    """The shots below a root, and all faults of the scan.

    Attributes:
        root: the data set's folder.
        layout: name of the layout.
        classes: the tags, in the classifier's order.
        shots: those that can be read, in a fixed order.
        faults: one text each; empty for a data set without errors.
        facts: for the manifest's header, such as the number of empty shots that were left out.
        splits: of the videos that the layout assigns to one (folders of splits, a list); may be empty.
        broken: the reason by path, for video files that cannot be read and for what was left out; these
            have no shots.
        sizes_of: as for `attach`; by default reads the images' headers, upright if the facts say so.
    """

    root: Path
    layout: str
    classes: tuple[str, ...]
    shots: tuple[Shot, ...]
    faults: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    splits: Mapping[str, str] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)
    sizes_of: Callable[[Path, Iterable[str]], Sizes] | None = field(default=None, compare=False, repr=False)

    def annotated(self, annotations: Annotations) -> "Scan":
        """Return the scan with the boxes and splits of an annotation file.

        If the file has splits, they take precedence over those of the layout, and a video in neither is
        "train". Rows of broken frames and videos are ignored.

        Raises:
            AnnotationError: rows do not fit the frames; all are listed.
        """
        sizes_of = self.sizes_of or partial(image_sizes, upright=is_upright(self.facts))
        known = without_frames(annotations, self.broken)
        shots, splits = attach(self.shots, known, self.root, sizes_of)
        return replace(self, shots=with_splits(shots, {**self.splits, **splits}) if splits else shots)

    def with_boxes(self, rows: Sequence[Row]) -> "Scan":
        """Return the scan with the layout's own boxes; if rows do not fit the frames, with faults instead."""
        try:
            return self.annotated(Annotations(self.root, tuple(rows)))
        except AnnotationError as error:
            return self.with_faults(error.offenders)

    def with_faults(self, faults: Iterable[str]) -> "Scan":
        """Return the scan with further faults."""
        return replace(self, faults=(*self.faults, *faults))

    def with_splits(self, splits: Mapping[str, str], source: Path) -> "Scan":
        """Return the scan with the splits of a file; a video that it does not list is "train".

        Args:
            splits: by video; an unknown video is a fault.
            source: the file, for messages.
        """
        videos = dict.fromkeys(shot.video for shot in self.shots)
        unknown = (f"video {video} of {source} is not there" for video in splits if video not in videos)
        unnamed = [video for video in videos if video not in splits]
        if unnamed:
            logger.warning("%d video(s) not in %s are train, such as %s", len(unnamed), source, unnamed[0])
        return replace(self, shots=with_splits(self.shots, splits)).with_faults(unknown)

    def with_depth(self) -> "Scan":
        """Record how many bits images of more than 8 bits use, from a sample of them; see `data_depth`."""
        frames = [shot.path(t) for shot in self.shots for t in (0, len(shot) - 1)]
        depth = data_depth(self.root, frames)
        return self if depth is None else replace(self, facts={**self.facts, "depth": depth})

    def without(self, broken: Mapping[str, str]) -> "Scan":
        """Return the scan without unreadable frames and videos, and without shots and classes left empty.

        Args:
            broken: the reason by path, for unreadable frames; those of the scan itself are left out, too.

        Raises:
            ManifestError: no frame is left.
        """
        kept = (
            shot.only([t for t in range(len(shot)) if shot.path(t) not in broken]) if broken else shot
            for shot in self.shots
        )
        broken = {**self.broken, **broken}
        shots = tuple(shot for shot in kept if shot.frames)
        if not shots:
            raise ManifestError(f"{self.root} holds no frame that can be read. Fetch the data set again.")
        tags = {shot.tag for shot in shots}
        # A box on such a frame is not reported: the frame is.
        faults = tuple(
            fault for fault in self.faults if not any(f": {path}: " in f": {fault}" for path in broken)
        )
        return replace(
            self,
            classes=tuple(tag for tag in self.classes if tag in tags),
            shots=shots,
            faults=faults,
            facts={**self.facts, "left_out": len(broken)},
            broken=broken,
        )

    @property
    def frame_count(self) -> int:
        """The number of frames of all shots."""
        return sum(map(len, self.shots))

    def manifest(self) -> Manifest:
        """Return the manifest of a data set without faults.

        Raises:
            ManifestError: there are faults; all are listed.
        """
        if self.faults:
            raise ManifestError(
                f"{self.root} does not hold a whole data set of the layout {self.layout!r}: "
                f"{len(self.faults)} fault(s). Correct them, or fetch what is missing.",
                self.faults,
            )
        return Manifest(self.root, self.layout, self.classes, self.shots, self.facts)


def open_root(root: Path | str) -> Path:
    """Return the root as a path.

    Raises:
        ManifestError: it is not a folder.
    """
    if not is_folder(Path(root)):
        raise ManifestError(f"{root} is not a folder. Give the folder that the data set was unpacked into.")
    return Path(root)
