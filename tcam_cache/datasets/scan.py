"""What a layout found on disk, everything wrong with it included, before it becomes a manifest."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tcam_cache.datasets.annotations import Annotations, Row, Sizes, attach
from tcam_cache.datasets.images import image_sizes
from tcam_cache.datasets.manifest import Manifest
from tcam_cache.errors import AnnotationError, ManifestError
from tcam_cache.records import Shot


@dataclass(frozen=True)
class Scan:
    """The shots below a root, and every fault that was met on the way.

    Attributes:
        root: the data set's folder.
        layout: how it is laid out.
        classes: the tags, in the classifier's order.
        shots: those that can be read, in a fixed order.
        faults: one text each; none when the data set is whole.
        facts: what the manifest's header remembers, such as how many empty shots were left out.
    """

    root: Path
    layout: str
    classes: tuple[str, ...]
    shots: tuple[Shot, ...]
    faults: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def with_boxes(
        self, rows: Sequence[Row], sizes_of: Callable[[Path, Iterable[str]], Sizes] = image_sizes
    ) -> "Scan":
        """Give the shots their boxes; rows that do not fit the frames become faults, and no box is set then.

        Args:
            rows: the boxes.
            sizes_of: see `attach`.
        """
        try:
            shots, _ = attach(self.shots, Annotations(self.root, tuple(rows)), self.root, sizes_of)
        except AnnotationError as error:
            return replace(self, faults=(*self.faults, *error.offenders))
        return replace(self, shots=shots)

    def manifest(self) -> Manifest:
        """Return the manifest of a data set without faults.

        Raises:
            ManifestError: lists every fault.
        """
        if self.faults:
            raise ManifestError(
                f"{self.root} does not hold a whole data set of the layout {self.layout!r}: "
                f"{len(self.faults)} fault(s). Correct them, or fetch what is missing.",
                self.faults,
            )
        return Manifest(self.root, self.layout, self.classes, self.shots, self.facts)
