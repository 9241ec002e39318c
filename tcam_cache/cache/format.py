"""The format on disk: arrays, chunks, and the marker file cache.json."""

import json
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import Any, Self

import numpy as np
import zarr
from zarr.codecs import ZstdCodec
from zarr.errors import ZarrUserWarning
from zarr.storage import MemoryStore

from tcam_cache.cache.commits import ShotIndex
from tcam_cache.cache.objects import Objects, WritableObjects
from tcam_cache.errors import CacheError
from tcam_cache.provenance import sha256_of
from tcam_cache.records import Shot

FORMAT_VERSION = 1
# Upper bound of a map's sides; larger ones in cache.json are damage.
LARGEST_SIDE = 65536
ARRAYS = "cams.zarr"
CAM, STATS = "cam", "frame_stats"
DTYPES = {CAM: "float16", STATS: "float32"}
STAT_COLUMNS = ("raw_min", "raw_max", "flat")
CHUNK_BYTES = 256 * 1024
ALIGNMENT = 128

_CODEC = ZstdCodec(level=3, checksum=True)
_DOTTED: dict[str, Any] = {"name": "default", "separator": "."}


@dataclass(frozen=True)
class CachePlan:
    """What a cache will hold.

    Attributes:
        classes: the classifier's classes, in the order of its logits.
        shots: every shot to be cached, in the order of the cache.
        map_size: (h, w) of the CAMs.
        settings: everything that changes a stored number, as JSON values; the fingerprint covers it.
        recorded: where the cache comes from, as JSON values; never compared.

    Raises:
        CacheError: no shot, a shot without frames, a repeated id, or a tag that is not a class.
    """

    classes: tuple[str, ...]
    shots: tuple[Shot, ...]
    map_size: tuple[int, int]
    settings: Mapping[str, Any]
    recorded: Mapping[str, Any]

    def __post_init__(self) -> None:
        uses = Counter(shot.id for shot in self.shots)
        faults = [f"{name}: given {count} times" for name, count in uses.items() if count > 1]
        faults += [f"{shot.id}: has no frames" for shot in self.shots if not len(shot)]
        faults += [
            f"{shot.id}: its tag {shot.tag!r} is no class of the classifier"
            for shot in self.shots
            if shot.tag not in self.classes
        ]
        if faults or not self.shots:
            raise CacheError(
                f"got {len(self.shots)} shots that cannot be cached; expected at least one, each with "
                f"its own id, frames, and a tag among {', '.join(self.classes)}. Correct the manifest.",
                faults,
            )

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the format version and the settings: equal fingerprints mean equal numbers."""
        return sha256_of({"format_version": FORMAT_VERSION, **self.settings})

    @property
    def scored(self) -> tuple[str, ...]:
        """The classes that have logits: all, or none if the settings say that the maps need no classifier."""
        return _scored(self.classes, self.settings)

    @property
    def index(self) -> ShotIndex:
        """The index: where each shot's rows are on the frame axis."""
        lengths = [len(shot) for shot in self.shots]
        return ShotIndex(
            ids=tuple(shot.id for shot in self.shots),
            tags=tuple(shot.tag for shot in self.shots),
            videos=tuple(shot.video for shot in self.shots),
            splits=tuple(shot.split for shot in self.shots),
            starts=(0, *accumulate(map(_aligned, lengths[:-1]))),
            lengths=tuple(lengths),
        )


def _scored(classes: tuple[str, ...], settings: Mapping[str, Any]) -> tuple[str, ...]:
    return classes if settings.get("logits", True) else ()


