"""What a million tagged clips cost, from rates measured here: `python tests/benchmarks/bench_million.py`.

A clip has 10 s, 25 frames a second, 640 x 360 pixels, H.264. Every stage of `locate` runs on a part of two
clips on one thread; its CPU time, files and bytes are multiplied. Effort full is not run: its maps are those
of standard, made twice.
"""

import gc
import os
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from PIL import Image
from skimage import data

from tcam_cache.config import ClassifierConfig, LocateConfig, TrainConfig
from tcam_cache.config.locate import EFFORTS
from tcam_cache.datasets import read_manifest, write_manifest
from tcam_cache.evaluation.report.pictures import encoded_jpeg
from tcam_cache.progress import QUIET
from tcam_cache.records import Shot
from tcam_cache.stages import locate as stages
from tcam_cache.training import head
from tcam_cache.training.schedule import planned

CLIPS, LENGTH, FPS, SIZE = 1_000_000, 250, 25, (640, 360)
# Of the classifier the features alone: the fit on them takes as long as it takes.
STAGES = {
    "index": (stages, "_indexed"), "classifier": (head, "frame_features"), "build": (stages, "_built"),
    "train": (stages, "_trained"), "predict": (stages, "_predicted"),
}  # fmt: skip
# One of the machines, and for how long they may work: 16 KB of an ext4 disk have one file.
CORES, MEMORY_GB, DISK_GB, DAYS, MACHINES = 16, 64, 4000, 30, 100
FILES = DISK_GB * 1e9 / 16384
# What the first of several machines does alone.
ALONE = ("index", "classifier", "train")
MEASURED, EVERY, PROBED, MEASURED_STEPS, LISTED, FEATURES = 60, 20, 8, 2, 500, 1280
RUN = ("quick", "standard")
# What in a cache grows with the shots.
OF_SHOTS = (
    "cache/cams.zarr/cam",
    "cache/cams.zarr/frame_stats",
    "cache/commits",
    "cache/frames",
)


