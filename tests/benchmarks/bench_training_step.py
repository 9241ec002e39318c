"""Time and memory of a decoder's training step by part: `pytest tests/benchmarks/bench_training_step.py -s`.

TCAM_BENCH_BATCH sets the frames a step (default 8; published 32), TCAM_BENCH_DEVICE the device (default cpu).
"""

import math
import multiprocessing
import os
import re
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from tcam_cache.cache import CachePlan, CamCache, CamWriter
from tcam_cache.config import train_config
from tcam_cache.config.train import PRESETS
from tcam_cache.devices import resize_maps
from tcam_cache.models import Classifier, Decoder
from tcam_cache.records import Shot, ShotCams
from tcam_cache.training.crf import crf_loss
from tcam_cache.training.crf_colour import adaptive_colour_crf_loss
from tcam_cache.training.losses import partial_cross_entropy, size_loss, tcam_terms
from tcam_cache.training.pseudo_labels import draw_pseudo_labels, regions
from tcam_cache.training.samples import draw_crop
from tcam_cache.window import cam_tmp

BATCH = int(os.environ.get("TCAM_BENCH_BATCH", "8"))
DEVICE = torch.device(os.environ.get("TCAM_BENCH_DEVICE", "cpu"))
SIZE, ROUNDS, SHOTS, SHOT_LENGTH = 224, 3, 20, 100
RESNET50, SQUEEZENET = (64, 256, 512, 1024, 2048), (96, 256, 512, 512)
LITE0 = "timm:tf_efficientnet_lite0"
STRIDE_8, STRIDE_32, OF_SQUEEZENET = (112, 56, 28, 28, 28), (112, 56, 28, 14, 7), (109, 54, 27, 13)
OF_LITE0 = (112, 56, 28, 14, 14)
Part = Callable[[], object]


