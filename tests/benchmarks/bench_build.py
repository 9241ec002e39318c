"""Wall time of the whole build against the CPU time of its parts, in one run.

python tests/benchmarks/bench_build.py [ARCH] [OUTPUT_STRIDE] [WIDTH HEIGHT]

Generated JPEG frames of that size (default 640 x 360), 224 pixels, batches of 32, all cores. The bound is
what decoding alone and the plain forward pass alone cost in CPU time, shared out evenly over the cores.
"""

import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from tcam_cache.config import BuildConfig, ManifestConfig
from tcam_cache.datasets import ImageFrames, read_manifest
from tcam_cache.datasets.batches import ShotBatches, load_batches
from tcam_cache.devices import as_images
from tcam_cache.models import CHECKPOINTS, ClassifierFile, fold_batch_norm, seeded_classifier
from tcam_cache.stages.build import build_cache
from tcam_cache.stages.manifest import index_dataset

BATCH, ROUNDS = 32, 3
SHOTS, LENGTH = 6, 64


def write_frames(root, width, height):
    """Smooth noise, so that the JPEGs are as large as photographs."""
    generator = np.random.default_rng(0)
    for number in range(SHOTS):
        folder = root / f"c{number % 2}/{number:04d}/001"
        folder.mkdir(parents=True)
        small = Image.fromarray(generator.integers(0, 256, (height // 4, width // 4, 3), np.uint8))
        large = small.resize((width + LENGTH, height), Image.Resampling.BICUBIC)
        for t in range(LENGTH):
            large.crop((t, 0, t + width, height)).save(folder / f"frame{t:04d}.jpg", quality=90)


def timed(action):
    """Return wall and CPU seconds of this process, all its threads."""
    wall, cpu = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - wall, time.process_time() - cpu


def main(arch="squeezenet1_0", output_stride=8, width=640, height=360):
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_frames(folder / "data", width, height)
        index_dataset(ManifestConfig(source=folder / "data", layout="folders", out=folder / "m.jsonl"))
        manifest = read_manifest(folder / "m.jsonl")
        model = seeded_classifier(arch, manifest.classes, output_stride, seed=0)
        torch.nn.init.normal_(model.head.weight)
        weights = {name: model.state_dict() for name in CHECKPOINTS}
        ClassifierFile(arch, model.classes, model.output_stride, False, weights, {}, {}).save(folder / "g.pt")
        network = fold_batch_norm(model.eval()).to(memory_format=torch.channels_last)
        batches, source = ShotBatches(manifest.shots, BATCH), ImageFrames(manifest.root)
        images = as_images(next(load_batches(batches, source, 224, 0)).rgb, torch.device("cpu"))

        def decode():
            for _ in load_batches(batches, source, 224, 0):
                pass

        @torch.inference_mode()
        def forward():
            for _ in batches:
                network(images)

        def build(number):
            out = folder / f"cache{number}"
            build_cache(BuildConfig(manifest=folder / "m.jsonl", classifier=folder / "g.pt", out=out))

        forward()
        frames = SHOTS * LENGTH
        print(f"{arch}, output stride {output_stride}, {frames} frames of {width} x {height}, {cores} cores")
        print("round  decode CPU s  forward CPU s  build wall s  frames/s  wall / (CPU sum / cores)  most MB")
        for number in range(ROUNDS):
            (_, decoding), (_, computing) = timed(decode), timed(forward)
            wall, _ = timed(lambda number=number: build(number))
            ratio = wall / ((decoding + computing) / cores)
            line = f"{number:5}  {decoding:12.2f}  {computing:13.2f}  {wall:12.2f}  {frames / wall:8.1f}"
            most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"{line}  {ratio:24.2f}  {most:7.0f}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(int, sys.argv[2:]))
