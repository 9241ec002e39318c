"""The marker of a cache, cache.json: a folder that holds one is a cache, one without is not."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from tcam_cache.cache.layout import ARRAYS, FORMAT_VERSION, CachePlan
from tcam_cache.cache.objects import Objects, WritableObjects
from tcam_cache.errors import CacheError

NAME = "cache.json"
FORMAT = "tcam_cache"
# What is made with a cache is made anew where there is no marker; the commit records vouch for the shots.


@dataclass(frozen=True)
class Marker:
    """What cache.json says.

    Attributes:
        fingerprint: SHA-256 of format version and settings.
        classes: the classifier's classes, in the order of its logits.
        map_size: (h, w) of the CAMs.
        settings: everything that changes a stored number.
        recorded: where the cache comes from.
        attachments: SHA-256 of each attached file by name.
        index: SHA-256 of the index of shots.
    """

    fingerprint: str
    classes: tuple[str, ...]
    map_size: tuple[int, int]
    settings: Mapping[str, Any]
    recorded: Mapping[str, Any]
    attachments: Mapping[str, str]
    index: str

    @classmethod
    def of(cls, plan: CachePlan, attachments: Mapping[str, str]) -> Self:
        """Return the marker of a new cache."""
        return cls(
            fingerprint=plan.fingerprint,
            classes=plan.classes,
            map_size=plan.map_size,
            # As they will read back: tuples become lists.
            settings=json.loads(json.dumps(dict(plan.settings))),
            recorded=plan.recorded,
            attachments=attachments,
            index=plan.index.digest,
        )

    @classmethod
    def read(cls, objects: Objects) -> Self | None:
        """Return the marker of a cache, or None where there is none.

        Raises:
            CacheError: it is damaged, another program's, or of a format version that is not known here.
        """
        data = objects.get(NAME)
        if data is None:
            return None
        where = objects.where(NAME)
        try:
            values = json.loads(data)
            form, version = values.pop("format"), values.pop("format_version")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _damaged(objects) from error
        if form != FORMAT:
            raise CacheError(f"{where} is of format {form!r}, not {FORMAT!r}. Choose another folder.")
        if version != FORMAT_VERSION:
            raise CacheError(
                f"{where} has format version {version}; this version of tcam_cache reads version "
                f"{FORMAT_VERSION}. Use a tcam_cache that knows version {version}, or build the cache again."
            )
        try:
            sizes = {"classes": tuple(values.pop("classes")), "map_size": tuple(values.pop("map_size"))}
            marker = cls(**values, **sizes)
            wrong = [repr(name) for name in marker.attachments if not is_attachment_name(name)]
        except (KeyError, TypeError) as error:
            raise _damaged(objects) from error
        if wrong:
            raise CacheError(
                f"{where} names {len(wrong)} attachment(s) that are no plain file names: they could lead "
                "out of the cache. Do not use this cache, or have it exported again.",
                wrong,
            )
        return marker

    def to_bytes(self) -> bytes:
        """Return the content of cache.json."""
        values = {"format": FORMAT, "format_version": FORMAT_VERSION, **asdict(self)}
        return (json.dumps(values, indent=2) + "\n").encode()

    def put(self, objects: WritableObjects) -> None:
        """Write the marker, which makes the folder a cache."""
        objects.put(NAME, self.to_bytes())


def is_attachment_name(name: str) -> bool:
    """Return whether a name is that of one file right in the cache's folder, on every system.

    >>> [is_attachment_name(name) for name in ("classifier.pt", "../g.pt", "C:g.pt", "commits")]
    [True, False, False, False]
    """
    plain = isinstance(name, str) and name not in ("", ".", "..", NAME, ARRAYS, "commits", "frames", "pack")
    return plain and not any(letter in "/\\:" or letter < " " for letter in name)


def _damaged(objects: Objects) -> CacheError:
    return CacheError(
        f"{objects.where(NAME)} is damaged: it is not the JSON of a CAM cache. "
        f"To mend that, {objects.cure(NAME)}."
    )
