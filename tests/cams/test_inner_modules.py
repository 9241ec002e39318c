"""CAMs at modules inside the blocks of a torchvision and a timm network, against autograd in float64."""

from importlib.util import find_spec

import pytest
import torch
from torch import nn

from tcam_cache.cams import CamExtractor
from tcam_cache.cams.methods import ACTIVATION, GRADIENT_FORMS
from tcam_cache.errors import ConfigError
from tcam_cache.models import Classifier, fold_batch_norm

TIMM = pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed")
TAGS = (2, 0, 3)
PLACES = [
    ("resnet18", "layer3.1.conv2"),
    ("resnet18", "layer2.0.bn1"),
    pytest.param("timm:test_efficientnet", "blocks.3.0.conv_dw", marks=TIMM),
    pytest.param("timm:test_efficientnet", "blocks.1.0.bn1", marks=TIMM),
]


@pytest.mark.parametrize("method", [*GRADIENT_FORMS, ACTIVATION])
@pytest.mark.parametrize(("arch", "name"), PLACES)
def test_at_an_inner_module_each_method_is_its_published_definition(
    random_classifier, random_images, assert_is_the_definition, arch, name, method
):
    model = random_classifier(arch)
    extractor = CamExtractor(model, method, [name])
    assert extractor.layers == (name,) and not extractor.is_closed
    assert_is_the_definition(model, name, method, random_images(2, 48, 64), TAGS[:2])


@pytest.mark.parametrize(("arch", "name"), PLACES)
def test_folding_changes_no_map_of_an_inner_module(random_classifier, random_images, arch, name):
    model, images = random_classifier(arch), random_images(1, 48, 64)
    folded = fold_batch_norm(model, [name])
    for method in (*GRADIENT_FORMS, ACTIVATION):
        plain, _ = CamExtractor(model, method, [name])(images, 2)
        ours, _ = CamExtractor(folded, method, [name])(images, 2)
        torch.testing.assert_close(ours.maps, plain.maps, rtol=1e-5, atol=1e-6)


@TIMM
@pytest.mark.parametrize("method", GRADIENT_FORMS)
@pytest.mark.parametrize(("arch", "last"), [("timm:test_efficientnet", "bn2"), ("timm:test_vit", "norm")])
def test_the_last_module_of_timm_s_has_the_closed_form_that_autograd_gives(
    random_classifier, random_images, arch, last, method
):
    model, images = random_classifier(arch), random_images(2, 160, 160)
    closed = CamExtractor(model, method)
    assert closed.is_closed and closed.layers == (last,)
    assert CamExtractor(model, method, [last]).is_closed
    ours, _ = closed(images, TAGS[:2])
    model.head = nn.Sequential(model.head)  # To the extractor, no linear layer: it differentiates.
    differentiated = CamExtractor(model, method)
    assert not differentiated.is_closed
    theirs, _ = differentiated(images, TAGS[:2])
    torch.testing.assert_close(ours.maps, theirs.maps, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ours.raw_max, theirs.raw_max, rtol=1e-5, atol=1e-9)


@TIMM
@pytest.mark.parametrize("name", ["blocks.1", "blocks.0.mlp.fc1", "patch_embed", "blocks.0.attn.qkv"])
def test_tokens_make_maps_at_the_places_of_their_patches(random_classifier, random_images, name):
    """A frame that is grey but for one patch moves that patch's activations most, wherever tokens attend."""
    model = random_classifier("timm:test_vit")
    images = torch.full((1, 3, 160, 160), 0.5, dtype=torch.float64)
    images[:, :, 48:64, 96:112] = random_images(1, 16, 16)
    grey, marked = (
        CamExtractor(model, ACTIVATION, [name])(one, 0)[0] for one in (torch.full_like(images, 0.5), images)
    )
    raw = [one.maps * (one.raw_max - one.raw_min) + one.raw_min for one in (grey, marked)]
    moved = (raw[1] - raw[0]).abs()[0]
    assert moved.shape == (10, 10)
    assert divmod(int(moved.argmax()), 10) == (3, 6)


@pytest.mark.parametrize(("arch", "name"), PLACES)
def test_no_hook_or_gradient_or_mode_stays_behind_even_after_a_failure(
    random_classifier, random_images, arch, name
):
    model, images = random_classifier(arch), random_images(height=64, width=64)
    model.stages.requires_grad_(True)
    extractor = CamExtractor(model, "layercam", [name])
    expected, _ = extractor(images, TAGS)

    def fail(*_given):
        raise RuntimeError("out of memory")

    for context in (torch.no_grad, torch.inference_mode, torch.enable_grad):
        broken = model.head.register_forward_pre_hook(fail)
        with context():
            before = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
            with pytest.raises(RuntimeError, match="out of memory"):
                extractor(images, TAGS)
            assert before == (torch.is_grad_enabled(), torch.is_inference_mode_enabled())
            broken.remove()
            again, logits = extractor(images.clone(), TAGS)
        assert torch.equal(again.maps, expected.maps), context
        assert not again.maps.requires_grad and not logits.requires_grad
    assert all(value.grad is None and value.requires_grad for value in model.stages.parameters())
    assert not any(part._forward_hooks or part._backward_hooks for part in model.modules())


