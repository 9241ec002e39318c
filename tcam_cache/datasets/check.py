"""Decode every frame of a data set once, and report all missing or broken frames together."""

import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, NamedTuple

from tcam_cache.datasets.frames import ImageFrames, frame_source, open_image, shown_size
from tcam_cache.datasets.layouts.scan import Scan
from tcam_cache.datasets.manifest import Manifest
from tcam_cache.datasets.picture_files import as_rgb, used_bits
from tcam_cache.errors import FrameError, ManifestError
from tcam_cache.processes import in_processes
from tcam_cache.progress import progress_bar
from tcam_cache.records import FrameSource, Shot


@dataclass(frozen=True)
class CheckReport:
    """The result of decoding every frame.

    Attributes:
        shots: shots checked.
        frames: frames checked.
        broken: reason by path, for every frame that cannot be read: "missing", "empty file", "truncated", ...
        mixed_sizes: the sizes found, such as ("480x270", "240x135"), by id of a shot whose frames differ.
        modes: number of frames in each mode other than RGB, by PIL's name ("L", "P", "CMYK", ...).
        faults: other errors of the data set: missing files, unreadable boxes, wrong counts.
    """

    shots: int
    frames: int
    broken: dict[str, str]
    mixed_sizes: dict[str, tuple[str, ...]]
    modes: dict[str, int]
    faults: tuple[str, ...] = ()

    def raise_if_broken(self) -> None:
        """Raise one error that lists all unreadable frames and all other errors.

        Raises:
            FrameError: frames cannot be read.
            ManifestError: all frames can be read, but the data set has other errors.
        """
        broken = [f"{path}: {reason}" for path, reason in self.broken.items()]
        if broken:
            more = f", and {len(self.faults)} other thing(s) are wrong" if self.faults else ""
            raise FrameError(
                f"{len(broken)} of {self.frames} frames cannot be read{more}. "
                "Replace them, or leave them out and index the data set again.",
                [*broken, *self.faults],
            )
        if self.faults:
            raise ManifestError(
                f"all {self.frames} frames can be read, but the data set is not whole: {len(self.faults)} "
                "thing(s) are missing or wrong. Fetch or correct them.",
                self.faults,
            )

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON-able values."""
        return asdict(self)

    def to_text(self) -> str:
        """Return the report as a few lines."""
        lines = [f"{self.frames} frames of {self.shots} shots decoded, {len(self.broken)} cannot be read"]
        lines += [f"  {path}: {reason}" for path, reason in self.broken.items()]
        lines += [f"  {fault}" for fault in self.faults]
        lines += [f"  shot {name}: frames of {', '.join(sizes)}" for name, sizes in self.mixed_sizes.items()]
        lines += [f"  {count} frame(s) of mode {mode}, read as RGB" for mode, count in self.modes.items()]
        return "\n".join(lines)


class _ShotCheck(NamedTuple):
    broken: dict[str, str]
    sizes: Counter[str]
    modes: Counter[str]


def check_frames(
    data: Manifest | Scan, workers: int | None = None, faults: tuple[str, ...] = ()
) -> CheckReport:
    """Decode every frame in worker processes; broken frames are reported, not raised.

    Args:
        data: the data set.
        workers: processes that decode; default one per core, 0 or 1 for this process alone.
        faults: errors found before, to be reported with the frames.
    """
    broken: dict[str, str] = {}
    mixed_sizes, modes = {}, Counter()
    with progress_bar(data.frame_count, "checking frames", "frame") as bar:
        for shot, result in zip(data.shots, _checked(data, workers), strict=True):
            broken |= result.broken
            modes += result.modes
            if len(result.sizes) > 1:
                mixed_sizes[shot.id] = tuple(size for size, _ in result.sizes.most_common())
            bar.update(len(shot))
    modes.pop("RGB", None)
    return CheckReport(len(data.shots), data.frame_count, broken, mixed_sizes, dict(modes), faults)


def _checked(data: Manifest | Scan, workers: int | None) -> Iterator[_ShotCheck]:
    source = frame_source(data)
    return in_processes((partial(_check_shot, source, shot) for shot in data.shots), workers)


def _check_shot(source: FrameSource, shot: Shot) -> _ShotCheck:
    result = _ShotCheck({}, Counter(), Counter())
    with warnings.catch_warnings(action="ignore"):
        for t in range(len(shot)):
            path = shot.path(t)
            try:
                size, mode = _look(source, shot, t)
            except FrameError as error:
                result.broken[path] = error.offenders[0].removeprefix(f"{path}: ")
            else:
                result.sizes["{}x{}".format(*size)] += 1
                result.modes[mode] += 1
    return result


def _look(source: FrameSource, shot: Shot, t: int) -> tuple[tuple[int, int], str]:
    if not isinstance(source, ImageFrames):
        frame = source.read(shot, t)
        return (frame.width, frame.height), "RGB"
    with open_image(source.root, shot.path(t)) as image:
        as_rgb(image, source.depth)
        bits = used_bits(image)
        mode = image.mode if bits == 8 else f"{image.mode} with {bits} bits in use"
        return shown_size(image, source.upright), mode
