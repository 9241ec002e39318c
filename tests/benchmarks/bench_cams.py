"""Frames a second of every CAM method against the plain forward pass and the peers, in one run.

python tests/benchmarks/bench_cams.py [ARCH] [DEVICE]     (default resnet50 cpu; 224 pixels)
python tests/benchmarks/bench_cams.py inner [DEVICE]      (LayerCAM inside blocks: INNER below)
python tests/benchmarks/bench_cams.py scales [DEVICE]     (the same, averaged over SCALES and mirror images)

On a CPU a second is one of CPU time of one thread; on a device it is wall time, and bf16 and compiled
networks are timed too. Actions take turns, and the fastest turn of each counts.

The plain forward pass is that of the network that our maps are made with: BatchNorm folded, channels last.
Each peer is timed on the classifier as it comes (trainable weights, NCHW) and on that same network (frozen).
"""

import copy
import sys
import time
import warnings
from functools import partial

import torch

from tcam_cache.cams import CamExtractor, ScaledCams, sides_of
from tcam_cache.models import fold_batch_norm, seeded_classifier
from tcam_cache.models.backbone import torchvision_models

torchvision_models()  # first: the peers cannot import torchvision beside every build of torch
with warnings.catch_warnings(action="ignore"):
    import pytorch_grad_cam
    import torchcam.methods
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

# A module inside a block, by the backbone and its output stride.
INNER = {("resnet50", 32): "layer3.5.conv2", ("timm:tf_efficientnet_lite0", 16): "blocks.4.2.bn2"}
CLASSES = tuple(f"c{number}" for number in range(10))
ROUNDS = {8: 7, 32: 4}
SCALES, SIDE = (0.7, 1, 1.4, 1.9), 224
FASTER = {
    "bf16": {"amp": torch.bfloat16},
    "compiled": {"compiled": True},
    "bf16, compiled": {"amp": torch.bfloat16, "compiled": True},
}


def clock(device):
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def rates_of(batch, actions, device):
    """Frames a second of each action in its fastest turn; they take turns, so that load falls on all."""
    seconds = {name: [] for name in actions}
    for turn in range(ROUNDS[batch] + 1):
        for name, action in actions.items():
            began = clock(device)
            action()
            if turn:  # the first turn warms up
                seconds[name].append(clock(device) - began)
    return {name: batch / min(times) for name, times in seconds.items()}


def forward(network, images):
    with torch.inference_mode():
        network(images)


def extract(extractor, images, tags):
    with torch.inference_mode():
        extractor(images, tags)


def by_torch_cam(network, images, tags, layer=None):
    with torchcam.methods.LayerCAM(network, target_layer=layer or last_layer(network)) as extractor:
        extractor(tags, network(images.clone().requires_grad_()))


def by_grad_cam(network, images, tags, layer=None):
    with pytorch_grad_cam.LayerCAM(network, [layer or last_layer(network)]) as extractor:
        extractor(images.clone().requires_grad_(), [ClassifierOutputTarget(tag) for tag in tags])


def last_layer(network):
    return list(network.layers().values())[-1]


def actions_of(model, frozen, batch, device):
    """What is timed, by name."""
    images = torch.rand(batch, 3, 224, 224, device=device)
    last = images.to(memory_format=torch.channels_last)
    tags = [number % len(CLASSES) for number in range(batch)]
    actions = {"plain forward": partial(forward, frozen, last)}
    for method in ("cam", "gradcam++", "layercam"):
        actions[method] = partial(extract, CamExtractor(frozen, method), last, tags)
    for layer in ("layer3", "layer2"):
        extractor = CamExtractor(frozen, "layercam", [layer])
        actions[f"layercam at {layer}"] = partial(extract, extractor, last, tags)
    if device != "cpu":
        for label, options in FASTER.items():
            actions[f"layercam, {label}"] = partial(extract, CamExtractor(frozen, **options), last, tags)
    actions["plain forward, as it comes"] = partial(forward, model, images)
    for label, network, values in (("as it comes", model, images), ("same network", frozen, last)):
        actions[f"torch-cam, {label}"] = partial(by_torch_cam, network, values, tags)
        actions[f"grad-cam, {label}"] = partial(by_grad_cam, network, values, tags)
    return actions