def test_nothing_before_the_module_is_differentiated(random_classifier, random_images):
    model = random_classifier("resnet18")
    modes = {}
    for name in ("layer1.0.conv1", "layer3.0.conv2", "layer4.1.conv1"):
        model.stages.named()[name].register_forward_hook(
            lambda _module, _taken, given, name=name: modes.update({name: given.requires_grad})
        )
    model.stages.requires_grad_(True)
    CamExtractor(model, "layercam", ["layer3.0.conv2"])(random_images(), TAGS)
    assert modes == {"layer1.0.conv1": False, "layer3.0.conv2": False, "layer4.1.conv1": True}


@pytest.mark.parametrize("fuse", ["max", "mean", "geometric"])
def test_inner_modules_and_layers_are_fused_at_the_finest_resolution(random_classifier, random_images, fuse):
    model, images = random_classifier("resnet18", 32), random_images(height=96, width=96)
    names = ["layer4", "layer2.1.conv2"]
    extractor = CamExtractor(model, "layercam", names, fuse=fuse)
    assert extractor.layers == ("layer2.1.conv2", "layer4.1")
    cams, _ = extractor(images, TAGS)
    fine, coarse = (
        CamExtractor(model, "layercam", [name])(images, TAGS)[0].maps for name in extractor.layers
    )
    assert cams.maps.shape == fine.shape == (3, 12, 12)
    coarse = nn.functional.interpolate(coarse[:, None], (12, 12), mode="bilinear")[:, 0]
    if fuse == "max":
        return
    expected = (fine + coarse) / 2 if fuse == "mean" else (fine * coarse).sqrt()
    low, high = (getattr(expected, end)((1, 2))[:, None, None] for end in ("amin", "amax"))
    torch.testing.assert_close(cams.maps, (expected - low) / (high - low), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("arch", "name", "said"),
    [
        ("resnet18", "layer3.1.relu", "runs 2 times in a forward pass, expected once"),
        ("resnet18", "layer3.1.conv3", "no such layer. Did you mean layer3.1.conv2"),
        ("resnet18", "layer5.0", "no such layer. Did you mean layer"),
        pytest.param(
            "timm:test_efficientnet", "blocks.9.0.bn2", "no such layer. Did you mean blocks", marks=TIMM
        ),
        pytest.param("timm:test_efficientnet", "global_pool", "does not run before pooling", marks=TIMM),
    ],
)
def test_a_module_that_no_cam_can_be_taken_of_is_named_with_why(random_classifier, arch, name, said):
    with pytest.raises(ConfigError, match="no CAM can be taken of") as caught:
        CamExtractor(random_classifier(arch), "layercam", [name])
    (offender,) = caught.value.offenders
    assert offender.startswith(f"{name}: {said}")


@pytest.mark.parametrize("method", ["layercam", ACTIVATION])
@pytest.mark.parametrize(
    ("arch", "name"),
    [
        ("mobilenet_v3_large", "features.4.block.2.fc1"),
        pytest.param("timm:test_vit", "blocks.0.attn", marks=TIMM),
    ],
)
def test_a_module_inside_that_is_a_place_or_none(random_classifier, random_images, arch, name, method):
    model, images = random_classifier(arch), random_images(height=160, width=160)
    extractor = CamExtractor(model, method, [name])
    if arch.startswith("timm:"):
        assert extractor(images, TAGS)[0].maps.shape == (3, 10, 10)
        return
    with pytest.raises(ConfigError, match=rf"layer {name} of .* \(3, 24, 1, 1\): they are not spatial"):
        extractor(images, TAGS)


@TIMM
def test_windows_of_tokens_are_no_map(random_classifier):
    model = Classifier("timm:swin_tiny_patch4_window7_224", ("a", "b")).freeze()
    images = torch.rand(1, 3, 224, 224)
    assert CamExtractor(model, "layercam", ["layers.2.blocks.5"])(images, 0)[0].maps.shape == (1, 14, 14)
    with pytest.raises(ConfigError, match=r"layers\.2\.blocks\.5\.attn of .* not spatial"):
        CamExtractor(model, "layercam", ["layers.2.blocks.5.attn"])(images, 0)


def test_compiling_what_runs_before_an_inner_module_needs_something_there(random_classifier):
    with pytest.raises(ConfigError, match="nothing to compile before layer conv1 of resnet18"):
        CamExtractor(random_classifier("resnet18"), layers=["conv1"], compiled=True)
