"""A cache as an xarray dataset: named axes, coordinates of every frame, no padding."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tcam_cache.cache.contents import Contents
from tcam_cache.cache.format import STAT_COLUMNS
from tcam_cache.cache.pack import PackedCams
from tcam_cache.errors import CacheError
from tcam_cache.extras import optional

if TYPE_CHECKING:
    import xarray


def to_xarray(
    contents: Contents, packed: PackedCams, files: Mapping[str, Sequence[str]] | None = None
) -> "xarray.Dataset":
    """Return the finished shots as a dataset; see `CamCache.to_xarray`."""
    xarray = optional("xarray", "xarray")
    index, marker = packed.index, contents.marker
    stats = contents.stats(contents.index.position(shot_id) for shot_id in index.ids)
    raw_min, raw_max, flat = stats[:, : len(STAT_COLUMNS)].T
    lengths = np.array(index.lengths)
    of_shots = {"shot": index.ids, "tag": index.tags, "video": index.videos, "split": index.splits}
    coords = {
        "frame": np.arange(lengths.sum()),
        "y": contents.arrays.column("y"),
        "x": contents.arrays.column("x"),
        "class": np.array(marker.classes, object),
        **{name: ("frame", np.repeat(np.array(of, object), lengths)) for name, of in of_shots.items()},
        "t": ("frame", np.concatenate([np.arange(length) for length in lengths])),
    }
    if files is not None:
        coords["file"] = "frame", _names(index.ids, index.lengths, files)
    variables = {
        "cam": (("frame", "y", "x"), packed.maps, {"long_name": "class activation map of the tag in [0, 1]"}),
        "raw_min": ("frame", raw_min, {"long_name": "minimum of the map before it was scaled"}),
        "raw_max": ("frame", raw_max, {"long_name": "maximum of the map before it was scaled"}),
        "flat": ("frame", flat > 0, {"long_name": "the map was constant and says nothing"}),
    }
    logits = stats[:, len(STAT_COLUMNS) :]
    if logits.shape[1]:
        variables["logits"] = ("frame", "class"), logits, {"long_name": "the classifier's logits"}
    attrs = {"fingerprint": marker.fingerprint, "settings": json.dumps(marker.settings)}
    return xarray.Dataset(variables, coords, attrs)


def _names(ids: Sequence[str], lengths: Sequence[int], files: Mapping[str, Sequence[str]]) -> np.ndarray:
    wrong = [
        f"{shot}: {len(files.get(shot, ()))} file names, {length} frames"
        for shot, length in zip(ids, lengths, strict=True)
        if len(files.get(shot, ())) != length
    ]
    if wrong:
        raise CacheError("the file names are not those of this cache. Give one for every frame.", wrong)
    return np.array([name for shot in ids for name in files[shot]], object)
