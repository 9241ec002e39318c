from importlib.util import find_spec

import pytest
import torch

from tcam_cache.models.renaming import timm_names
from tcam_cache.models.timm_backbone import timm_network

pytestmark = pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed")


def test_names_that_are_no_efficientnet_pytorch_s_stay():
    values = {"conv1.weight": torch.zeros(1), "_bn0.weight": torch.zeros(2)}
    assert timm_names(values, ["blocks.0.0.conv_dw.weight"]) == values
    inside = {"_blocks.0._bn1.weight": torch.zeros(1)}
    assert timm_names(inside, ["layer1.0.conv1.weight"]) == inside


def test_each_name_is_put_by_hand():
    wanted = ["blocks.0.0.conv_dw.weight", "blocks.1.0.conv_pw.weight", "blocks.1.1.conv_pw.weight"]
    names = {
        "_conv_stem.weight": "conv_stem.weight",
        "_bn0.running_mean": "bn1.running_mean",
        "_blocks.0._depthwise_conv.weight": "blocks.0.0.conv_dw.weight",
        "_blocks.0._bn1.bias": "blocks.0.0.bn1.bias",
        "_blocks.0._project_conv.weight": "blocks.0.0.conv_pw.weight",
        "_blocks.0._bn2.bias": "blocks.0.0.bn2.bias",
        "_blocks.2._expand_conv.weight": "blocks.1.1.conv_pw.weight",
        "_blocks.2._bn0.weight": "blocks.1.1.bn1.weight",
        "_blocks.2._depthwise_conv.weight": "blocks.1.1.conv_dw.weight",
        "_blocks.2._bn1.weight": "blocks.1.1.bn2.weight",
        "_blocks.2._se_reduce.bias": "blocks.1.1.se.conv_reduce.bias",
        "_blocks.2._project_conv.weight": "blocks.1.1.conv_pwl.weight",
        "_blocks.2._bn2.running_var": "blocks.1.1.bn3.running_var",
        "_conv_head.weight": "conv_head.weight",
        "_bn1.weight": "bn2.weight",
        "_fc.bias": "classifier.bias",
        "_blocks.9._bn1.weight": "_blocks.9._bn1.weight",
    }
    found = timm_names({name: torch.zeros(1) for name in names}, wanted)
    assert list(found) == list(names.values())


def as_efficientnet_pytorch(state):
    """Return the names that EfficientNet-PyTorch would have, by the order that both share."""
    first, found, block = (
        {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1"},
        {},
        -1,
    )
    expanded = {"conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv", "bn2": "_bn1",
                "conv_pwl": "_project_conv", "bn3": "_bn2"}  # fmt: skip
    plain = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
    shared = {"se.conv_reduce": "_se_reduce", "se.conv_expand": "_se_expand"}
    place = None
    for name, value in state.items():
        if not name.startswith("blocks."):
            head, _, rest = name.partition(".")
            found[f"{first[head]}.{rest}"] = value
            continue
        _, stage, index, *middle, rest = name.split(".")
        block, place = (block, place) if place == (stage, index) else (block + 1, (stage, index))
        has = any(key.startswith(f"blocks.{stage}.{index}.conv_pwl") for key in state)
        part = {**(expanded if has else plain), **shared}[".".join(middle)]
        found[f"_blocks.{block}.{part}.{rest}"] = value
    return found


@pytest.mark.parametrize(
    "name", ["tf_efficientnet_lite0", "tf_efficientnet_lite2", "tf_efficientnet_b0", "tf_efficientnet_b1"]
)
def test_every_tensor_of_an_efficientnet_finds_its_place(name):
    with torch.device("meta"):
        state = timm_network(f"timm:{name}").state_dict()
    renamed = timm_names(as_efficientnet_pytorch(state), state)
    assert list(renamed) == list(state)
    assert all(renamed[key] is value for key, value in state.items())
