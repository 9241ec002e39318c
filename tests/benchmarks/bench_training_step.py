"""Time the parts of a decoder's training step: `pytest tests/benchmarks/bench_training_step.py -s`."""

import statistics
import time
from collections.abc import Callable

import pytest
import torch
from torch.nn import functional

from tcam_cache.cams import Classifier
from tcam_cache.presets import PRESETS, train_config
from tcam_cache.training.crf import crf_loss
from tcam_cache.training.decoder import Decoder
from tcam_cache.training.losses import tcam_terms
from tcam_cache.training.otsu import regions
from tcam_cache.training.pseudo_labels import draw_pseudo_labels

BATCH, SIZE, ROUNDS = 8, 224, 3
SQUEEZENET = (96, 256, 512, 512), (109, 54, 27, 13)
RESNET50 = (64, 256, 512, 1024, 2048), (112, 56, 28, 14, 7)


def medians(steps: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return each step's median CPU milliseconds; the steps take turns, so that load falls on all alike."""
    spent: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(ROUNDS + 1):
        for name, step in steps.items():
            start = time.process_time()
            step()
            if turn:  # the first turn warms up
                spent[name].append(1e3 * (time.process_time() - start))
    return {name: statistics.median(times) for name, times in spent.items()}


def decoder_step(channels, sides, width) -> Callable[[], object]:
    decoder = Decoder(channels, width)
    features = [torch.randn(BATCH, c, s, s) for c, s in zip(channels, sides, strict=True)]
    images = torch.rand(BATCH, 3, SIZE, SIZE)
    return lambda: decoder(features, images).square().mean().backward()


def convolution_step() -> Callable[[], object]:
    layer = torch.nn.Conv2d(16, 16, 3, padding=1)
    maps = torch.randn(BATCH, 16, SIZE, SIZE, requires_grad=True)
    return lambda: layer(maps).square().mean().backward()


def encoder_pass() -> Callable[[], object]:
    encoder = Classifier("resnet50", ("a", "b"), 32).eval().to(memory_format=torch.channels_last)
    images = torch.rand(BATCH, 3, SIZE, SIZE).to(memory_format=torch.channels_last)

    def forward():
        with torch.no_grad():
            return encoder.features(images)

    return forward


def sampling(preset: str) -> dict:
    config = train_config(preset, manifest="m", cache="c", out="r")
    return {name: getattr(config, name) for name in ("fg_top", "bg_low", "pixels", "dilate")}


@pytest.mark.benchmark
def test_time_the_parts_of_a_step():
    torch.manual_seed(0)
    logits = torch.randn(BATCH, 2, SIZE, SIZE, requires_grad=True)
    rgb = 255 * functional.interpolate(torch.rand(BATCH, 3, 28, 28), size=SIZE, mode="bilinear")
    cams = functional.interpolate(torch.rand(BATCH, 1, 27, 27) ** 3, size=SIZE, mode="bilinear")[:, 0]
    seeds, generator = torch.arange(BATCH), torch.Generator()
    config = train_config(manifest="m", cache="c", out="r")
    labels = draw_pseudo_labels(cams, seeds, **sampling("recommended")).labels

    def crf():
        crf_loss(logits.softmax(1), rgb, weight=2e-9, generator=generator).backward()

    def whole_loss():
        sum(tcam_terms(logits, labels, rgb, seeds, config, 1.0, generator).values()).backward()

    draws = {
        f"Otsu + draws, {preset}": lambda preset=preset: draw_pseudo_labels(cams, seeds, **sampling(preset))
        for preset in PRESETS
    }
    steps = {
        "frozen encoder, ResNet-50": encoder_pass(),
        "decoder step, SqueezeNet": decoder_step(*SQUEEZENET, 1.0),
        "decoder step, SqueezeNet, half width": decoder_step(*SQUEEZENET, 0.5),
        "decoder step, ResNet-50": decoder_step(*RESNET50, 1.0),
        "conv3x3 16 to 16, forward + backward": convolution_step(),
        "CRF, value + gradient": crf,
        "all three terms, value + gradient": whole_loss,
        "Otsu alone": lambda: regions(cams),
        **draws,
    }
    times = medians(steps)
    unit = times["decoder step, SqueezeNet"]
    print(
        f"\nCPU ms at batch {BATCH}, {SIZE} x {SIZE}, median of {ROUNDS}, {torch.get_num_threads()} thread(s)"
    )
    for name, spent in times.items():
        print(f"{name:40} {spent:9.1f} ms  {spent / unit:7.3f} of the SqueezeNet decoder step")
    encoder, decoder, crf, whole = (
        times[name]
        for name in (
            "frozen encoder, ResNet-50",
            "decoder step, ResNet-50",
            "CRF, value + gradient",
            "all three terms, value + gradient",
        )
    )
    draw = times["Otsu + draws, recommended"]
    print(f"CRF / encoder {crf / encoder:.3f} (at most 0.25 is wanted)")
    print(f"Otsu + draws / step {draw / (encoder + decoder + whole + draw):.4f} (at most 0.02 is wanted)")
