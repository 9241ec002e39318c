"""What every stage does first: find the device, the workers, the data set and its frames."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from tcam_cache.cache import CamCache
from tcam_cache.config import DataConfig, FitConfig
from tcam_cache.datasets import Manifest, frame_source, read_manifest
from tcam_cache.errors import CacheError, DeviceError
from tcam_cache.processes import affordable
from tcam_cache.provenance import sha256_of
from tcam_cache.records import FrameSource


def find_device(name: str, place: int = 0, sharing: int = 1) -> torch.device:
    """Return the device that `--device` names; "auto" takes CUDA, then MPS, then the CPU.

    Args:
        name: as given.
        place: of this process among those of this machine that train together.
        sharing: how many these are; each gets a CUDA device of its own, or else the CPU.

    Raises:
        DeviceError: no such device here; those that are there are listed. Or there are fewer than processes.
    """
    if sharing > 1:
        return _own_device(name, place, sharing)
    present = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        present.append("mps")
    if name == "auto":
        return torch.device(present[1] if len(present) > 1 else "cpu")
    wanted = "cuda:0" if name == "cuda" else name
    if wanted not in present:
        raise DeviceError(f"there is no device {name!r} here. Those that are: auto, {', '.join(present)}.")
    return torch.device(wanted)


def worker_count(workers: int | None, sharing: int = 1) -> int:
    """Return how many processes load frames: as asked for, else all cores but the one that computes.

    Of so many processes `sharing` the machine, each counts its part of the cores. Where the machine has too
    little shared memory for workers it is 0, with a warning.
    """
    return affordable(max(1, (os.cpu_count() or 2) // sharing - 1) if workers is None else workers)


def split_hashes(manifest: Manifest, config: FitConfig) -> dict[str, str]:
    """Return what tells whether a fit that goes on still learns from, and is chosen by, the same shots."""
    splits = {"train": config.train_split, "val": config.val_split}
    return {name: sha256_of([shot.id for shot in manifest.split(split)]) for name, split in splits.items()}


def _own_device(name: str, place: int, sharing: int) -> torch.device:
    there = torch.cuda.device_count()
    if name == "cpu" or (name == "auto" and not there):
        return torch.device("cpu")
    if name not in ("auto", "cuda"):
        raise DeviceError(
            f"got device {name!r} for {sharing} processes; expected auto, cpu, or cuda, which gives "
            "each a device of its own."
        )
    if sharing > there:
        raise DeviceError(
            f"torchrun started {sharing} processes here, where there are {there} CUDA device(s). "
            "Start one a device, or give --device cpu."
        )
    torch.cuda.set_device(place)
    return torch.device("cuda", place)


@contextmanager
def computing_threads(count: int | None) -> Iterator[None]:
    """Let torch compute with that many threads, and as before afterwards; None changes nothing."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def open_data(config: DataConfig) -> tuple[Manifest, FrameSource]:
    """Read the manifest and return it with the source of its frames."""
    manifest = read_manifest(config.manifest, config.root)
    return manifest, frame_source(manifest)


def sampled_as(cache: CamCache, manifest: Manifest) -> Manifest:
    """Return the manifest sampled as the cache's was.

    Raises:
        CacheError: the cache was built from another manifest.
    """
    sampled = manifest.sampled(cache.settings["every"])
    if sampled.digest() != cache.settings["manifest"]:
        ours = {shot.id: len(shot) for shot in sampled.shots}
        theirs = {shot.id: shot.length for shot in cache.shots()}
        differing = [
            f"{shot}: {ours.get(shot, 'no')} frames in the manifest, {theirs.get(shot, 'none')} in the cache"
            for shot in sorted({*ours, *theirs})
            if ours.get(shot) != theirs.get(shot)
        ]
        raise CacheError(
            f"{cache.path} was built from another manifest. Give that one, or build a cache of this one.",
            differing or ["the same shots, but other frames or tags"],
        )
    return sampled
