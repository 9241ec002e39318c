"""The published definition of each CAM method by autograd in float64, one frame and one class at a time."""

import pytest
import torch

from tcam_cache.cams import CamExtractor
from tcam_cache.cams.extractor import SMOOTH_NOISE, SMOOTH_RUNS, SMOOTH_SEED
from tcam_cache.cams.methods import ACTIVATION


def _run_to(model, name, values):
    """Return a module's output (B, K, h, w) and the logits, in one graph over the whole network."""
    kept = []

    def keep(_module, _taken, given):
        kept.append(given)
        return given.clone()

    hook = model.stages.named()[name].register_forward_hook(keep)
    logits = model.logits(model.stages(values.clone().requires_grad_())[1])
    hook.remove()
    return kept[0], logits


def _gradient(model, name, values, tag):
    """Return one frame's activations (K, h, w), and the gradient of one logit there."""
    activations, logits = _run_to(model, name, values)
    (found,) = torch.autograd.grad(logits[0, tag], activations)
    return activations.detach()[0], found[0]


def _by_definition(model, name, method, image, tag):
    """Return a method's raw map (h, w) of one frame (3, H, W), as its paper prints it."""
    values = model.standardised(image[None])
    a, g = _gradient(model, name, values, tag)
    if method == ACTIVATION:
        # By hand: what the layer gives, added up channel by channel.
        return sum(a) / len(a)
    if method == "cam":
        return torch.einsum("k,khw->hw", model.head.weight[tag], a)
    if method == "layercam":
        return (g.clamp(min=0) * a).sum(0).clamp(min=0)
    if method == "gradcam":
        weights = g.mean((1, 2))
    elif method == "xgradcam":
        weights = (a * g).sum((1, 2)) / a.sum((1, 2))
    else:
        runs = [g]
        if method == "smooth-gradcam++":
            generator = torch.Generator().manual_seed(SMOOTH_SEED)
            noise = torch.randn(SMOOTH_RUNS, *image.shape, generator=generator)
            runs = [_gradient(model, name, values + SMOOTH_NOISE * one, tag)[1] for one in noise]
        first, second, third = (sum(run**power for run in runs) / len(runs) for power in (1, 2, 3))
        alpha = second / (2 * second + a.sum((1, 2), keepdim=True) * third)
        weights = (alpha * first.clamp(min=0)).nan_to_num().sum((1, 2))
    return torch.einsum("k,khw->hw", weights.nan_to_num(), a).clamp(min=0)


def _assert_is_the_definition(model, name, method, images, tags):
    """Compare an extractor's maps and logits of a batch with the definition, frame by frame."""
    cams, logits = CamExtractor(model, method, [name])(images, tags)
    for row, tag in enumerate(tags):
        expected = _by_definition(model, name, method, images[row], tag)
        found = cams.maps[row].double() * (cams.raw_max - cams.raw_min)[row] + cams.raw_min[row]
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=2e-6 * float(expected.abs().max()))
        torch.testing.assert_close(cams.raw_max[row].double(), expected.amax(), rtol=1e-6, atol=0)
    assert cams.maps.flatten(1).std(1).max() > 0.01, "maps that are all flat show nothing"
    assert torch.equal(logits, model(images))


@pytest.fixture(scope="session")
def run_to():
    """Return a function that runs a network and keeps a module's output."""
    return _run_to


@pytest.fixture(scope="session")
def by_definition():
    """Return a function of model, module, method, frame and class that makes the published map."""
    return _by_definition


@pytest.fixture(scope="session")
def assert_is_the_definition():
    """Return a function that compares an extractor's maps of a batch with the published ones."""
    return _assert_is_the_definition
