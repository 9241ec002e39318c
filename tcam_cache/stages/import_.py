"""Import stored CAMs, one .pt file per frame as the authors' code reads them, into a cache."""

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch

from tcam_cache.building.map_source import map_settings, warn_of_flat_maps
from tcam_cache.cache import CachePlan, CamWriter
from tcam_cache.cams import normalise
from tcam_cache.config import ImportConfig
from tcam_cache.datasets import Manifest, manifest_text, read_manifest
from tcam_cache.datasets.manifest_file import CLASSIFIER_NAME, MANIFEST_NAME
from tcam_cache.errors import FrameError, WeightsError
from tcam_cache.models import read_classifier_file, read_torch_file
from tcam_cache.names import left_behind
from tcam_cache.progress import progress_bar
from tcam_cache.provenance import provenance
from tcam_cache.records import Shot, ShotCams

logger = logging.getLogger(__name__)

SUFFIX = ".pt"
_EXPECTED = "Expected one map that torch.save wrote."


@dataclass(frozen=True)
class ImportReport:
    """The result of an import.

    Attributes:
        cache: the cache folder.
        shots: of the whole cache.
        frames: of the whole cache.
        imported_frames: by this call; the others were imported before or belong to other splits.
        flat_maps: among the frames of this call.
        nan_values: number of NaN replaced by zero in the frames of this call.
        strangers: files in the folder that match no frame of the manifest.
        seconds: taken by this call.
    """

    cache: str
    shots: int
    frames: int
    imported_frames: int
    flat_maps: int
    nan_values: int
    foreign_names: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON-able values."""
        return asdict(self)

    def to_text(self) -> str:
        """Return the report as a few lines."""
        size = f"{self.shots:,} shots, {self.frames:,} frames"
        counts = f"{self.flat_maps:,} flat maps, {self.nan_values:,} NaN taken for zero"
        return f"{self.cache}: {size}\n  {self.imported_frames:,} frames imported, {counts}"


def import_cams(config: ImportConfig) -> ImportReport:
    """Store the maps of a folder of .pt files as a cache without logits; run again to resume.

    A frame's map is the file named like its path below the data set's root, each "/" an "_", with or without
    the image's suffix: bird/0001/frame0001.jpg is in bird_0001_frame0001.jpg.pt or bird_0001_frame0001.pt.

    Raises:
        FrameError: frames without a map, with two, or with an invalid map or one of another size; all are
            listed. If all frames have a file, the other shots are imported first.
        ConfigError: the classifier lacks classes of the manifest (all named).
        CacheError: `config.out` holds a cache made with other settings (named), or something else.
    """
    began = time.perf_counter()
    manifest = read_manifest(config.manifest, config.root)
    shots = manifest.split(config.split)
    files, foreign_names = _match(manifest, shots, config.source)
    plan, attachments = _plan(config, manifest, _map_size(files))
    writer = CamWriter.create(config.out, plan, attachments)
    wanted = {shot.id for shot in shots}
    pending = [shot for shot in writer.pending() if shot.id in wanted]
    frames, flat, nans, faults = 0, 0, 0, []
    with progress_bar(sum(map(len, pending)), "importing the CAMs", "frame") as bar:
        for shot in pending:
            maps, broken = _read_shot(files[shot.id], plan.map_size)
            faults += broken
            if not broken:
                cams = _shot_cams(maps)
                writer.write(shot.id, cams)
                frames, flat = frames + len(shot), flat + int(cams.flat.sum())
                nans += int(maps.isnan().sum())
            bar.update(len(shot))
    if faults:
        raise FrameError(
            f"{len(faults)} file(s) of {config.source} hold no CAM of {plan.map_size[0]} x "
            f"{plan.map_size[1]}; their shots are not in {config.out}, all others are. "
            "Replace them and run import again.",
            faults,
        )
    _warn(flat, nans, frames, foreign_names)
    return ImportReport(
        str(config.out), len(plan.shots), manifest.frame_count, frames, flat, nans, len(foreign_names),
        time.perf_counter() - began,
    )  # fmt: skip


def _match(
    manifest: Manifest, shots: Sequence[Shot], folder: Path
) -> tuple[dict[str, list[Path]], list[str]]:
    """Return the files of the frames of some shots by shot id, and the files that match no frame."""
    try:
        entries = {entry.name for entry in folder.iterdir() if entry.suffix == SUFFIX}
    except OSError as error:
        raise FrameError(f"cannot read the folder {folder}: {error.strerror}. Name another.") from error
    there = {name for name in entries if not left_behind(name)}
    claims: defaultdict[str, list[str]] = defaultdict(list)
    for shot in manifest.shots:
        for t in range(len(shot)):
            for name in _names(shot.path(t)):
                claims[name].append(shot.path(t))
    faults, files = [], {}
    for shot in shots:
        files[shot.id] = []
        for t in range(len(shot)):
            path = shot.path(t)
            matches = [name for name in _names(path) if name in there]
            shared = [other for name in matches for other in claims[name] if other != path]
            if len(matches) == 1 and not shared:
                files[shot.id].append(folder / matches[0])
            elif shared:
                faults.append(f"{path}: {matches[0]} could as well be of {shared[0]}")
            else:
                faults.append(f"{path}: {' and '.join(matches) or 'no ' + ' or '.join(_names(path))}")
    if faults:
        raise FrameError(
            f"{len(faults)} frame(s) have not exactly one stored CAM in {folder}; nothing was imported. "
            "Add or remove files, or import one split with `--split`.",
            faults,
        )
    return files, sorted(there - claims.keys())


def _names(path: str) -> tuple[str, str]:
    """Return the possible names of a frame's file.

    >>> _names("bird/0001/frame0001.jpg")
    ('bird_0001_frame0001.jpg.pt', 'bird_0001_frame0001.pt')
    """
    without = str(PurePosixPath(path).with_suffix(""))
    return f"{path.replace('/', '_')}{SUFFIX}", f"{without.replace('/', '_')}{SUFFIX}"


def _map_size(files: Mapping[str, Sequence[Path]]) -> tuple[int, int]:
    """Return the most common size of the shots' first maps, so that a map of another size is the error."""
    sizes, faults = Counter(), []
    for first, *_ in files.values():
        try:
            height, width = _read_map(first).shape
            sizes[height, width] += 1
        except FrameError as error:
            faults.append(error.message)
    if not sizes:
        raise FrameError("no shot begins with a readable CAM. Name the folder of .pt files.", faults)
    return sizes.most_common(1)[0][0]