def inner_actions_of(model, name, batch, device):
    """What is timed at a module inside a block, by name; ours takes the folded network, as build does."""
    images = torch.rand(batch, 3, 224, 224, device=device)
    last = images.to(memory_format=torch.channels_last)
    tags = [number % len(CLASSES) for number in range(batch)]
    frozen = fold_batch_norm(model, [name]).to(memory_format=torch.channels_last)
    unfolded = copy.deepcopy(model).freeze()
    actions = {
        "plain forward": partial(forward, frozen, last),
        "layercam": partial(extract, CamExtractor(frozen, "layercam", [name]), last, tags),
        "layercam, not folded": partial(extract, CamExtractor(unfolded, "layercam", [name]), images, tags),
    }
    for label, network, values in (("as it comes", model, images), ("same network", frozen, last)):
        layer = network.stages.named()[name]
        actions[f"torch-cam, {label}"] = partial(by_torch_cam, network, values, tags, layer)
        actions[f"grad-cam, {label}"] = partial(by_grad_cam, network, values, tags, layer)
    return actions


def inner(device="cpu"):
    """Print our rates at inner modules, and how many times those of each peer they are."""
    for (arch, output_stride), name in INNER.items():
        model = seeded_classifier(arch, CLASSES, output_stride, seed=0).eval().to(device)
        torch.nn.init.normal_(model.head.weight)
        for batch in ROUNDS:
            rates = rates_of(batch, inner_actions_of(model, name, batch, device), device)
            print(f"LayerCAM at {name} of {arch}, output stride {output_stride}, batch {batch}")
            for action, rate in rates.items():
                ratio = rates["layercam"] / rate
                print(f"  {action:<28} {rate:8.2f}  (layercam is {ratio:.2f} times this)", flush=True)


def forward_and_backward(network, name, frames, tags):
    """The least that maps at a module cost: forward passes whose graphs begin there, and back to it."""

    def begin(_module, _taken, given):
        torch.set_grad_enabled(True)
        kept.append(given.detach().requires_grad_())
        return kept[0].clone()

    hook = network.stages.named()[name].register_forward_hook(begin)
    for images in frames:
        kept = []
        with torch.no_grad():
            scores = network(images)[torch.arange(len(images)), tags]
            torch.autograd.grad(scores.sum(), kept)
    hook.remove()


def scales(device="cpu"):
    """Print the rate of averaged maps, and how many times that of their forward and backward passes it is."""
    sides, batch = sides_of(SCALES, SIDE), min(ROUNDS)
    tags = [number % len(CLASSES) for number in range(batch)]
    frames = [
        torch.rand(batch, 3, side, side, device=device).to(memory_format=torch.channels_last)
        for side in sides
        for _mirrored in (False, True)
    ]
    for (arch, output_stride), name in INNER.items():
        model = seeded_classifier(arch, CLASSES, output_stride, seed=0).eval().to(device)
        torch.nn.init.normal_(model.head.weight)
        frozen = fold_batch_norm(model, [name]).to(memory_format=torch.channels_last)
        averaged = ScaledCams(CamExtractor(frozen, "layercam", [name]), sides, flip=True, base=SIDE)
        actions = {
            "averaged maps": partial(extract, averaged, frames[-1], tags),
            "forward and backward passes": partial(forward_and_backward, frozen, name, frames, tags),
        }
        rates = rates_of(batch, actions, device)
        ours, least = rates.values()
        print(f"{name} of {arch}, frames of {', '.join(map(str, sides))} pixels and mirrored, batch {batch}")
        print(f"  {ours:.2f} and {least:.2f} frames a second: {least / ours:.3f} of their time", flush=True)


def main(arch="resnet50", device="cpu"):
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    if arch in ("inner", "scales"):
        {"inner": inner, "scales": scales}[arch](device)
        return
    unit = "CPU second, one thread" if device == "cpu" else f"second, {torch.cuda.get_device_name(device)}"
    print(f"{arch}, 224 pixels, frames a {unit} (ratio to the plain forward pass)")
    for output_stride in (32, 8):
        model = seeded_classifier(arch, CLASSES, output_stride, seed=0).eval().to(device)
        torch.nn.init.normal_(model.head.weight)
        frozen = fold_batch_norm(model).to(memory_format=torch.channels_last)
        for batch in ROUNDS:
            rates = rates_of(batch, actions_of(model, frozen, batch, device), device)
            plain = rates["plain forward"]
            print(f"output stride {output_stride}, batch {batch}")
            for name, rate in rates.items():
                print(f"  {name:<28} {rate:8.2f}  ({rate / plain:.2f})", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