def write_clips(folder: Path) -> None:
    """Write a clip of each of two tags: a photograph that moves."""
    for tag, photo in {"cat": data.chelsea(), "cup": data.coffee()}.items():
        (folder / tag).mkdir(parents=True)
        large = Image.fromarray(photo).resize((2 * SIZE[0], 2 * SIZE[1]))
        with av.open(str(folder / tag / "1.mp4"), "w") as container:
            stream = container.add_stream("h264", rate=FPS)
            stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
            for t in range(MEASURED):
                part = large.crop((t, t // 2, t + SIZE[0], t // 2 + SIZE[1]))
                picture = av.VideoFrame.from_ndarray(np.asarray(part), format="rgb24")
                container.mux(stream.encode(picture))
            container.mux(stream.encode())


def measured(footage: Path, out: Path, effort: str) -> dict[str, float]:
    """Return CPU seconds of each stage of `locate`, on one thread."""
    spent: dict[str, float] = {}

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            began = time.process_time()
            result = function(*given)
            spent[name] = time.process_time() - began
            return result

        return call

    whole = {name: getattr(*place) for name, place in STAGES.items()}
    for name, place in STAGES.items():
        setattr(*place, timed(name, whole[name]))
    train = f"steps={MEASURED_STEPS} epochs=1 frames-per-shot={MEASURED_STEPS * 16}"
    settings = {
        "effort": effort,
        "train": train,
        "classifier": f"probe-frames={PROBED}",
        "workers": 0,
        "overlays": False,
    }
    stages.locate(LocateConfig(source=footage, out=out, every=EVERY, **settings))
    for name, function in whole.items():
        setattr(*STAGES[name], function)
    return spent


def held(folders: Iterable[Path]) -> tuple[int, int]:
    """Return the files and bytes below some folders, but metadata that does not grow."""
    found = [path for folder in folders for path in folder.rglob("*") if path.name != "zarr.json"]
    found = [path for path in found if path.is_file()]
    return len(found), sum(path.stat().st_size for path in found)


def listed_bytes(manifest: Path, folder: Path) -> tuple[float, float]:
    """Return the bytes of a frame in a manifest, in memory and on disk."""
    known = read_manifest(manifest)
    frames = known.shots[0].frames
    shots = [Shot(f"cat/{n}", "cat", f"cat/{n}", "train", f"cat/{n}.mp4", frames) for n in range(LISTED)]
    write_manifest(type(known)(**{**vars(known), "shots": tuple(shots)}), folder / "many.jsonl")
    gc.collect()
    tracemalloc.start()
    many = read_manifest(folder / "many.jsonl")
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    count = many.frame_count
    return taken / count, (folder / "many.jsonl").stat().st_size / count


def amounts(effort: str) -> dict[str, int]:
    """Return how many frames, or steps, of each stage a million clips are."""
    config = LocateConfig(source="videos", out="out", effort=effort)
    places = {"manifest": "m", "out": "o", "preset": "recommended"}
    every = config.cached_every(CLIPS * LENGTH, CLIPS)
    classifier = ClassifierConfig(**places, **config.stage("classifier"))
    train = TrainConfig(**places, cache="c", **config.stage("train"))
    cached = -(-LENGTH // every)
    chosen = planned(train, [cached] * CLIPS)
    steps = chosen.epochs * -(-CLIPS * min(cached, chosen.frames_per_shot) // chosen.batch_size)
    probed = CLIPS * min(LENGTH, classifier.probe_frames, max(1, classifier.probe_total // CLIPS))
    return {"index": CLIPS * LENGTH, "classifier": probed, "build": CLIPS * cached, "train": steps,
            "predict": CLIPS * LENGTH}  # fmt: skip


def seconds_of_one(spent: Mapping[str, float]) -> dict[str, float]:
    """Return the CPU seconds of one frame, or one step, of each stage."""
    counts = {"index": MEASURED, "classifier": PROBED, "build": MEASURED // EVERY, "predict": MEASURED}
    return {name: spent[name] / (2 * counts[name] if name != "train" else MEASURED_STEPS) for name in STAGES}


def row(name: str, values: list[Any]) -> str:
    """Return a row of a Markdown table."""
    return f"| {name} | " + " | ".join(f"{value:,.0f}" for value in values) + " |"


def main() -> None:
    """Measure, multiply and print."""
    torch.set_num_threads(1)
    QUIET.set(True)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        write_clips(folder / "videos")
        ones, hours, amount = {}, {}, {}
        for effort in EFFORTS:
            amount[effort] = amounts(effort)
            if effort in RUN:
                ones[effort] = seconds_of_one(measured(folder / "videos", folder / effort, effort))
            else:
                ones[effort] = {**ones["standard"], "build": 2 * ones["standard"]["build"]}
            hours[effort] = {name: amount[effort][name] * ones[effort][name] / 3600 for name in STAGES}
        in_memory, on_disk = listed_bytes(folder / "quick/manifest.jsonl", folder)
        report(ones, hours, amount)
        room(folder, amount, in_memory, on_disk, hours)
        picture = len(encoded_jpeg(np.asarray(Image.fromarray(data.coffee()).resize(SIZE))))
        print(f"\nOverlays are {CLIPS * LENGTH:,} files more, {CLIPS * LENGTH * picture / 1e9:,.0f} GB.")


def report(ones: Mapping, hours: Mapping, amount: Mapping) -> None:
    """Print the hours of each stage."""
    print(f"\n| core hours | {' | '.join(EFFORTS)} |\n|---|" + "---|" * len(EFFORTS))
    for name in STAGES:
        shared = ", shared out" if name in ("build", "predict") else ", one machine"
        print(row(name + shared, [hours[effort][name] for effort in EFFORTS]))
    print(row("all", [sum(hours[effort].values()) for effort in EFFORTS]))
    alone = {effort: sum(hours[effort][name] for name in ALONE) / CORES
             for effort in EFFORTS}  # fmt: skip
    divided = {
        effort: sum(hours[effort][name] for name in ("build", "predict")) / CORES for effort in EFFORTS
    }
    print(row(f"hours with 1 machine of {CORES} cores", [alone[e] + divided[e] for e in EFFORTS]))
    print(row(f"hours with {MACHINES} of them", [alone[e] + divided[e] / MACHINES for e in EFFORTS]))
    for effort in EFFORTS:
        rates = ", ".join(f"{name} {1000 * ones[effort][name]:.1f}" for name in STAGES)
        counts = ", ".join(f"{name} {amount[effort][name]:,}" for name in STAGES)
        print(f"\n{effort}: CPU ms a frame, or a step of `train`: {rates}; so many: {counts}.")


def room(folder: Path, amount: Mapping, in_memory: float, on_disk: float, hours: Mapping) -> None:
    """Print files, disk and memory, and what saturates first."""
    print(f"\n| room | {' | '.join(EFFORTS)} |\n|---|" + "---|" * len(EFFORTS))
    rows: dict[str, dict[str, float]] = {}
    for effort in EFFORTS:
        ran = folder / (effort if effort in RUN else "standard")
        (cache_files, cache_bytes), (files, bytes_) = (
            held(ran / name for name in OF_SHOTS),
            held(ran.glob("boxes/*/*.boxes")),
        )
        of_frame = cache_bytes / (2 * MEASURED // EVERY)
        rows[effort] = {
            "files": CLIPS * (1 + (cache_files + files) / 2),
            "cache, GB": amount[effort]["build"] * of_frame / 1e9,
            "boxes, GB": CLIPS * LENGTH * bytes_ / (2 * MEASURED) / 1e9,
            "manifest, GB": CLIPS * LENGTH * on_disk / 1e9,
            "memory for the list of frames, GB": CLIPS * LENGTH * in_memory / 1e9,
            "features of the probe, GB": amount[effort]["classifier"] * FEATURES * 4 / 1e9,
            "memory for the features of the probe, GB": amount[effort]["classifier"] * FEATURES * 4 / 1e9,
        }
    for name in rows["quick"]:
        print(row(name, [rows[effort][name] for effort in EFFORTS]))
    for effort in EFFORTS:
        one, capacity = rows[effort], DAYS * 24 * CORES
        disk = sum(one[name] for name in one if ", GB" in name and "memory" not in name)
        shares = {
            "memory of the first machine": sum(one[name] for name in one if "memory" in name) / MEMORY_GB,
            "files": one["files"] / FILES,
            "disk": disk / DISK_GB,
            **{f"hours of {name}": hours[effort][name] / capacity for name in ALONE},
            **{f"hours of {name} on {MACHINES} machines": hours[effort][name] / capacity / MACHINES
               for name in ("build", "predict")},
        }  # fmt: skip
        worst = sorted(shares, key=lambda name: -shares[name])
        print(
            f"\n{effort}, first to saturate: "
            + ", ".join(f"{name} {shares[name]:.2f}" for name in worst[:4])
            + "."
        )


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
