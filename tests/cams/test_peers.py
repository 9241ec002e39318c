"""The same maps as torch-cam and pytorch-grad-cam where these are right, and where they are not."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tcam_cache.cams import CamExtractor, normalise
from tcam_cache.models.backbone import torchvision_models

TAGS = (2, 0, 3)


@pytest.fixture(scope="module")
def peers():
    """Both libraries, imported beside whatever torchvision there is."""
    torchvision_models()
    with warnings.catch_warnings(action="ignore"):
        methods = pytest.importorskip("torchcam.methods")
        return SimpleNamespace(torch_cam=methods, grad_cam=pytest.importorskip("pytorch_grad_cam"))


def by_torch_cam(method, model, name, images):
    """Return torch-cam's normalised maps (B, h, w)."""
    with warnings.catch_warnings(action="ignore"), torch.enable_grad():
        given = {"fc_layer": "head"} if method.__name__ == "CAM" else {}
        with method(model, target_layer=model.layers()[name], **given) as extractor:
            scores = model(images.clone().requires_grad_())
            (maps,) = extractor(list(TAGS), scores)
    return normalise(maps.detach())


def by_grad_cam(method, model, name, images):
    """Return pytorch-grad-cam's maps at native resolution, before it resizes them, normalised here."""
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    layer, targets = model.layers()[name], [ClassifierOutputTarget(tag) for tag in TAGS]
    with warnings.catch_warnings(action="ignore"), torch.enable_grad(), method(model, [layer]) as extractor:
        extractor(images.clone().requires_grad_(), targets)
        kept = extractor.activations_and_grads
        activations, gradients = (one[0].numpy() for one in (kept.activations, kept.gradients))
        maps = extractor.get_cam_image(images, layer, targets, activations, gradients, False)
    return normalise(torch.from_numpy(np.maximum(maps, 0)))


def worst(ours, theirs):
    """Return the largest difference of two batches of maps in [0, 1], where neither says that it is flat."""
    spoken = ~(ours.flat | theirs.flat)
    assert spoken.any()
    return float((ours.maps - theirs.maps).abs()[spoken].max())


SHARED = {"gradcam": "GradCAM", "xgradcam": "XGradCAM", "layercam": "LayerCAM"}
PLACES = [(*names, layer) for names in SHARED.items() for layer in ("last", "layer2")]


@pytest.mark.parametrize(("method", "name", "layer"), [("cam", "CAM", "last"), *PLACES])
def test_torch_cam_gives_the_same_maps(peers, random_classifier, random_images, method, name, layer):
    model, images = random_classifier("resnet18"), random_images()
    extractor = CamExtractor(model, method, [layer])
    theirs = by_torch_cam(getattr(peers.torch_cam, name), model, extractor.layers[0], images)
    assert worst(extractor(images, TAGS)[0], theirs) < 1e-5


@pytest.mark.parametrize(("method", "name", "layer"), PLACES)
def test_pytorch_grad_cam_gives_the_same_maps(peers, random_classifier, random_images, method, name, layer):
    model, images = random_classifier("resnet18"), random_images()
    extractor = CamExtractor(model, method, [layer])
    theirs = by_grad_cam(getattr(peers.grad_cam, name), model, extractor.layers[0], images)
    # It adds 1e-7 to the sum that XGrad-CAM divides by.
    assert worst(extractor(images, TAGS)[0], theirs) < 1e-4


def test_torch_cam_loses_the_division_of_grad_cam_pp(peers, random_classifier, random_images):
    """Its weights are sum_ij ReLU(g) g^2, as if alpha had no denominator: ReLU(w)^3 at the last layer."""
    model, images = random_classifier("resnet18"), random_images()
    extractor = CamExtractor(model, "gradcam++")
    ours, _ = extractor(images, TAGS)
    theirs = by_torch_cam(peers.torch_cam.GradCAMpp, model, extractor.layers[0], images)
    activations = model.features(images)[-1]
    undivided = torch.einsum("bk,bkhw->bhw", model.head.weight[list(TAGS)].relu() ** 3, activations)
    assert worst(normalise(undivided), theirs) < 1e-5
    assert worst(ours, theirs) > 0.05


def test_torch_cam_weighs_the_last_noisy_activation_in_smooth_grad_cam_pp(
    peers, random_classifier, random_images
):
    """No noise reaches the derivatives of a linear head, yet its maps move from one call to the next."""
    model, images = random_classifier("resnet18"), random_images()
    extractor = CamExtractor(model, "smooth-gradcam++")
    ours, _ = extractor(images, TAGS)
    assert torch.equal(ours.maps, extractor(images, TAGS)[0].maps)
    name, method = extractor.layers[0], peers.torch_cam.SmoothGradCAMpp
    torch.manual_seed(0)
    first, second = (by_torch_cam(method, model, name, images) for _ in range(2))
    assert worst(first, second) > 0.01 and worst(ours, first) > 0.01


def test_pytorch_grad_cam_drowns_grad_cam_pp_in_its_epsilon(peers, random_classifier, random_images):
    """It adds 1e-6 to a denominator of the size of g^2: harmless for large gradients, not for usual ones."""
    errors = {}
    for size in (1.0, 0.01):
        model, images = random_classifier("resnet18"), random_images()
        model.head.weight.mul_(size)
        extractor = CamExtractor(model, "gradcam++")
        theirs = by_grad_cam(peers.grad_cam.GradCAMPlusPlus, model, extractor.layers[0], images)
        errors[size] = worst(extractor(images, TAGS)[0], theirs)
    assert errors[1.0] < 0.02 < 0.05 < errors[0.01]