def chunk_frames(map_size: tuple[int, int]) -> int:
    """Return the number of float16 maps per chunk: the largest power of two within 128 and 256 KiB.

    A power of two divides the alignment of the shots, so two shots never share a chunk.

    >>> chunk_frames((7, 7)), chunk_frames((28, 28)), chunk_frames((56, 56)), chunk_frames((256, 256))
    (128, 128, 32, 2)
    """
    fitting = max(1, CHUNK_BYTES // (2 * map_size[0] * map_size[1]))
    return min(ALIGNMENT, 1 << (fitting.bit_length() - 1))


def empty_arrays(plan: CachePlan) -> dict[str, bytes]:
    """Return the objects of an empty cache's Zarr group by name: metadata, index and coordinates.

    They are written like any other object, so creating a cache twice, or in two processes at once, gives the
    same bytes. The group's metadata comes first: it identifies an unfinished cache as one of this program.
    """
    memory: dict[str, Any] = {}
    with warnings.catch_warnings():
        # zarr says that its specification has no consolidated metadata yet; it and xarray read them.
        warnings.simplefilter("ignore", ZarrUserWarning)
        zarr.consolidate_metadata(empty_group(plan, memory).store)
    names = sorted(memory, key=lambda name: (name != "zarr.json", name))
    return {f"{ARRAYS}/{name}": memory[name].to_bytes() for name in names}


def empty_group(plan: CachePlan, memory: dict[str, Any] | None = None) -> zarr.Group:
    """Return the Zarr group of an empty cache, made in memory."""
    marked = {
        "format_version": FORMAT_VERSION,
        "fingerprint": plan.fingerprint,
        "settings": dict(plan.settings),
    }
    group = zarr.create_group(MemoryStore(memory), zarr_format=3, attributes={"tcam_cache": marked})
    index = plan.index
    rows, (height, width) = index.starts[-1] + _aligned(index.lengths[-1]), plan.map_size
    columns = (*STAT_COLUMNS, *(f"logit:{name}" for name in plan.scored))
    _declare(group, CAM, (rows, height, width), ("frame", "y", "x"), chunk_frames(plan.map_size))
    _declare(group, STATS, (rows, len(columns)), ("frame", "stat"), ALIGNMENT)
    _fill(group, "shot_start", "shot", np.array(index.starts, "int64"))
    _fill(group, "row_size", "shot", np.array(index.lengths, "int64"))
    _fill(group, "label", "shot", np.array([plan.classes.index(tag) for tag in index.tags], "int16"))
    for name, texts in (("shot", index.ids), ("video", index.videos), ("split", index.splits)):
        _fill(group, name, "shot", np.array(texts, object))
    _fill(group, "class", "class", np.array(plan.classes, object))
    _fill(group, "stat", "stat", np.array(columns, object))
    _fill(group, "y", "y", (np.arange(height) + 0.5) / height)
    _fill(group, "x", "x", (np.arange(width) + 0.5) / width)
    return group


def _aligned(length: int) -> int:
    return -(-length // ALIGNMENT) * ALIGNMENT


def _declare(group: zarr.Group, name: str, shape: tuple[int, ...], dims: tuple[str, ...], rows: int) -> None:
    group.create_array(
        name,
        shape=shape,
        chunks=(rows, *shape[1:]),
        dtype=DTYPES[name],
        fill_value=float("nan"),
        compressors=_CODEC,
        chunk_key_encoding=_DOTTED,
        dimension_names=dims,
    )


def _fill(group: zarr.Group, name: str, dim: str, values: np.ndarray) -> None:
    array = group.create_array(
        name,
        shape=values.shape,
        chunks=values.shape,
        dtype=str if values.dtype == object else values.dtype,
        compressors=_CODEC,
        chunk_key_encoding=_DOTTED,
        dimension_names=(dim,),
        config={"write_empty_chunks": True},
    )
    array[:] = values


NAME = "cache.json"
FORMAT = "tcam_cache"


# Without the marker a cache counts as not created, and its metadata is written again; shots whose commit
# records match stay finished.


@dataclass(frozen=True)
class Marker:
    """The content of cache.json.

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
            # As JSON reads them back: tuples become lists.
            settings=json.loads(json.dumps(dict(plan.settings))),
            recorded=plan.recorded,
            attachments=attachments,
            index=plan.index.digest,
        )

    @classmethod
    def read(cls, objects: Objects) -> Self | None:
        """Return the marker of a cache, or None where there is none.

        Raises:
            CacheError: it is damaged, from another program, of an unknown format version, or leads out of
                the cache.
        """
        data = objects.get(NAME)
        if data is None:
            return None
        where = objects.where(NAME)
        try:
            values = dict(json.loads(data))
            form, version = values.pop("format"), values.pop("format_version")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise _damaged(objects) from error
        if form != FORMAT:
            raise CacheError(f"{where} is of format {form!r}, not {FORMAT!r}. Choose another folder.")
        if version != FORMAT_VERSION:
            raise CacheError(
                f"{where} has format version {version}; this version of tcam_cache reads version "
                f"{FORMAT_VERSION}. Use a tcam_cache that knows version {version}, or build the cache again."
            )
        if faults := _marker_faults(values):
            raise _damaged(objects, faults)
        values |= {name: tuple(values[name]) for name in ("classes", "map_size")}
        marker = cls(**values)
        if wrong := [repr(name) for name in marker.attachments if not is_attachment_name(name)]:
            raise CacheError(
                f"{where} names {len(wrong)} attachment(s) that are no plain file names: they could lead "
                "out of the cache. Do not use this cache, or have it exported again.",
                wrong,
            )
        return marker

    @property
    def row_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of one frame's row in the maps and in the statistics."""
        return {CAM: self.map_size, STATS: (len(STAT_COLUMNS) + len(_scored(self.classes, self.settings)),)}

    def to_bytes(self) -> bytes:
        """Return the content of cache.json."""
        values = {"format": FORMAT, "format_version": FORMAT_VERSION, **asdict(self)}
        return (json.dumps(values, indent=2) + "\n").encode()

    def put(self, objects: WritableObjects) -> None:
        """Write the marker; from then on the folder is a cache."""
        objects.put(NAME, self.to_bytes())


def is_attachment_name(name: str) -> bool:
    """Return whether a name is valid for a file directly in the cache's folder, on every platform.

    >>> [is_attachment_name(name) for name in ("classifier.pt", "../g.pt", "C:g.pt", "commits")]
    [True, False, False, False]
    """
    plain = isinstance(name, str) and name not in ("", ".", "..", NAME, ARRAYS, "commits", "frames", "pack")
    return plain and not any(letter in "/\\:" or letter < " " for letter in name)


def _marker_faults(values: Mapping[str, Any]) -> list[str]:
    """List the fields of cache.json that are missing, unknown, or hold something else than is written."""
    kinds = {
        "fingerprint": str, "classes": list, "map_size": list, "settings": dict, "recorded": dict,
        "attachments": dict, "index": str,
    }  # fmt: skip
    faults = [f"{name}: unknown" for name in values if name not in kinds]
    faults += [
        f"{name}: got {values.get(name)!r:.40}, expected {kind.__name__}"
        for name, kind in kinds.items()
        if not isinstance(values.get(name), kind)
    ]
    if faults:
        return faults
    classes, size, digests = (values[name] for name in ("classes", "map_size", "attachments"))
    if not all(isinstance(name, str) for name in classes) or len(set(classes)) < len(classes):
        faults.append(f"classes: got {classes!r:.40}, expected different texts")
    if len(size) != 2 or not all(type(side) is int and 0 < side <= LARGEST_SIDE for side in size):
        faults.append(f"map_size: got {size!r:.40}, expected two whole numbers from 1 to {LARGEST_SIDE}")
    if not all(isinstance(digest, str) for digest in digests.values()):
        faults.append(f"attachments: got {digests!r:.40}, expected texts")
    return faults


def _damaged(objects: Objects, faults: Sequence[str] = ()) -> CacheError:
    return CacheError(
        f"{objects.where(NAME)} is damaged: it is not the JSON of a CAM cache. "
        f"To mend that, {objects.repair_hint(NAME)}.",
        faults,
    )
