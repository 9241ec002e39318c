"""Tests of timm's networks as backbones: their features against timm's own, and what is refused."""

import sys
from importlib.util import find_spec

import pytest
import torch
from torch import nn

from tcam_cache.errors import ConfigError, ExtraError
from tcam_cache.models import Classifier, fold_batch_norm
from tcam_cache.models.timm_backbone import timm_library

pytestmark = pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed")

# By the network: output stride, channels and strides of what the decoder taps.
FAMILIES = {
    "tf_efficientnet_lite0": (16, [16, 24, 40, 112, 320], [2, 4, 8, 16, 16]),
    "resnet18": (16, [64, 64, 128, 256, 512], [2, 4, 8, 16, 16]),
    "regnety_004": (16, [32, 48, 104, 208, 440], [2, 4, 8, 16, 16]),
    "convnext_atto": (16, [40, 80, 160, 320], [4, 8, 16, 16]),
    "mobilenetv3_small_050": (32, [16, 8, 16, 24, 288], [2, 4, 8, 16, 32]),
    "densenet121": (32, [64, 256, 512, 1024, 1024], [2, 4, 8, 16, 32]),
    "vgg11_bn": (32, [64, 128, 256, 512, 512, 512], [1, 2, 4, 8, 16, 32]),
    "deit_tiny_patch16_224": (16, [192], [16]),
    "swin_tiny_patch4_window7_224": (32, [96, 192, 384, 768], [4, 8, 16, 32]),
}
FIXED = ("deit_tiny_patch16_224", "swin_tiny_patch4_window7_224")


def random_backbone(name, output_stride=None):
    torch.manual_seed(0)
    model = Classifier(f"timm:{name}", ("a", "b", "c"), output_stride)
    nn.init.normal_(model.head.weight)
    return model.freeze()


@pytest.fixture
def timm_s_own(undrawn):
    """Return a function that makes timm's network with the weights of one of ours.

    Its tensors come in the same order by whatever name.
    """

    def make(name, model, **options):
        with undrawn():
            network = timm_library().create_model(name, **options).eval()
        ours = list(model.stages.network.state_dict().values())
        state = network.state_dict()
        network.load_state_dict(dict(zip(state, ours, strict=False)))
        return network

    return make


@pytest.mark.parametrize("name", FAMILIES)
def test_features_are_timm_s_own_to_the_bit(timm_s_own, name):
    stride, channels, strides = FAMILIES[name]
    model = random_backbone(name)
    options = {"output_stride": 16} if stride == 16 and name not in FIXED else {}
    taps = {} if len(channels) > 1 else {"out_indices": [-1]}
    theirs = timm_s_own(name, model, features_only=True, **options, **taps)
    side = 224 if name in FIXED else 96
    images = torch.rand(1, 3, side, side)
    with torch.no_grad():
        expected = theirs(model.standardised(images))
    found = model.features(images)
    assert [one.shape[1] for one in found] == model.channels == channels
    assert [round(side / one.shape[-1]) for one in found] == model.strides == strides
    assert model.output_stride == stride
    for ours, other in zip(found, expected, strict=True):
        # Swin's own are channels last.
        assert torch.equal(ours, other if other.shape == ours.shape else other.permute(0, 3, 1, 2))


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "regnety_004", "mobilenetv3_small_050"])
def test_what_the_head_pools_is_what_timm_pools_where_that_is_a_mean(timm_s_own, name):
    model = random_backbone(name)
    options = {} if name.startswith("mobilenetv3") else {"output_stride": 16}
    network = timm_s_own(name, model, num_classes=0, **options)
    images = torch.rand(1, 3, 96, 128)
    with torch.no_grad():
        deepest = network.forward_features(model.standardised(images))
    assert torch.equal(model.stages.deepest(model.standardised(images)), deepest)
    _, logits = model.features_and_logits(images)
    assert torch.equal(logits, model(images))
    torch.testing.assert_close(logits, deepest.mean((2, 3)) @ model.head.weight.T + model.head.bias)


