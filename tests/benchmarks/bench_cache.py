"""Time the CAM cache beside its alternatives, in one run: `pytest tests/benchmarks/bench_cache.py -s`.

TCAM_CACHE_SHOTS sets the number of shots (default 300; YouTube-Objects v1 has 5,507).
"""

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import pytest
import torch

from tcam_cache.cache import CachePlan, CamCache, CamWriter
from tcam_cache.records import Shot, ShotCams
from tcam_cache.window import window_indices

SHOTS = int(os.environ.get("TCAM_CACHE_SHOTS", "300"))
FRAMES_PER_SHOT, SIDE, CLASSES = 103.7, 28, 10
PT_SHOTS, WINDOWS, ROUNDS = 20, 200, 7

OPEN = """
import sys, time
began = time.perf_counter()
from tcam_cache import CamCache
import tcam_cache.cache
imported = time.perf_counter()
cache = CamCache.open(sys.argv[1])
opened = time.perf_counter()
cache.window(sys.argv[2], 0, 1)
first = time.perf_counter()
cache.shots()
print(imported - began, opened - imported, first - opened, time.perf_counter() - first)
"""


def shots_of_youtube_objects(count: int) -> tuple[Shot, ...]:
    """Shots of log-normal length, 103.7 frames in the mean, as in YouTube-Objects v1."""
    drawn = np.random.default_rng(0).lognormal(0, 0.8, count)
    lengths = np.maximum(1, np.round(drawn * FRAMES_PER_SHOT * count / drawn.sum())).astype(int)
    names = [f"c{number % CLASSES}/{number:04d}/001" for number in range(count)]
    return tuple(
        Shot(name, name[:2], name[:7], "train", name, tuple(f"{t}.jpg" for t in range(length)))
        for name, length in zip(names, lengths, strict=True)
    )


def moving_blobs(frames: int) -> np.ndarray:
    """(frames, 28, 28) float16 in [0, 1]: a blob that moves, with noise, so that it compresses badly."""
    generator, t = np.random.default_rng(1), np.arange(frames)[:, None, None]
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    blob = np.exp(-20 * ((y - 0.5 - 0.3 * np.sin(t / 31)) ** 2 + (x - 0.5 - 0.3 * np.cos(t / 47)) ** 2))
    return np.clip(blob + 0.05 * generator.random((frames, SIDE, SIDE)), 0, 1).astype(np.float16)


def cams_of(shot: Shot, number: int, blobs: np.ndarray) -> ShotCams:
    length = len(shot)
    maps = np.take(blobs, range(number, number + length), axis=0, mode="wrap")
    line = np.linspace(0, 1, length, dtype=np.float32)
    return ShotCams(maps, line, line + 1, line > 2, np.outer(line, np.arange(CLASSES)).astype(np.float32))


def cpu_microseconds(readers: dict[str, Callable], windows: list[tuple]) -> dict[str, float]:
    """Median CPU time of a window (all threads) for each reader; they take turns, so load falls on all."""
    spent: dict[str, list[float]] = {name: [] for name in readers}
    for turn in range(ROUNDS + 1):
        for name, read in readers.items():
            start = time.process_time()
            for window in windows:
                read(*window)
            if turn:  # the first turn warms up
                spent[name].append(1e6 * (time.process_time() - start) / len(windows))
    return {name: statistics.median(times) for name, times in spent.items()}


@pytest.mark.benchmark
def test_time_writing_opening_packing_and_reading(tmp_path):
    shots, blobs = shots_of_youtube_objects(SHOTS), moving_blobs(4096)
    frames = sum(map(len, shots))
    classes = tuple(f"c{number}" for number in range(CLASSES))
    writer = CamWriter.create(tmp_path / "cache", CachePlan(classes, shots, (SIDE, SIDE), {}, {}))
    wall, cpu = time.perf_counter(), time.process_time()
    for number, shot in enumerate(shots):
        writer.write(shot.id, cams_of(shot, number, blobs))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    cache = CamCache.open(tmp_path / "cache")
    info = cache.info()
    print(f"\n{len(shots):,} shots, {frames:,} frames of {SIDE}x{SIDE} float16")
    print(f"write   {frames / wall:,.0f} frames/s wall, {frames / cpu:,.0f} per CPU second, "
          f"{1e3 * cpu / len(shots):.1f} ms CPU a shot")  # fmt: skip
    print(f"disk    {info.bytes / 1e6:,.1f} MB in {info.files:,} files; raw {frames * SIDE**2 / 5e5:,.1f} MB")
    time_opening(cache, shots[-1].id)
    began = time.perf_counter()
    packed = cache.pack()
    print(f"pack    {time.perf_counter() - began:.2f} s")
    time_windows(tmp_path, cache, packed, shots)
    print(f"memory  {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB at most, with torch")


def time_opening(cache: CamCache, shot_id: str) -> None:
    times = [
        [
            float(text)
            for text in subprocess.check_output([sys.executable, "-c", OPEN, cache.path, shot_id]).split()
        ]
        for _ in range(5)
    ]
    imported, opened, first, listed = map(statistics.median, zip(*times, strict=True))
    print(f"open    {1e3 * opened:.1f} ms, first window {1e3 * first:.0f} ms, reading every commit "
          f"{listed:.2f} s (import {imported:.2f} s), in a fresh process")  # fmt: skip


def time_windows(folder, cache, packed, shots) -> None:
    chosen = shots[:PT_SHOTS]
    raw = np.load(packed.path, mmap_mode="r")
    first_row = dict(zip([shot.id for shot in shots], np.cumsum([0, *map(len, shots)]), strict=False))
    for shot in chosen:
        for t, cam in enumerate(cache.cams(shot.id).astype(np.float16)):
            torch.save(torch.from_numpy(cam), folder / f"{shot.id.replace('/', '_')}_{t}.pt")
    lengths = {shot.id: len(shot) for shot in chosen}

    def raw_slice(shot_id: str, t: int, n: int) -> np.ndarray:
        row = first_row[shot_id] + t
        return raw[row - min(n, t) : row + 1].astype(np.float32)

    def one_file_a_frame(shot_id: str, t: int, n: int) -> torch.Tensor:
        name = shot_id.replace("/", "_")
        window = window_indices(t, n, lengths[shot_id])
        return torch.stack([torch.load(folder / f"{name}_{k}.pt", weights_only=True) for k in window]).float()

    readers = {"raw memmap slice": raw_slice, "pack": packed.window, "Zarr": cache.window,
               "one .pt a frame": one_file_a_frame}  # fmt: skip
    print(
        f"{'window, CPU us':<18}"
        + "".join(f"{name:>18}" for name in readers)
        + "   pack/raw  .pt/pack  .pt/Zarr"
    )
    generator = np.random.default_rng(2)
    for n in (1, 4, 10):
        drawn = generator.integers(PT_SHOTS, size=WINDOWS)
        windows = [(chosen[at].id, int(generator.integers(len(chosen[at]))), n) for at in drawn]
        for window in windows[:20]:
            wanted = raw_slice(*window)
            assert all(np.array_equal(np.asarray(read(*window)), wanted) for read in readers.values())
        spent = cpu_microseconds(readers, windows)
        a, b, c, d = spent.values()
        print(f"{f'n = {n}':<18}" + "".join(f"{value:>18,.1f}" for value in spent.values())
              + f"{b / a:>11.2f}{d / b:>10.0f}{d / c:>10.2f}")  # fmt: skip
