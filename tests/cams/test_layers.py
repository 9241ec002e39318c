import pytest
import torch

from tcam_cache.cams import find_layers
from tcam_cache.cams.layers import shallow_layers
from tcam_cache.config.classifier import ARCHITECTURES
from tcam_cache.errors import ConfigError
from tcam_cache.models import Classifier


def without_numbers(arch, output_stride=8, **options):
    with torch.device("meta"):
        return Classifier(arch, ("a", "b"), output_stride, **options).eval()


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("dilated", [False, True])
def test_the_layers_run_one_after_another_are_the_stages(arch, dilated):
    model = without_numbers(arch, dilated=dilated)
    values = torch.zeros(2, 3, 224, 224, device="meta")
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
def test_layers_bear_torchvision_s_names(arch, names):
    layers = list(without_numbers(arch).layers())
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
def test_layers_are_found_by_name_each_once_in_the_order_they_run(wanted, found):
    assert find_layers(without_numbers("resnet50"), wanted) == found


def test_a_name_that_only_begins_like_a_layer_s_is_none():
    with pytest.raises(ConfigError, match="features\\.1x: no such layer"):
        find_layers(without_numbers("vgg16"), ["features.1x"])
    assert find_layers(without_numbers("vgg16"), ["features.1"]) == ("features.1",)


def test_all_faults_are_named_at_once():
    with pytest.raises(ConfigError) as caught:
        find_layers(without_numbers("resnet50"), ["layer2", "nonsense", "fc", "layer7"])
    assert [fault.partition(":")[0] for fault in caught.value.offenders] == ["nonsense", "fc", "layer7"]


def test_the_last_two_stages_are_deep():
    shallow = shallow_layers(without_numbers("resnet50"), 2)
    assert "layer2.3" in shallow and "conv1" in shallow
    assert not {"layer3.0", "layer3.5", "layer4.2"} & shallow
    # The fourth and the fifth block of VGG begin with the pooling before them.
    shallow = shallow_layers(without_numbers("vgg16"), 2)
    assert "features.15" in shallow and "features.16" not in shallow
