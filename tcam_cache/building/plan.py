"""The plan of `locate`: frames of each stage, and the time, memory and disk that they take here."""

import time
from dataclasses import dataclass
from typing import NamedTuple

import torch

from tcam_cache.config import BuildConfig, ClassifierConfig, PredictConfig, TrainConfig
from tcam_cache.config.build import parse_scales
from tcam_cache.config.sharing import parse_shard
from tcam_cache.datasets import Manifest
from tcam_cache.datasets.sampling import spread
from tcam_cache.devices import as_images, find_device, frames_at_once, to_device
from tcam_cache.models import fold_batch_norm, pretrained_network, seeded_classifier
from tcam_cache.training.schedule import planned

TRIAL_FRAMES = 8
# Time of each stage's work on a frame, in forward passes of the backbone at its size (measured on a CPU):
# forward and partial backward at scale 1; encoder, decoder both ways and CRF; forward, CAM, box and picture.
BUILD, TRAIN, PREDICT = 1.6, 2.5, 2.0
# Reading, cutting and writing a frame, in seconds; its share of the regressions of probe and presence; and
# what the program needs before it has read any frame.
READ, REGRESS, START = 0.012, 0.02, 15.0
# Megabytes of a frame: its map, its picture in the cache, its rows.
MAP_MB, FRAME_MB, ROW_MB = 0.004, 0.033, 0.0003
# Of the program with its libraries; of a frame's name in the list of frames.
PROGRAM_MB, LISTED_MB = 650, 0.0001
# Activations that are held at once, as a share of those of all layers of a batch, at the largest scale
# (measured by tests/benchmarks/bench_memory.py).
BUILD_HELD, TRAIN_HELD, PREDICT_HELD = 0.14, 0.22, 0.33
# Of the backbone's weights: g.pt, its copies in cache and run, and what it was fitted from.
COPIES = 3


@dataclass(frozen=True)
class Plan:
    """What `locate` will compute.

    Attributes:
        effort: that decided it, a few words.
        videos: number of videos.
        shots: number of shots.
        frames: that get a box.
        every: K, of every K-th frame of a shot that is learned from.
        cached: frames that go through the cache.
        probed: frames that the classifier is fitted on.
        steps: of the decoder.
        minutes: of each stage here, an estimate.
        megabytes: on disk, an estimate without pictures.
        memory: megabytes at most, in all processes of a machine, an estimate.
        shards: machines that share out `build` and `predict`.
    """

    effort: str
    videos: int
    shots: int
    frames: int
    every: int
    cached: int
    probed: int
    steps: int
    minutes: dict[str, float]
    megabytes: float
    memory: float
    shards: int

    def to_text(self) -> str:
        """Return the plan as a few lines."""
        spaced = f", one in {self.every} of each shot" if self.every > 1 else ""
        rows = {
            "classifier": f"{self.probed:,} frames through the backbone",
            "build": f"CAMs of {self.cached:,} frames{spaced}",
            "train": f"{self.steps:,} steps",
            "predict": f"boxes of {self.frames:,} frames",
        }
        total = sum(self.minutes.values())
        lines = [
            f"{self.effort}: {self.videos:,} videos, {self.shots:,} shots, {self.frames:,} frames; about "
            f"{time_text(total)} here, {self.megabytes:,.0f} MB besides pictures"
        ]
        lines += [f"  {name:10} {what:45} {time_text(self.minutes[name])}" for name, what in rows.items()]
        lines.append(f"  {self.memory / 1000:.1f} GB of memory at most")
        if self.shards > 1:
            lines.append(f"  build and predict are one share of {self.shards}")
        return "\n".join(lines)


