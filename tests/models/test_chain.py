"""Tests of torchvision's networks beyond those of the paper: which serve, and what their features are."""

import pytest
import torch
from torch import nn

from tcam_cache.errors import ConfigError
from tcam_cache.models import Classifier, fold_batch_norm
from tcam_cache.models.backbone import torchvision_network

# By the network: its own output stride and the default here, and whether its strides can be removed.
FAMILIES = {
    "regnet_y_400mf": (32, 16),
    "resnext50_32x4d": (32, 16),
    "efficientnet_b0": (32, 16),
    "mobilenet_v2": (32, 16),
    "mnasnet0_5": (32, 16),
    "shufflenet_v2_x0_5": (32, 16),
    "densenet121": (32, 32),
    "convnext_tiny": (32, 32),
    "googlenet": (32, 16),
    "inception_v3": (32, 32),
    "alexnet": (16, 16),
    "vgg11_bn": (16, 16),
}
NORM_BEFORE_LINEAR = ("convnext_tiny",)


@pytest.fixture(scope="module")
def network():
    """Return a function that makes a network of torchvision's once, in evaluation mode."""
    made = {}

    def make(arch):
        if arch not in made:
            torch.manual_seed(0)
            made[arch] = torchvision_network(arch).eval()
            for part in made[arch].modules():
                if isinstance(part, nn.BatchNorm2d):
                    nn.init.uniform_(part.running_var, 0.5, 2)
                    nn.init.normal_(part.running_mean, std=0.1)
        return made[arch]

    return make


def pooled_by_torchvision(network, values):
    """Return what the network's own first linear layer takes."""
    linear = next(part for part in reversed(list(network.modules())) if isinstance(part, nn.Linear))
    kept = []
    hook = linear.register_forward_pre_hook(lambda _module, taken: kept.append(taken[0]))
    with torch.no_grad():
        network(values)
    hook.remove()
    return kept[0].flatten(1)


@pytest.mark.parametrize(
    "arch", [arch for arch in FAMILIES if arch not in (*NORM_BEFORE_LINEAR, "alexnet", "vgg11_bn")]
)
def test_at_its_own_stride_the_pooled_features_are_torchvision_s_to_the_bit(network, arch):
    own, _ = FAMILIES[arch]
    values = torch.randn(2, 3, 128, 128)
    expected = pooled_by_torchvision(network(arch), values)
    model = Classifier(arch, ("a", "b"), own, network=network(arch)).freeze()
    taps, deepest = model.stages(values)
    torch.testing.assert_close(deepest.mean((2, 3)), expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(taps[-1], deepest)


@pytest.mark.parametrize("arch", FAMILIES)
def test_channels_and_strides_are_what_features_really_have(without_numbers, arch):
    model = without_numbers(arch)
    _, default = FAMILIES[arch]
    # A whole frame: what an empty batch gives is what was traced.
    with torch.no_grad():
        features = model.features(torch.zeros(1, 3, 256, 256))
    assert [one.shape[1] for one in features] == model.channels
    sides = [256 / one.shape[-1] for one in features]
    # Borders that a kernel cuts off make a map smaller than the stride says.
    assert all(abs(side / stride - 1) < 0.4 for side, stride in zip(sides, model.strides, strict=True))
    assert model.output_stride == model.strides[-1] == default


@pytest.mark.parametrize("arch", ["densenet121", "regnet_y_400mf", "efficientnet_b0", "googlenet"])
def test_a_folded_network_is_the_same_function(network, arch):
    model = Classifier(arch, ("a", "b"), network=network(arch)).double().freeze()
    images = torch.rand(1, 3, 96, 96, dtype=torch.float64)
    for ours, theirs in zip(fold_batch_norm(model).features(images), model.features(images), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("arch", ["swin_t", "vit_b_16", "maxvit_t"])
def test_a_network_that_is_no_chain_is_refused_with_where_its_kind_is(without_numbers, arch):
    with pytest.raises(ConfigError, match=rf"^{arch} of torchvision cannot serve .*--arch timm:NAME"):
        without_numbers(arch)


@pytest.mark.parametrize(
    ("arch", "near"),
    [("resnet51", "resnet50"), ("VisionTransformer", ""), ("efficientnet-b0", "efficientnet_b0"), ("", "")],
)
def test_a_name_that_torchvision_has_not_is_refused_with_the_nearest(arch, near):
    with pytest.raises(ConfigError, match=f"'{arch}'; torchvision has none of that name.*{near}.*timm:NAME"):
        Classifier(arch, ("a", "b"))


@pytest.mark.parametrize("arch", ["densenet121", "convnext_tiny"])
def test_strides_that_cannot_be_removed_are_said(without_numbers, arch):
    with pytest.raises(ConfigError, match=rf"output stride 8 for {arch}; expected one of 32\."):
        without_numbers(arch, 8)


def test_preprocessing_is_what_torchvision_trained_with(without_numbers):
    assert without_numbers("efficientnet_b0").preprocessing.interpolation == "bicubic"
    assert without_numbers("inception_v3").preprocessing.size == 299
    assert without_numbers("resnet18").preprocessing.to_json() == {}


@pytest.mark.parametrize("arch", ["resnet18", "regnet_y_400mf"])
def test_the_last_stage_is_what_learns_faster(arch):
    model = Classifier(arch, ("a", "b"))
    early, late = model.halves()
    every = [id(value) for value in model.stages.parameters()]
    assert [id(value) for value in (*early, *late)] == every
    assert {id(value) for value in late} == {id(value) for value in model.stages[-1].parameters()}
