"""Frames a CPU second of every CAM method against the plain forward pass and the peers, in one run.

python tests/benchmarks/bench_cams.py [ARCH]     (default resnet50; one thread; 224 pixels)

The plain forward pass is that of the network that our maps are made with: BatchNorm folded, channels last.
Each peer is timed on the classifier as it comes (trainable weights, NCHW) and on that same network (frozen).
"""

import statistics
import sys
import time
import warnings

import torch

from tcam_cache.cams import CamExtractor, fold_batch_norm, seeded_classifier
from tcam_cache.cams.torchvision_import import torchvision_models

CLASSES = tuple(f"c{number}" for number in range(10))
ROUNDS = {8: 5, 32: 3}


def cpu_rates(batch, actions):
    """Median frames a CPU second of each action; they take turns, so that load falls on all."""
    seconds = {name: [] for name in actions}
    for turn in range(ROUNDS[batch] + 1):
        for name, action in actions.items():
            began = time.process_time()
            action()
            if turn:  # the first turn warms up
                seconds[name].append(time.process_time() - began)
    return {name: batch / statistics.median(times) for name, times in seconds.items()}


def peers(torch_cam, grad_cam, model, images, tags):
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    layer = list(model.layers().values())[-1]

    def by_torch_cam():
        with torch_cam.LayerCAM(model, target_layer=layer) as extractor:
            extractor(tags, model(images.clone().requires_grad_()))

    def by_grad_cam():
        with grad_cam.LayerCAM(model, [layer]) as extractor:
            extractor(images, [ClassifierOutputTarget(tag) for tag in tags])

    return {"torch-cam": by_torch_cam, "grad-cam": by_grad_cam}


def main(arch="resnet50"):
    warnings.simplefilter("ignore")
    torchvision_models()
    import pytorch_grad_cam
    import torchcam.methods

    torch.set_num_threads(1)
    print(f"{arch}, 224 pixels, one thread, frames a CPU second (ratio to the plain forward pass)")
    for output_stride in (32, 8):
        model = seeded_classifier(arch, CLASSES, output_stride, seed=0).eval()
        torch.nn.init.normal_(model.head.weight)
        frozen = fold_batch_norm(model).to(memory_format=torch.channels_last)
        ours = {method: CamExtractor(frozen, method) for method in ("cam", "gradcam++", "layercam")}
        ours |= {
            f"layercam at {layer}": CamExtractor(frozen, "layercam", [layer])
            for layer in ("layer3", "layer2")
        }
        for batch in (8, 32):
            images = torch.rand(batch, 3, 224, 224)
            last = images.to(memory_format=torch.channels_last)
            tags = [number % len(CLASSES) for number in range(batch)]

            def forward(network, values):
                with torch.inference_mode():
                    network(values)

            def extract(extractor, values=last, tags=tags):
                with torch.inference_mode():
                    extractor(values, tags)

            actions = {"plain forward": lambda last=last: forward(frozen, last)}
            actions |= {name: lambda one=one: extract(one) for name, one in ours.items()}
            actions["plain forward, as it comes"] = lambda images=images: forward(model, images)
            for label, network, values in (("as it comes", model, images), ("same network", frozen, last)):
                found = peers(torchcam.methods, pytorch_grad_cam, network, values, tags)
                actions |= {f"{name}, {label}": action for name, action in found.items()}
            rates = cpu_rates(batch, actions)
            plain = rates["plain forward"]
            print(f"output stride {output_stride}, batch {batch}")
            for name, rate in rates.items():
                print(f"  {name:<28} {rate:8.2f}  ({rate / plain:.2f})", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