def _read_map(path: Path) -> torch.Tensor:
    try:
        value = read_torch_file(path, _EXPECTED)
    except WeightsError as error:
        raise FrameError(f"{path.name}: {error.message}") from error
    if not isinstance(value, torch.Tensor) or value.is_complex():
        raise FrameError(f"{path.name}: holds a {type(value).__name__}. {_EXPECTED}")
    shape = tuple(value.shape)
    while value.ndim > 2 and len(value) == 1:
        value = value[0]
    if value.ndim != 2 or not value.numel():
        raise FrameError(f"{path.name}: is of shape {shape}. {_EXPECTED}")
    if value.isinf().any():
        raise FrameError(f"{path.name}: holds infinite values. {_EXPECTED}")
    return value.detach().float()


def _read_shot(files: Sequence[Path], size: tuple[int, int]) -> tuple[torch.Tensor, list[str]]:
    """Return a shot's (T, h, w) maps, NaN included, and one text for each invalid file."""
    maps, faults = [], []
    for file in files:
        try:
            value = _read_map(file)
        except FrameError as error:
            faults.append(error.message)
            continue
        if tuple(value.shape) != size:
            faults.append(f"{file.name}: {value.shape[0]} x {value.shape[1]}, not {size[0]} x {size[1]}")
        maps.append(value)
    return (torch.zeros(0) if faults else torch.stack(maps)), faults


def _shot_cams(maps: torch.Tensor) -> ShotCams:
    cams = normalise(maps.nan_to_num(0.0))
    return ShotCams(
        cams=cams.maps.numpy().astype(np.float16),
        raw_min=cams.raw_min.numpy(),
        raw_max=cams.raw_max.numpy(),
        flat=cams.flat.numpy(),
        logits=np.zeros((len(maps), 0), np.float32),
    )


def _plan(
    config: ImportConfig, manifest: Manifest, size: tuple[int, int]
) -> tuple[CachePlan, dict[str, bytes]]:
    file = read_classifier_file(config.classifier) if config.classifier else None
    attachments = {MANIFEST_NAME: manifest_text(manifest).encode()}
    if file:
        file.require_classes(manifest.classes)
        attachments[CLASSIFIER_NAME] = file.to_bytes()
    classes = file.classes if file else manifest.classes
    settings = {
        "method": config.method,
        # The folder's name distinguishes sets of maps, and does not change if the folder is moved.
        "imported": config.source.absolute().name,
        "target": "tag",
        "logits": False,
        "classifier": {
            "classes": list(classes),
            "weights": file.hashes()["best_localization"] if file else None,
        },
        "maps": map_settings(size),
        "manifest": manifest.digest(),
        "every": 1,
    }
    return CachePlan(
        classes, manifest.shots, size, settings, provenance(config=config.to_json())
    ), attachments


def _warn(flat: int, nans: int, frames: int, foreign_names: Sequence[str]) -> None:
    warn_of_flat_maps(flat, frames)
    if nans:
        logger.warning("%d NaN in new maps were taken for zero", nans)
    if foreign_names:
        logger.warning(
            "%d file(s) in the folder are of no frame of the manifest, such as %s",
            len(foreign_names),
            foreign_names[0],
        )
