import json
from copy import deepcopy

import pytest
import torch
from torch import nn

from tcam_cache.config.classifier import ARCHITECTURES
from tcam_cache.errors import ConfigError
from tcam_cache.models import Classifier
from tcam_cache.models.backbone import (
    IMAGENET,
    Preprocessing,
    feature_layers,
    split_into_stages,
    stage_stride,
    torchvision_network,
)

# Sides of the deepest features of a frame of 224 x 224 pixels, by output stride, and channels of the stages.
SIDES = {
    "resnet18": ({8: 28, 16: 14, 32: 7}, [64, 64, 128, 256, 512]),
    "resnet34": ({8: 28, 16: 14, 32: 7}, [64, 64, 128, 256, 512]),
    "resnet50": ({8: 28, 16: 14, 32: 7}, [64, 256, 512, 1024, 2048]),
    "vgg16": ({8: 28, 16: 14}, [64, 128, 256, 512, 512]),
    "squeezenet1_0": ({8: 27, 16: 13}, [96, 256, 512, 512]),
    "squeezenet1_1": ({8: 27, 16: 13}, [64, 128, 256, 512]),
    "mobilenet_v3_large": ({8: 28, 16: 14, 32: 7}, [16, 24, 40, 112, 960]),
}
CASES = [(arch, stride, side) for arch, (sides, _) in SIDES.items() for stride, side in sides.items()]


def features_of_frame(model):
    # Without frames: the shapes alone are computed.
    return model.features(torch.zeros(0, 3, 224, 224))


def test_every_architecture_that_is_offered_is_tested_here():
    assert set(SIDES) == set(ARCHITECTURES)