def images(side: int = SIZE) -> torch.Tensor:
    rough = torch.rand(BATCH, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    smooth = functional.interpolate(rough, size=side, mode="bilinear")
    return smooth.to(DEVICE, memory_format=torch.channels_last)


def encoder(output_stride: int, arch: str = "resnet50") -> Part:
    network = Classifier(arch, ("a", "b"), output_stride).eval()
    network, frames = network.to(DEVICE, memory_format=torch.channels_last), images()

    def forward() -> object:
        with torch.inference_mode():
            return network.features(frames)

    return forward


def decoder(channels: tuple[int, ...], sides: tuple[int, ...], width: float, map_stride: int = 1) -> Part:
    strides = [round(SIZE / side) for side in sides]
    network, frames = Decoder(channels, width, strides, map_stride), images()
    network = network.to(DEVICE, memory_format=torch.channels_last)
    shapes = zip(channels, sides, strict=True)
    features = [torch.randn(BATCH, c, s, s, device=DEVICE) for c, s in shapes]
    features = [one.contiguous(memory_format=torch.channels_last) for one in features]
    return lambda: network(features, frames).square().mean().backward()


def optimiser() -> Part:
    network = Decoder(RESNET50).to(DEVICE)
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    return torch.optim.SGD(network.parameters(), 0.01, momentum=0.9, nesterov=True).step


def sampling(preset: str) -> dict:
    config = train_config(preset, manifest="m", cache="c", out="r")
    return {name: getattr(config, name) for name in ("fg_top", "bg_low", "pixels", "dilate", "fg_region")}


def some_cams(side: int = SIZE) -> torch.Tensor:
    maps = torch.rand(BATCH, 1, 28, 28, generator=torch.Generator().manual_seed(1)) ** 3
    return functional.interpolate(maps, size=side, mode="bilinear")[:, 0].to(DEVICE)


def draws(preset: str, side: int = SIZE) -> Part:
    cams, seeds = some_cams(side), torch.arange(BATCH)
    return lambda: draw_pseudo_labels(cams, seeds, **sampling(preset))


def loss(term: str, side: int = SIZE) -> Part:
    logits = torch.randn(BATCH, 2, side, side, device=DEVICE, requires_grad=True)
    labels = draw_pseudo_labels(some_cams(side), torch.arange(BATCH), **sampling("recommended")).labels
    rgb, generator = 255 * images(side), torch.Generator()
    config, clips = train_config(manifest="m", cache="c", out="r"), torch.arange(BATCH)
    options = {"landmarks": config.landmarks, "gain": config.lattice_gain, "generator": generator}
    terms = {
        "cross-entropy": lambda: partial_cross_entropy(logits, labels, config.cross_entropy),
        "CRF": lambda: crf_loss(logits.softmax(1), rgb, weight=config.crf_weight, **options),
        "size": lambda: size_loss(logits.softmax(1), 1.0),
        "all": lambda: sum(tcam_terms(logits, labels, rgb, clips, config, 1.0, generator).values()),
    }
    return lambda: terms[term]().backward()


def colour_crf(frames: int) -> Part:
    """The adaptive colour CRF of clips of so many frames, and its gradient."""
    softmax = torch.rand(BATCH, 2, SIZE, SIZE, device=DEVICE).softmax(1).requires_grad_()
    rgb, clips = 255 * images(), torch.arange(BATCH) // frames
    config = train_config("colocam", manifest="m", cache="c", out="r")
    options = {"weight": config.colour_crf_weight, "landmarks": config.landmarks}
    generator = torch.Generator()
    return lambda: adaptive_colour_crf_loss(softmax, rgb, clips, generator=generator, **options).backward()


def reading(folder: str) -> Part:
    """A batch's CAM-TMPs as a training sample has them: windows from the pack, maximum, resize, crop."""
    pack = CamCache.open(folder).pack()
    rng = np.random.default_rng(0)
    wanted = [(f"c/{rng.integers(SHOTS):03d}/1", int(rng.integers(SHOT_LENGTH))) for _ in range(BATCH)]

    def read() -> list[torch.Tensor]:
        maps = [torch.from_numpy(cam_tmp(pack.window(shot, t, 1, "before"))) for shot, t in wanted]
        return [draw_crop(7, 256, SIZE).of(resize_maps(one[None], 256)[0]).contiguous() for one in maps]

    return read


PARTS: dict[str, Callable[[], Part]] = {
    "encoder, stride 8 (published)": lambda: encoder(8),
    "decoder on it": lambda: decoder(RESNET50, STRIDE_8, 1.0),
    "encoder, stride 32": lambda: encoder(32),
    "decoder on that": lambda: decoder(RESNET50, STRIDE_32, 1.0),
    "decoder on SqueezeNet": lambda: decoder(SQUEEZENET, OF_SQUEEZENET, 1.0),
    "decoder on SqueezeNet, quarter width": lambda: decoder(SQUEEZENET, OF_SQUEEZENET, 0.25),
    "encoder, lite0, stride 16": lambda: encoder(16, LITE0),
    "decoder on lite0, maps of stride 4": lambda: decoder((16, 24, 40, 112, 320), OF_LITE0, 1.0, 4),
    "optimiser, SGD": optimiser,
    "cross-entropy": lambda: loss("cross-entropy"),
    "CRF": lambda: loss("CRF"),
    "colour CRF of 2 frames": lambda: colour_crf(2),
    "colour CRF of 4 frames": lambda: colour_crf(4),
    "size": lambda: loss("size"),
    "all three terms": lambda: loss("all"),
    "all three terms, maps of stride 4": lambda: loss("all", SIZE // 4),
    "Otsu + draws, recommended, maps of stride 4": lambda: draws("recommended", SIZE // 4),
    **{f"Otsu + draws, {preset}": lambda preset=preset: draws(preset) for preset in PRESETS},
    "Otsu alone": lambda: partial(regions, some_cams()),
}

TERMS = ("optimiser, SGD", "all three terms", "Otsu + draws, paper")
STEPS = {
    "stride 8": ("encoder, stride 8 (published)", "decoder on it", *TERMS),
    "stride 32": ("encoder, stride 32", "decoder on that", *TERMS),
    "recommended": (
        "encoder, lite0, stride 16",
        "decoder on lite0, maps of stride 4",
        "all three terms, maps of stride 4",
        "Otsu + draws, recommended, maps of stride 4",
    ),
}


def in_bf16(part: Part) -> Part:
    """Return a part under autocast, as `--amp bf16` runs encoder and decoder."""

    def call() -> object:
        with torch.autocast(DEVICE.type, dtype=torch.bfloat16):
            return part()

    return call


def clock() -> float:
    """CPU seconds of all threads; on another device wall seconds, once it has finished."""
    if DEVICE.type == "cpu":
        return time.process_time()
    torch.accelerator.synchronize()
    return time.perf_counter()


def rounds(parts: dict[str, Part]) -> dict[str, list[float]]:
    """Return each part's milliseconds; the parts take turns, so that load falls on all alike."""
    spent: dict[str, list[float]] = {name: [] for name in parts}
    for turn in range(ROUNDS + 1):
        for name, part in parts.items():
            start = clock()
            part()
            if turn:  # the first turn warms up
                spent[name].append(1e3 * (clock() - start))
    return spent


def peak_megabytes(name: str) -> float:
    """How far one call of a part raises the peak of memory above its inputs and weights; NaN off Linux."""
    part = PARTS[name]()
    if DEVICE.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        part()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    status = Path("/proc/self/status")
    if not status.exists():
        return float("nan")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from here
    before = _peak(status)
    part()
    return (_peak(status) - before) / 2**10


def _peak(status: Path) -> int:
    return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1])


def write_cache(folder: str) -> None:
    shots = [
        Shot(f"c/{number:03d}/1", "c", f"c/{number:03d}", "train", "", ("f",) * SHOT_LENGTH)
        for number in range(SHOTS)
    ]
    plan = CachePlan(("c",), shots, (28, 28), {"method": "layercam"}, {})
    maps = np.random.default_rng(0).random((SHOT_LENGTH, 28, 28)).astype(np.float16)
    line = np.linspace(0, 1, SHOT_LENGTH, dtype=np.float32)
    writer = CamWriter.create(folder, plan)
    for shot in shots:
        writer.write(shot.id, ShotCams(maps, line, line + 1, line > 2, line[:, None]))


@pytest.mark.benchmark
def test_time_and_weigh_the_parts_of_a_step(tmp_path):
    torch.manual_seed(0)
    write_cache(str(tmp_path / "cache"))
    parts = {name: make() for name, make in PARTS.items()}
    spent = rounds({**parts, "reading CAMs": reading(str(tmp_path / "cache"))})
    times = {name: statistics.median(taken) for name, taken in spent.items()}
    del parts
    # A process of its own for each: memory's peak never comes down.
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        peaks = dict(zip(PARTS, pool.map(peak_megabytes, PARTS, chunksize=1), strict=True))
    steps = {name: sum(times[part] for part in parts) for name, parts in STEPS.items()}
    print(
        f"\nbatch {BATCH}, {SIZE} x {SIZE}, {DEVICE}, median of {ROUNDS}, {torch.get_num_threads()} thread(s)"
    )
    print(f"{'':46} {'ms':>9} {'peak MB':>9}  of a step")
    for name, taken in times.items():
        shares = [f"{100 * taken / steps[step]:.2f} % of {step}" for step in STEPS if name in STEPS[step]]
        print(f"{name:46} {taken:9.1f} {peaks.get(name, math.nan):9.0f}  {', '.join(shares)}")
    print(*(f"{name}: {taken:.0f} ms a step" for name, taken in steps.items()), sep="\n")
    for stride, name in ((8, "encoder, stride 8 (published)"), (32, "encoder, stride 32")):
        ratio = times["CRF"] / times[name]
        print(f"CRF / encoder at stride {stride}: {ratio:.3f} (at most 0.25 is wanted)")


@pytest.mark.benchmark
def test_the_colour_crf_costs_little_beside_the_encoder():
    torch.manual_seed(0)
    names = [name for name in PARTS if name.startswith(("encoder", "CRF", "colour CRF"))]
    spent = rounds({name: PARTS[name]() for name in names})
    least = {name: min(taken) for name, taken in spent.items()}
    print(
        f"\nbatch {BATCH}, {SIZE} x {SIZE}, {DEVICE}, least of {ROUNDS}, {torch.get_num_threads()} thread(s)"
    )
    for name, taken in least.items():
        shares = ", ".join(
            f"{taken / least[encoder]:.3f}" for encoder in names if encoder.startswith("encoder")
        )
        print(f"{name:40} {taken:9.1f} ms; of the encoder's forward pass at stride 8, 32: {shares}")
    print("at most 0.3 is wanted of a colour CRF")


@pytest.mark.benchmark
def test_bf16_beside_single_precision():
    torch.manual_seed(0)
    names = [name for name in PARTS if name.startswith(("encoder", "decoder"))]
    plain = {name: PARTS[name]() for name in names}
    spent = rounds({**plain, **{f"{name}, bf16": in_bf16(part) for name, part in plain.items()}})
    times = {name: statistics.median(taken) for name, taken in spent.items()}
    print(
        f"\nbatch {BATCH}, {SIZE} x {SIZE}, {DEVICE}, median of {ROUNDS}, {torch.get_num_threads()} thread(s)"
    )
    for name in names:
        single, half = times[name], times[f"{name}, bf16"]
        print(f"{name:40} {single:9.1f} ms, in bf16 {half:9.1f} ({half / single:.2f} of it)")