@pytest.mark.parametrize("name", FIXED)
def test_the_deepest_tokens_stand_where_their_patches_do(name):
    model = random_backbone(name)
    values = torch.randn(1, 3, 224, 224)
    raw = model.stages.network.forward_features(values)
    side = 224 // model.output_stride
    tokens = raw[:, -side * side :] if raw.ndim == 3 else raw.flatten(1, 2)
    deepest = model.stages.deepest(values)
    assert deepest.shape == (1, tokens.shape[2], side, side)
    assert torch.equal(deepest[0, :, 3, 5], tokens[0, 3 * side + 5])


@pytest.mark.parametrize("name", FIXED)
def test_a_network_of_one_size_refuses_other_frames(name):
    with torch.device("meta"):
        model = Classifier(f"timm:{name}", ("a", "b")).eval()
        with pytest.raises(
            ConfigError, match=r"only frames of 224 x 224 pixels; got 96 x 128.*--image-size 224"
        ):
            model(torch.zeros(1, 3, 96, 128))


@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_an_output_stride_is_timm_s_own(timm_s_own, output_stride):
    model = random_backbone("tf_efficientnet_lite0", output_stride)
    assert model.output_stride == output_stride
    assert model.dilated == (output_stride < 32)
    theirs = timm_s_own("tf_efficientnet_lite0", model, num_classes=0, output_stride=output_stride)
    values = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(model.stages.deepest(values), theirs.forward_features(values))


def test_an_output_stride_that_timm_has_not_says_which_it_has():
    with pytest.raises(ConfigError, match=r"output stride 8 for timm:mobilenetv3_small_050; expected 32"):
        Classifier("timm:mobilenetv3_small_050", ("a", "b"), 8)


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "densenet121", "regnety_004", "resnetv2_50"])
def test_a_folded_network_is_the_same_function(name):
    model = random_backbone(name)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.running_var, 0.5, 2)
            nn.init.normal_(part.running_mean, std=0.1)
    model, images = model.double(), torch.rand(1, 3, 96, 96, dtype=torch.float64)
    folded = fold_batch_norm(model)
    norms = [sum(isinstance(part, nn.BatchNorm2d) for part in one.modules()) for one in (folded, model)]
    assert norms[0] < norms[1]
    for ours, theirs in zip(folded.features(images), model.features(images), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-8)


def test_preprocessing_is_what_timm_says():
    ours = random_backbone("tf_efficientnet_lite0").preprocessing
    assert (ours.mean, ours.std) == ((0.5,) * 3, (0.5,) * 3)
    assert (ours.interpolation, ours.size) == ("bicubic", 224)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tf_efficientnet_lite9", "timm .* has none of that name. Did you mean .*tf_efficientnet_lite0"),
        ("", "timm .* has none of that name"),
        ("resnet18.none_such", "Invalid pretrained tag .*Correct its name"),
        ("pit_ti_224", r"cannot serve as a backbone here: its features have the shapes .*\(256, 1, 1\)"),
    ],
)
def test_a_network_that_cannot_serve_is_a_named_error(name, said):
    with torch.device("meta"), pytest.raises(ConfigError, match=said):
        Classifier(f"timm:{name}", ("a", "b"))


def test_without_timm_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ExtraError, match=r'pip install "tcam-cache\[timm\]"'):
        Classifier("timm:resnet18", ("a", "b"))


@pytest.mark.parametrize("name", ["resnet18", "deit_tiny_patch16_224"])
def test_the_last_stage_or_block_is_what_learns_faster(name):
    model = random_backbone(name)
    early, late = model.halves()
    names = {id(value): key for key, value in model.stages.network.named_parameters()}
    assert len(early) + len(late) == len(names)
    last = ("layer4.",) if name == "resnet18" else ("blocks.11.", "norm.")
    assert all(names[id(value)].startswith(last) for value in late)
    assert not any(names[id(value)].startswith(last) for value in early)