@pytest.mark.parametrize(("arch", "stride", "side"), CASES)
def test_the_output_stride_gives_the_size_of_the_maps(without_numbers, arch, stride, side):
    model = without_numbers(arch, stride)
    features = features_of_frame(model)
    assert model.output_stride == stride
    assert features[-1].shape[-2:] == (side, side)
    assert model.logits(features[-1]).shape == (0, 2)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_channels_are_those_that_leave_each_stage(without_numbers, arch):
    model = without_numbers(arch)
    assert model.channels == SIDES[arch][1]
    assert [one.shape[1] for one in features_of_frame(model)] == model.channels
    assert model.head.in_features == model.channels[-1]


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_each_stage_halves_the_resolution_once_until_the_output_stride(without_numbers, arch):
    model = without_numbers(arch)
    sides = [one.shape[-1] for one in features_of_frame(model)]
    expected = [224 // 2**place for place in range(1, len(sides) + 1)]
    if model.strides[0] == 1:
        expected = [side * 2 for side in expected]
    # Unpadded pooling loses a pixel or two at the border; never a whole position of stride 8.
    assert all(max(goal, 28) - side in (0, 1, 2, 3) for side, goal in zip(sides, expected, strict=True))
    assert (model.strides[0] == 1) == (arch == "vgg16")


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_published_output_stride_is_8(without_numbers, arch):
    assert without_numbers(arch).output_stride == 8


@pytest.mark.parametrize(
    ("arch", "wrong", "offered"),
    [("vgg16", 32, "8, 16"), ("squeezenet1_0", 32, "8, 16"), ("resnet50", 4, "8, 16, 32"),
     ("resnet50", 0, "8, 16, 32"), ("mobilenet_v3_large", 64, "8, 16, 32")],
)  # fmt: skip
def test_an_output_stride_that_is_not_there_lists_what_is_offered(without_numbers, arch, wrong, offered):
    with pytest.raises(
        ConfigError, match=rf"got output stride {wrong} for {arch}; expected one of {offered}\."
    ):
        without_numbers(arch, wrong)


def test_an_architecture_that_is_not_there_names_the_nearest():
    with pytest.raises(
        ConfigError, match=r"'resnet51'; torchvision has none of that name. Did you mean .*resnet50"
    ):
        torchvision_network("resnet51")


def test_a_resnet50_classifier_of_10_classes_has_the_published_number_of_parameters():
    with torch.device("meta"):
        model = Classifier("resnet50", tuple("abcdefghij"))
    assert sum(p.numel() for p in model.parameters()) == 23_528_522


@pytest.mark.parametrize("arch", ["resnet18", "mobilenet_v3_large", "squeezenet1_1", "vgg16"])
def test_removing_strides_changes_no_parameter(without_numbers, arch):
    native = 16 if arch in ("squeezenet1_1", "vgg16") else 32
    plain, limited = without_numbers(arch, native), without_numbers(arch, 8)
    shapes = [{name: p.shape for name, p in one.state_dict().items()} for one in (plain, limited)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("arch", ["resnet18", "squeezenet1_1"])
def test_at_its_native_stride_a_classifier_computes_what_torchvision_does(arch):
    torch.manual_seed(0)
    network = torchvision_network(arch).eval()
    native = 32 if arch == "resnet18" else 16
    model = Classifier(arch, ("a", "b"), native, network=network).freeze()
    images = torch.rand(2, 3, 64, 80)
    values = (images - model.mean) / model.std
    for layer in feature_layers(network).values():
        values = layer(values)
    assert torch.equal(model.features(images)[-1], values)


@pytest.mark.parametrize("arch", ["resnet18", "squeezenet1_1", "vgg16"])
def test_no_stage_writes_over_the_features_of_an_earlier_one(without_numbers, arch):
    # VGG's old head alone takes seconds to draw, so only what is used gets numbers.
    model = deepcopy(without_numbers(arch)).freeze()
    for value in [*model.parameters(), *model.buffers()]:
        nn.init.uniform_(value) if value.is_floating_point() else value.zero_()
    copies = []
    for stage in model.stages:
        stage.register_forward_hook(lambda _module, _inputs, output: copies.append(output.clone()))
    features = model.features(torch.rand(1, 3, 48, 48))
    assert all(torch.equal(kept, copy) for kept, copy in zip(features, copies, strict=True))


@pytest.mark.parametrize("arch", ["resnet18", "mobilenet_v3_large"])
def test_dilated_features_at_every_fourth_position_are_those_of_the_strided_network(arch):
    torch.manual_seed(0)
    strided = Classifier(arch, ("a", "b"), 32).double()
    dilated = Classifier(arch, ("a", "b"), 8, dilated=True).double()
    dilated.load_state_dict(strided.state_dict())
    images = torch.rand(1, 3, 96, 160, dtype=torch.float64)
    wide, narrow = dilated.freeze().features(images)[-1], strided.freeze().features(images)[-1]
    assert wide.shape[-2:] == (12, 20)
    torch.testing.assert_close(wide[..., ::4, ::4], narrow)


def test_vgg_leaves_its_last_pooling_to_its_old_head():
    with torch.device("meta"):
        layers = list(feature_layers(torchvision_network("vgg16")).values())
    assert isinstance(layers[-1], nn.ReLU)


def test_layers_are_cut_before_each_stride():
    layers = [
        nn.Conv2d(3, 4, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3),
        nn.Conv2d(4, 8, 3, stride=2),
    ]
    stages = split_into_stages(layers)
    assert [len(stage) for stage in stages] == [2, 2, 1]
    assert [stage_stride(stage) for stage in stages] == [1, 2, 2]


def test_the_ways_of_imagenet_are_not_written_down():
    assert IMAGENET.to_json() == {}
    assert Preprocessing.from_json({}) == IMAGENET


@pytest.mark.parametrize(
    "given",
    [
        {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "interpolation": "bicubic"},
        {"size": 288},
        {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), "interpolation": "nearest", "size": 64},
    ],
)
def test_what_differs_is_written_as_json_and_read_back(given):
    ours = Preprocessing(**given)
    assert set(ours.to_json()) == set(given)
    assert Preprocessing.from_json(json.loads(json.dumps(ours.to_json()))) == ours
