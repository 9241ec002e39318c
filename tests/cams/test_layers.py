from importlib.util import find_spec

import pytest
import torch

from tcam_cache.cams import find_layers
from tcam_cache.config.classifier import ARCHITECTURES
from tcam_cache.errors import ConfigError
from tcam_cache.models import Classifier

TIMM = pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed")


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("dilated", [False, True])
def test_the_layers_run_one_after_another_are_the_stages(without_numbers, arch, dilated):
    model = without_numbers(arch, 8, dilated=dilated)
    values = torch.zeros(0, 3, 224, 224)
    shapes = [one.shape for one in model.features(values)]
    reached = []
    for layer in model.layers().values():
        values = layer(values)
        reached.append(values.shape)
    assert reached[-1] == shapes[-1]
    assert all(shape in reached for shape in shapes)


@pytest.mark.parametrize(
    ("arch", "names"),
    [
        ("resnet50", ["conv1", "bn1", "relu", "maxpool", "layer1.0", "layer3.5", "layer4.2"]),
        ("vgg16", ["features.0", "features.29"]),
        ("squeezenet1_0", ["features.0", "features.12"]),
        ("mobilenet_v3_large", ["features.0.0", "features.0.1", "features.1", "features.16.2"]),
    ],
)
def test_layers_bear_torchvision_s_names(without_numbers, arch, names):
    layers = list(without_numbers(arch, 8).layers())
    assert set(names) <= set(layers)
    assert (layers[0], layers[-1]) == (names[0], names[-1])


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (["last"], ("layer4.2",)),
        (["layer4"], ("layer4.2",)),
        (["layer4.2", "last", "layer4"], ("layer4.2",)),
        (["layer3", "layer2.0"], ("layer2.0", "layer3.5")),
        (["relu", "conv1"], ("conv1", "relu")),
    ],
)
def test_layers_are_found_by_name_each_once_in_the_order_they_run(without_numbers, wanted, found):
    assert find_layers(without_numbers("resnet50", 8), wanted) == found


def test_a_name_that_only_begins_like_a_layer_s_is_none(without_numbers):
    with pytest.raises(ConfigError, match="features\\.1x: no such layer"):
        find_layers(without_numbers("vgg16", 8), ["features.1x"])
    assert find_layers(without_numbers("vgg16", 8), ["features.1"]) == ("features.1",)


def test_all_faults_are_named_at_once(without_numbers):
    with pytest.raises(ConfigError) as caught:
        find_layers(without_numbers("resnet50", 8), ["layer2", "nonsense", "fc", "layer7"])
    assert [fault.partition(":")[0] for fault in caught.value.offenders] == ["nonsense", "fc", "layer7"]


@pytest.mark.parametrize(
    ("arch", "found"),
    [
        ("mobilenet_v2", ("features.13.conv.1.2", "features.16.conv.1.2")),
        ("mobilenet_v3_large", ("features.12.block.1.2", "features.15.block.1.2")),
        ("efficientnet_b0", ("features.5.2.block.1.2", "features.6.3.block.1.2")),
        ("squeezenet1_0", ("features.7", "features.12")),
        ("squeezenet1_1", ("features.12",)),
        ("resnet50", ("layer4.2",)),
        ("vgg16", ("features.29",)),
        ("convnext_tiny", ("features.7.2",)),
        ("shufflenet_v2_x0_5", ("conv5.2",)),
        pytest.param("timm:tf_efficientnet_lite0", ("blocks.4.2.bn2", "blocks.5.3.bn2"), marks=TIMM),
        pytest.param("timm:mobilenetv3_large_100", ("blocks.4.1.bn2", "blocks.5.2.bn2"), marks=TIMM),
        pytest.param("timm:maxvit_tiny_tf_224", ("norm",), marks=TIMM),
        pytest.param("timm:ghostnet_100", ("blocks",), marks=TIMM),
        pytest.param("timm:rexnet_100", ("features",), marks=TIMM),
        pytest.param("timm:deit_tiny_patch16_224", ("norm",), marks=TIMM),
    ],
)
def test_each_family_has_its_known_good_layers_whatever_the_output_stride(without_numbers, arch, found):
    for stride in (None, 32) if arch in ("mobilenet_v2", "efficientnet_b0", "resnet50") else (None,):
        assert find_layers(without_numbers(arch, stride), ["auto"]) == found


@pytest.mark.parametrize("arch", ["mobilenet_v2", pytest.param("timm:tf_efficientnet_lite0", marks=TIMM)])
def test_known_good_layers_are_activations_of_depthwise_convolutions_of_the_stride_before_the_last(arch):
    model = Classifier(arch, ("a", "b"), 32).freeze()
    named, shapes = model.stages.named(), {}
    for name in find_layers(model, ["auto"]):
        named[name].register_forward_hook(lambda _m, _t, given, name=name: shapes.update({name: given}))
    model(torch.rand(1, 3, 64, 64))
    first, second = shapes.values()
    assert (first.shape[-1], second.shape[-1]) == (4, 2)
    assert first.min() >= 0 and second.min() >= 0


def test_the_last_two_stages_are_deep(without_numbers):
    shallow = without_numbers("resnet50", 8).stages.before(2)
    assert "layer2.3" in shallow and "conv1" in shallow
    assert not {"layer3.0", "layer3.5", "layer4.2"} & shallow
    # The fourth and the fifth block of VGG begin with the pooling before them.
    shallow = without_numbers("vgg16", 8).stages.before(2)
    assert "features.15" in shallow and "features.16" not in shallow
