"""Export a cache, one of its shots, or a run to another format. For caches nothing here imports torch."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tcam_cache.cache import CamCache
from tcam_cache.config import ExportConfig
from tcam_cache.config.build import RUN_FORMATS
from tcam_cache.datasets.manifest_file import frame_names
from tcam_cache.files import atomic_file


@dataclass(frozen=True)
class ExportReport:
    """The result of an export.

    Attributes:
        out: the file or folder.
        shots: number of exported shots.
        frames: number of exported frames.
        bytes: size of the file or folder.
        missing: shots left out, because they are not finished.
    """

    out: str
    shots: int
    frames: int
    bytes: int
    missing: int

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON-able values."""
        return asdict(self)

    def to_text(self) -> str:
        """Return the report as one line."""
        unfinished = f"; {self.missing:,} shots are not finished, and left out" if self.missing else ""
        size = f"{self.shots:,} shots, {self.frames:,} frames, {self.bytes / 1e6:.1f} MB"
        return f"{self.out}: {size}{unfinished}"


def export(config: ExportConfig) -> "ExportReport | RunExportReport":
    """Write a cache, a shot or a run, as the format says; raises what `export_cache` and `export_run` do."""
    return (export_run if config.format in RUN_FORMATS else export_cache)(config)


def export_cache(config: ExportConfig) -> ExportReport:
    """Write the finished shots as HDF5 or as a cache folder, or one shot as an .npz file.

    Raises:
        CacheError: there is no such cache or shot, or nothing of it is finished.
        StorageError: the file system refuses the write.
    """
    cache = CamCache.open(config.cache)
    if config.shot is None:
        (cache.to_h5 if config.format == "h5" else cache.to_zarr)(config.out)
        shots = [shot for shot in cache.shots() if shot.complete]
        missing = len(cache.missing())
    else:
        _save_npz(cache, config.shot, Path(config.out))
        shots, missing = [cache.shot(config.shot)], 0
    return ExportReport(str(config.out), len(shots), sum(map(len, shots)), _size(config), missing)


@dataclass(frozen=True)
class RunExportReport:
    """The result of the export of a run.

    Attributes:
        out: the file.
        bytes: its size.
        inputs: shape and type of each input by name; B is any number of frames.
        outputs: names of what it returns, in order.
    """

    out: str
    bytes: int
    inputs: dict[str, str]
    outputs: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON-able values."""
        return asdict(self)

    def to_text(self) -> str:
        """Return the report as one line."""
        taken = ", ".join(f"{name} {shape}" for name, shape in self.inputs.items())
        return f"{self.out}: {taken} -> {', '.join(self.outputs)}; {self.bytes / 1e6:.1f} MB"


def export_run(config: ExportConfig) -> RunExportReport:
    """Write classifier, decoder and CAMs of a run as one graph, for `onnxruntime` or `torch.export.load`.

    Raises:
        ConfigError: the CAMs of the run are made with noise.
        ExtraError: onnx is not installed.
        RunError: there is no run, or none with a finished epoch.
        StorageError: the file system refuses the write.
    """
    from tcam_cache.inference.graph import RunGraph, write_onnx, write_torch_export
    from tcam_cache.inference.localizer import Localizer

    out = Path(config.out)
    run = RunGraph(Localizer.open(config.cache, "cpu"))
    (write_onnx if config.format == "onnx" else write_torch_export)(run, out)
    inputs = {
        name: f"({', '.join(['B', *map(str, one.shape[1:])])}) {str(one.dtype).removeprefix('torch.')}"
        for name, one in zip(run.inputs, run.examples(), strict=True)
    }
    return RunExportReport(str(out), out.stat().st_size, inputs, run.outputs)


def _size(config: ExportConfig) -> int:
    if config.format == "zarr":
        return CamCache.open(config.out).info().bytes or 0
    return Path(config.out).stat().st_size


def _save_npz(cache: CamCache, shot_id: str, path: Path) -> None:
    shot, cams, stats = cache.shot(shot_id), cache.cams(shot_id), cache.stats(shot_id)
    with atomic_file(path) as file:
        np.savez_compressed(
            file,
            cams=cams.astype(np.float16),
            **vars(stats),
            classes=np.array(cache.classes),
            frames=np.array(frame_names(cache, shot_id)),
            shot=shot.id,
            tag=shot.tag,
            video=shot.video,
            split=shot.split,
            fingerprint=cache.fingerprint,
        )
