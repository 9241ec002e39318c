"""Training samples a second: from the originals, from stored JPEGs, and from raw pixels, in one run.

python tests/benchmarks/bench_frames.py [WIDTH HEIGHT]     (default 1280 720; one process)

A sample is read, cropped and joined with its CAM-TMP just as in training. Raw pixels are what a memory map
would hold: 197 kB a frame, against the JPEGs' size that is printed.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import skimage.data
import torch
from PIL import Image

from tcam_cache.cache import CamCache
from tcam_cache.config import BuildConfig, ManifestConfig, train_config
from tcam_cache.datasets import ImageFrames, read_manifest
from tcam_cache.models import CHECKPOINTS, ClassifierFile, seeded_classifier
from tcam_cache.records import Frame
from tcam_cache.stages.build import build_cache
from tcam_cache.stages.manifest import index_dataset
from tcam_cache.training import TrainingSamples
from tcam_cache.training.samples import Draw

FRAMES, ROUNDS, SIDE = 64, 5, 256
PHOTOGRAPHS = ("astronaut", "cat", "coffee", "rocket")


class RawFrames:
    """Squashed frames as raw pixels in memory."""

    def __init__(self, source, shot):
        self.frames = [source.read(shot, t, SIDE) for t in range(len(shot))]

    def read(self, shot, t, size=None):
        frame = self.frames[t]
        return Frame(frame.pixels.copy(), frame.width, frame.height)


def write_frames(folder, width, height):
    folder.mkdir(parents=True)
    photographs = [Image.fromarray(getattr(skimage.data, name)()[..., :3]) for name in PHOTOGRAPHS]
    for t in range(FRAMES):
        image = photographs[t % len(photographs)].resize((width, height), Image.Resampling.BICUBIC)
        image.save(folder / f"frame{t:04d}.jpg", quality=90)


def main(width=1280, height=720):
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_frames(folder / "data/cat/0001/001", width, height)
        index_dataset(ManifestConfig(source=folder / "data", layout="folders", out=folder / "m.jsonl"))
        manifest = read_manifest(folder / "m.jsonl")
        model = seeded_classifier("squeezenet1_1", manifest.classes, None, seed=0)
        weights = {name: model.state_dict() for name in CHECKPOINTS}
        ClassifierFile("squeezenet1_1", model.classes, 8, False, weights, {}, {}).save(folder / "g.pt")
        places = {"manifest": folder / "m.jsonl", "out": folder / "cache"}
        began = time.perf_counter()
        build_cache(BuildConfig(**places, classifier=folder / "g.pt", frames=True, workers=0))
        print(
            f"{FRAMES} frames of {width} x {height}; build --frames took {time.perf_counter() - began:.1f} s"
        )
        (shot,), cache = manifest.shots, CamCache.open(folder / "cache")
        originals, packed = ImageFrames(manifest.root), cache.pack()
        stored = cache.frames(originals, [shot.id])
        size = (folder / "cache/frames/000000.bin").stat().st_size / FRAMES
        errors = [
            np.abs(stored.read(shot, t, SIDE).pixels.astype(int) - originals.read(shot, t, SIDE).pixels)
            for t in range(FRAMES)
        ]
        config = train_config(manifest=folder / "m.jsonl", cache=folder / "cache", out=folder / "run")
        sources = {"originals": originals, "stored": stored, "raw": RawFrames(originals, shot)}
        samples = {
            name: TrainingSamples([shot], {"cat": 0}, source, config, packed, 1)
            for name, source in sources.items()
        }
        seconds = {name: [] for name in samples}
        for turn in range(ROUNDS + 1):
            for name, one in samples.items():
                began = time.process_time()
                for t in range(FRAMES):
                    one[Draw(0, t, t, t)]
                if turn:
                    seconds[name].append(time.process_time() - began)
        rates = {name: FRAMES / statistics.median(times) for name, times in seconds.items()}
        for name, rate in rates.items():
            print(f"  {name:<10} {rate:8.1f} samples a CPU second  ({rate / rates['originals']:.1f} x)")
        mean, most = np.mean(errors), np.percentile(errors, 99.9)
        print(f"  stored: {size / 1000:.1f} kB a frame (raw 196.6 kB)")
        print(
            f"  pixels differ by {mean:.2f} of 255 in the mean, and in 99.9 % of them by {most:.0f} at most"
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
