"""Frames a second of the whole build against the plain forward pass of the same network, in one run.

python tests/benchmarks/bench_build.py [ARCH] [OUTPUT_STRIDE]
"""

import sys
import tempfile
import time
from pathlib import Path

import torch

from tcam_cache.cams import CHECKPOINTS, ClassifierFile, seeded_classifier
from tcam_cache.config import BuildConfig, ManifestConfig
from tcam_cache.datasets import ImageFrames, demo_tags, read_manifest, write_demo
from tcam_cache.stages.build_cache import build_cache, frame_cams
from tcam_cache.stages.index_dataset import index_dataset
from tcam_cache.stages.loading import as_images, in_batches, load_batches

BATCH = 32
ROUNDS = 3


def rate(frames, action):
    began = time.perf_counter()
    action()
    return frames / (time.perf_counter() - began)


def main(arch="squeezenet1_0", output_stride=8):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        annotations = write_demo(folder / "data", tags=demo_tags()[:2])
        index = {"source": folder / "data", "layout": "folders", "annotations": annotations}
        index_dataset(ManifestConfig(out=folder / "m.jsonl", **index))
        manifest = read_manifest(folder / "m.jsonl")
        model = seeded_classifier(arch, manifest.classes, output_stride, seed=0).freeze()
        model = model.to(memory_format=torch.channels_last)
        weights = {name: model.state_dict() for name in CHECKPOINTS}
        ClassifierFile(arch, model.classes, model.output_stride, False, weights, {}, {}).save(folder / "g.pt")
        frames = [(shot, t) for shot in manifest.shots for t in range(len(shot))]
        batches = in_batches(frames, BATCH)
        source = ImageFrames(manifest.root)
        images = as_images(next(load_batches(batches, source, 224, 0)).rgb, torch.device("cpu"))

        def decode():
            for _ in load_batches(batches, source, 224, 0):
                pass

        def forward():
            with torch.inference_mode():
                for _ in batches:
                    model(images)

        def cams():
            for _ in batches:
                frame_cams(model, images, 0, "layercam")

        def build(number):
            out = folder / f"cache{number}"
            build_cache(BuildConfig(manifest=folder / "m.jsonl", classifier=folder / "g.pt", out=out))

        forward()
        print(
            f"{arch}, output stride {output_stride}, {len(frames)} frames, {torch.get_num_threads()} threads"
        )
        print("round  decode alone  plain forward  with LayerCAM  whole build   (frames/s)   build / forward")
        for number in range(ROUNDS):
            padded = len(batches) * BATCH
            rates = rate(len(frames), decode), rate(padded, forward), rate(padded, cams)
            whole = rate(len(frames), lambda number=number: build(number))
            print(
                f"{number:5}  {rates[0]:12.1f}  {rates[1]:13.1f}  {rates[2]:13.1f}  {whole:11.1f}"
                f"                {whole / rates[1]:.2f}"
            )


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(int, sys.argv[2:3]))
