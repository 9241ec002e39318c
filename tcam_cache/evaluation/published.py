"""The published tables on YouTube-Objects, as they ship with the package."""

import csv
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

from tcam_cache.errors import ConfigError

DATASETS = ("ytov1", "ytov2.2")
TITLES = {"ytov1": "YouTube-Objects v1", "ytov2.2": "YouTube-Objects v2.2"}


@dataclass(frozen=True)
class PublishedRow:
    """A published row of CorLoc.

    Attributes:
        method: as the literature calls it.
        reference: authors and year.
        source: where the row was read.
        corloc: by class, in percent; none where only the average is known.
        average: the published average, in percent; it may differ from the mean of `corloc` by rounding.
        std: its standard deviation over runs, or None.
        time_per_frame: as published, or empty.
        cl: published classification accuracy in percent, or None.
        learned_from: beside the frames, as far as it is known, or empty.
        note: how to read the row, or empty.
    """

    method: str
    reference: str
    source: str
    corloc: Mapping[str, float]
    average: float
    std: float | None
    time_per_frame: str
    cl: float | None
    learned_from: str
    note: str

    @property
    def average_text(self) -> str:
        """The average, with its standard deviation if there is one."""
        return f"{self.average:.1f}" if self.std is None else f"{self.average:.1f} ± {self.std:.1f}"


def published(dataset: str) -> tuple[PublishedRow, ...]:
    """Return the published rows of one data set, in the order of the paper's Table 1, newer ones last.

    Args:
        dataset: "ytov1" or "ytov2.2".

    Raises:
        ConfigError: nothing is shipped about such a data set.

    >>> [row.average for row in published("ytov1") if row.method == "TCAM"]
    [73.0]
    """
    if dataset not in DATASETS:
        raise ConfigError(f"got data set {dataset!r}; published numbers exist for {', '.join(DATASETS)}.")
    facts = {row["method"]: row for row in _rows("published_systems.csv")}
    cl = {row["method"]: float(row[dataset]) for row in _rows("published_cl.csv")}
    return tuple(
        PublishedRow(
            method=row["method"],
            reference=row["reference"],
            source=row["source"],
            corloc={name: float(row[name]) for name in youtube_objects_classes() if row[name]},
            average=float(row["avg"]),
            std=float(row["std"]) if row["std"] else None,
            time_per_frame=row["time_per_frame"],
            cl=cl.get(row["method"]),
            learned_from=facts.get(row["method"], {}).get("learned_from", ""),
            note=facts.get(row["method"], {}).get("note", ""),
        )
        for row in _rows("published_corloc.csv")
        if row["dataset"] == dataset
    )


def published_ablation() -> dict[str, float]:
    """Return CorLoc in percent on YouTube-Objects v1 by the parts of the loss, as TCAM's Table 3 lists them.

    >>> published_ablation()["LayerCAM"]
    65.6
    """
    return {row["method"]: float(row["ytov1"]) for row in _rows("published_ablation.csv")}


@cache
def youtube_objects_classes() -> tuple[str, ...]:
    """Return the ten classes of YouTube-Objects, v1 and v2.2 alike, in alphabetical order."""
    text = _shipped("ytov1.json").read_text(encoding="utf-8")
    return tuple(json.loads(text)["classes"])


def is_youtube_objects(classes: Collection[str]) -> bool:
    """Tell whether these are the ten classes of YouTube-Objects."""
    return set(classes) == set(youtube_objects_classes())


def _rows(name: str) -> Iterator[dict[str, str]]:
    yield from csv.DictReader(_shipped(name).read_text(encoding="utf-8").splitlines())


def _shipped(name: str) -> Traversable:
    return resources.files("tcam_cache_data").joinpath(name)