def plan_of(
    manifest: Manifest,
    every: int,
    classifier: ClassifierConfig,
    build: BuildConfig,
    train: TrainConfig,
    predict: PredictConfig,
    effort: str,
) -> Plan:
    """Return the plan for a manifest, with times from a trial of the backbone on this machine.

    Args:
        manifest: of the footage.
        every: K, of every K-th frame of a shot that is learned from.
        classifier: settings of stage 0.
        build: of stage 1.
        train: of stage 2.
        predict: of the boxes; how they are shared out is how `build` is, too.
        effort: that decided them, a few words.

    Raises:
        ConfigError: there is no such backbone.
        ExtraError: a package that it needs is not installed.
        WeightsError: its weights cannot be had.
    """
    lengths = [len(shot) for shot in manifest.sampled(every).shots]
    chosen = planned(train, lengths)
    drawn = sum(min(length, chosen.frames_per_shot) for length in lengths)
    steps = chosen.epochs * -(-drawn // chosen.batch_size)
    probed = sum(map(len, spread(manifest.shots, classifier.probe_frames, classifier.probe_total)))
    frames, cached = manifest.frame_count, sum(lengths)
    passes = sum(scale**2 for scale in parse_scales(build.scales)) * (2 if build.flip else 1)
    # A prediction has a pass at the frame's own size whatever the scales.
    more = sum(scale**2 for scale in parse_scales(predict.scales) if scale != 1)
    trial, (_, machines) = forward_trial(classifier), parse_shard(predict.shard)
    one = trial.seconds
    seconds = {
        "classifier": START + probed * (one + READ + REGRESS),
        "build": cached * (BUILD * one * passes + READ) / machines,
        "train": steps * chosen.batch_size * (TRAIN * one + READ),
        "predict": START + frames * ((PREDICT + BUILD * more) * one + READ) / machines,
    }
    minutes = {name: round(value / 60, 2) for name, value in seconds.items()}
    megabytes = COPIES * trial.megabytes + cached * (MAP_MB + FRAME_MB) + frames * ROW_MB
    videos = len({shot.video for shot in manifest.shots})
    memory = _memory(trial, build, chosen, predict) + LISTED_MB * frames + trial.features * probed
    counts = (videos, len(lengths), frames, every, cached, probed, steps)
    return Plan(effort, *counts, minutes, round(megabytes, 1), round(memory), machines)


def _memory(trial: "Trial", build: BuildConfig, train: TrainConfig, predict: PredictConfig) -> float:
    """Return the megabytes of the program and of a batch in its networks, in the stage that needs most."""
    built, mixed = (max(1, *parse_scales(one.scales)) ** 2 for one in (build, predict))
    device, batch = find_device(predict.device), predict.batch_size
    at_once = batch if parse_scales(predict.scales) == (1,) else frames_at_once(batch, device)
    frames = {
        "build": BUILD_HELD * frames_at_once(build.batch_size, find_device(build.device)) * built,
        "train": TRAIN_HELD * train.batch_size,
        "predict": PREDICT_HELD * at_once * mixed,
    }
    jobs = {"build": predict.jobs or 1, "train": 1, "predict": predict.jobs or 1}
    return max(jobs[name] * (PROGRAM_MB + held * trial.activations) for name, held in frames.items())


class Trial(NamedTuple):
    """What a forward pass of the backbone shows.

    Attributes:
        seconds: for a frame here.
        positions: h times w of its last activations.
        megabytes: of its weights.
        activations: megabytes of all its layers' activations of a frame.
        features: megabytes of the pooled features of a frame.
    """

    seconds: float
    positions: int
    megabytes: float
    activations: float = 0.0
    features: float = 0.0


def forward_trial(config: ClassifierConfig) -> Trial:
    """Return what a forward pass of the backbone takes here, with the weights that it will have.

    Raises:
        ConfigError: there is no such backbone.
        ExtraError: a package that it needs is not installed.
        WeightsError: its weights cannot be had.
    """
    device = find_device(config.device)
    network = pretrained_network(config.arch, config.weights)
    classifier = seeded_classifier(config.arch, ("a", "b"), config.output_stride, 0, config.dilated, network)
    size = config.image_size or classifier.preprocessing.size
    megabytes = 4e-6 * sum(one.numel() for one in classifier.parameters())
    classifier = to_device(fold_batch_norm(classifier.freeze()), device)
    held = _activations(classifier)
    images = as_images(torch.zeros(TRIAL_FRAMES, 3, size, size, dtype=torch.uint8), device)
    with torch.inference_mode():
        classifier.features_and_logits(images)
        began = time.perf_counter()
        features, logits = classifier.features_and_logits(images)
        logits.cpu()
    seconds = (time.perf_counter() - began) / TRIAL_FRAMES
    channels, height, width = features[-1].shape[-3:]
    activations = sum(held) / (2 * TRIAL_FRAMES)
    return Trial(seconds, height * width, megabytes, activations, 4e-6 * channels)


def _activations(network: torch.nn.Module) -> list[float]:
    """Return a list to which every pass adds the megabytes of each layer's activations."""
    held: list[float] = []

    def note(layer: torch.nn.Module, inputs: object, result: object) -> None:
        """Note the size of what a layer returns."""
        if isinstance(result, torch.Tensor):
            held.append(result.nbytes / 1e6)

    for layer in network.modules():
        if not list(layer.children()):
            layer.register_forward_hook(note)
    return held


def time_text(minutes: float) -> str:
    """Return a duration as a few characters.

    >>> time_text(0.5), time_text(12), time_text(120)
    ('30 s', '12 min', '2.0 h')
    """
    return (
        f"{60 * minutes:.0f} s"
        if minutes < 1
        else f"{minutes:.0f} min"
        if minutes < 90
        else f"{minutes / 60:.1f} h"
    )
