"""Methods of torch-cam and pytorch-grad-cam as map functions: the same maps, nothing left behind."""

import warnings
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from tcam_cache.cams import normalise
from tcam_cache.cams.peers import PeerMaps
from tcam_cache.errors import ConfigError
from tcam_cache.models import Classifier
from tcam_cache.models.backbone import torchvision_models

pytestmark = pytest.mark.skipif(
    not all(map(find_spec, ("timm", "torchcam", "pytorch_grad_cam"))), reason="not all packages are installed"
)
FRAMES = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
TAGS = ["car", "bird"]
CNN, LAYER = "timm:test_efficientnet", "blocks.2"


@pytest.fixture(scope="module")
def classifier():
    torch.manual_seed(0)
    model = Classifier(CNN, ("bird", "car", "dog"))
    torch.nn.init.normal_(model.head.weight)
    return model.freeze()


def unit(maps):
    return normalise(torch.as_tensor(np.asarray(maps))).maps


def one_by_one():
    for frame, tag in zip(FRAMES, TAGS, strict=True):
        images = torch.from_numpy(frame).permute(2, 0, 1)[None] / 255
        yield images.requires_grad_(), ("bird", "car", "dog").index(tag)


@pytest.mark.parametrize("method", ["ScoreCAM", "GradCAM", "FinerCAM"])
def test_a_method_of_torch_cam_gives_what_torch_cam_gives(classifier, method):
    torchvision_models()
    with warnings.catch_warnings(action="ignore"):
        import torchcam.methods as torch_cam
    module, wanted = classifier.stages.named()[LAYER], []
    for images, index in one_by_one():
        with getattr(torch_cam, method)(classifier, module) as extractor:
            wanted.append(extractor(index, classifier(images))[0])
    maps = PeerMaps.open("torchcam", method, classifier, [LAYER])(FRAMES, TAGS)
    assert maps.shape == (2, 8, 8)
    torch.testing.assert_close(unit(maps), unit(torch.cat(wanted)))


@pytest.mark.parametrize("method", ["AblationCAM", "EigenCAM", "ShapleyCAM", "FullGrad"])
def test_a_method_of_pytorch_grad_cam_gives_what_it_gives_before_it_is_enlarged(classifier, method):
    torchvision_models()
    with warnings.catch_warnings(action="ignore"):
        import cv2
        import pytorch_grad_cam as grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    module, wanted = classifier.stages.named()[LAYER], []
    for images, index in one_by_one():
        extractor = getattr(grad_cam, method)(classifier, [module])
        wanted.append(extractor(images, [ClassifierOutputTarget(index)])[0])
    maps = PeerMaps.open("gradcam", method, classifier, [LAYER])(FRAMES, TAGS).numpy()
    assert maps.shape == ((2, 64, 64) if method == "FullGrad" else (2, 8, 8))
    enlarged = [cv2.resize(one, (64, 64)) for one in maps]
    torch.testing.assert_close(unit(enlarged), unit(wanted), atol=1e-5, rtol=0)


def test_the_class_of_each_frame_is_its_own_where_the_package_makes_the_target(classifier):
    maps = PeerMaps.open("gradcam", "FinerCAM", classifier, [LAYER])
    first, second = maps(FRAMES[[0, 0]], TAGS)
    assert not torch.equal(first, second)


def test_several_layers_become_one_map_at_the_resolution_of_the_finest(classifier):
    for package in ("torchcam", "gradcam"):
        maps = PeerMaps.open(package, "LayerCAM", classifier, ["blocks.1", "blocks.2", "last"])
        assert maps.layers == ("blocks.1", "blocks.2", "bn2") and maps(FRAMES, TAGS).shape == (2, 16, 16)


def test_tokens_become_maps(classifier):
    torch.manual_seed(0)
    model = Classifier("timm:test_vit", ("bird", "car", "dog"))
    torch.nn.init.normal_(model.head.weight)
    for package in ("torchcam", "gradcam"):
        maps = PeerMaps.open(package, "GradCAM", model.freeze(), ["blocks.3.norm1"])
        assert maps(np.zeros((1, 160, 160, 3), np.uint8), ["car"]).shape == (1, 10, 10)


@pytest.mark.parametrize(("package", "method"), [("torchcam", "SmoothGradCAMpp"), ("gradcam", "RandomCAM")])
def test_random_numbers_are_the_same_for_every_frame_and_the_caller_s_go_on(classifier, package, method):
    maps = PeerMaps.open(package, method, classifier, [LAYER])
    torch.manual_seed(5), np.random.seed(5)  # noqa: NPY002
    first, alone = maps(FRAMES, TAGS), maps(FRAMES[1:], TAGS[1:])
    drawn = torch.rand(1), np.random.rand()  # noqa: NPY002
    assert torch.equal(first[1:], alone)
    torch.manual_seed(5), np.random.seed(5)  # noqa: NPY002
    assert drawn == (torch.rand(1), np.random.rand())  # noqa: NPY002


def test_no_hook_no_gradient_and_no_word_is_left_behind(classifier, capfd):
    for package, method in (("torchcam", "GradCAM"), ("gradcam", "AblationCAM"), ("gradcam", "FullGrad")):
        PeerMaps.open(package, method, classifier, [LAYER])(FRAMES, TAGS)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in classifier.modules())
    assert all(value.grad is None for value in classifier.parameters())
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("package", "method", "layer", "said"),
    [
        ("torchcam", "ScoreCam", LAYER, "torchcam has no CAM method 'ScoreCam'. Did you mean ScoreCAM"),
        (
            "gradcam",
            "BaseCAM",
            LAYER,
            "gradcam has no CAM method 'BaseCAM'.*Those that it has: AblationCAM, ",
        ),
        ("gradcam", "ActivationsAndGradients", LAYER, "gradcam has no CAM method 'Act"),
        ("gradcam", "AblationLayer", LAYER, "gradcam has no CAM method 'AblationLayer'"),
        ("torchcam", "ScoreCAM", "blocks.9", "blocks.9: no such layer"),
    ],
)
def test_a_method_or_layer_that_is_not_there_is_named_with_the_near_ones(
    classifier, package, method, layer, said
):
    with pytest.raises(ConfigError, match=said):
        PeerMaps.open(package, method, classifier, [layer])
