import collections
import io
import pickle
import random

import pytest
import torch
from torch import nn

from tcam_cache.cams import pretrained_network, weights_hash
from tcam_cache.cams.backbone import torchvision_network
from tcam_cache.cams.weights import parse_torch_bytes, read_state_dict
from tcam_cache.errors import WeightsError

ARCH = "squeezenet1_1"


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return torchvision_network(ARCH)


@pytest.fixture
def state(network):
    return dict(network.state_dict())


@pytest.fixture
def saved(tmp_path):
    """Return a function that saves a value and returns the file's path as text."""

    def save(value, **options):
        torch.save(value, tmp_path / "w.pt", **options)
        return str(tmp_path / "w.pt")

    return save


def test_a_plain_state_dict_is_loaded_tensor_by_tensor(state, saved):
    loaded = pretrained_network(ARCH, saved(state)).state_dict()
    assert all(torch.equal(loaded[key], state[key]) for key in state if key.startswith("features."))


@pytest.mark.parametrize(
    "head", [{}, {"classifier.1.weight": torch.zeros(7, 3)}, {"fc.weight": torch.zeros(2)}]
)
def test_the_original_classification_layers_are_ignored_by_name(state, saved, head):
    backbone = {key: value for key, value in state.items() if key.startswith("features.")}
    loaded = pretrained_network(ARCH, saved({**backbone, **head})).state_dict()
    assert torch.equal(loaded["features.0.weight"], state["features.0.weight"])


def test_none_means_random_weights_drawn_later():
    assert pretrained_network(ARCH, "none") is None


def test_every_missing_unexpected_and_misshaped_key_is_named(state, saved):
    del state["features.0.weight"], state["features.3.squeeze.bias"]
    state["features.99.weight"] = torch.zeros(1)
    state["extra"] = torch.zeros(1)
    state["features.0.bias"] = torch.zeros(63)
    path = saved(state)
    with pytest.raises(WeightsError) as caught:
        pretrained_network(ARCH, path)
    assert caught.value.offenders == (
        "missing features.0.weight",
        "unexpected features.99.weight",
        "mis-shaped features.0.bias: got (63,), expected (64,)",
        "missing features.3.squeeze.bias",
        "unexpected extra",
    )
    assert path in str(caught.value)
    assert ARCH in str(caught.value)


def test_weights_of_another_architecture_name_the_first_faults_and_count_the_rest(network, saved):
    with pytest.raises(
        WeightsError,
        match=r"do not fit resnet18[\s\S]*missing conv1.weight[\s\S]*unexpected [\s\S]*and \d+ more",
    ):
        pretrained_network("resnet18", saved(network.state_dict()))


def test_files_of_old_without_counters_of_batch_norm_are_welcome(saved):
    torch.manual_seed(0)
    values = torchvision_network("resnet18").state_dict()
    old = {key: value for key, value in values.items() if not key.endswith("num_batches_tracked")}
    loaded = pretrained_network("resnet18", saved(old)).state_dict()
    assert torch.equal(loaded["layer1.0.bn1.running_var"], values["layer1.0.bn1.running_var"])


def test_a_checkpoint_that_nests_its_state_dict_says_which_entries_are_no_tensors(state, saved):
    with pytest.raises(WeightsError, match="these entries are no tensors") as caught:
        read_state_dict(saved({"epoch": 3, "state_dict": state, "bias": torch.zeros(1)}))
    assert caught.value.offenders == ("epoch", "state_dict")


@pytest.mark.parametrize(
    ("value", "kind"),
    [([torch.zeros(1)], "list"), (torch.zeros(1), "Tensor"), ({}, "dict"), (None, "NoneType")],
)
def test_a_file_that_holds_something_else_says_what(saved, value, kind):
    with pytest.raises(WeightsError, match=rf"not a state dict: it holds a {kind}\. Expected"):
        read_state_dict(saved(value))


def test_keys_that_are_no_names_are_named(saved):
    with pytest.raises(WeightsError) as caught:
        read_state_dict(saved({0: torch.zeros(1), "a": torch.zeros(1)}))
    assert caught.value.offenders == ("0",)


def torch_bytes(value, **options):
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


BROKEN = {
    "text": b"these are the weights\n" * 20,
    "zero bytes": b"",
    "zeros": bytes(4096),
    "a pickled list": pickle.dumps([1, 2, 3]),
    "a pickled object": pickle.dumps(random.Random(0)),
    "half a zip": torch_bytes({"a": torch.zeros(500)})[:900],
    "a whole model": torch_bytes(nn.Linear(2, 2)),
    "half an old file": torch_bytes({"a": torch.zeros(500)}, _use_new_zipfile_serialization=False)[:900],
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=list(BROKEN))
def test_a_file_that_is_none_is_named_with_what_was_expected(tmp_path, content):
    path = tmp_path / "w.pt"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"w\.pt .*Expected a state dict, written by torch\.save"):
        pretrained_network(ARCH, str(path))


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("text", ""),
        ("a pickled list", ""),
        ("zero bytes", ": it is empty"),
        ("half a zip", ": it is cut short"),
        ("half an old file", ": it is cut short"),
        ("a whole model", ": it cannot be read without running code, torch.nn.modules.linear.Linear"),
    ],
)
def test_why_a_file_is_none_is_said_where_it_helps_and_nothing_of_torch_s_inside(kind, reason):
    with pytest.raises(WeightsError) as caught:
        parse_torch_bytes(BROKEN[kind], "w.pt", "Expected weights.")
    wanted = (
        f"w.pt is not a file of tensors and plain values that torch.save wrote{reason}. Expected weights."
    )
    assert str(caught.value) == wanted


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}], ids=["zip", "old"])
def test_damaged_bytes_are_a_named_error_or_a_value_never_another_error(options):
    whole, rng = torch_bytes({"a": torch.zeros(3, 4), "b": torch.ones(2)}, **options), random.Random(0)
    refused = 0
    for _ in range(300):
        data = bytearray(whole[: rng.choice([len(whole), rng.randrange(len(whole))])])
        for _ in range(rng.randrange(4)):
            data[rng.randrange(len(data))] = rng.randrange(256) if data else 0
        try:
            parse_torch_bytes(bytes(data), "w.pt", "Expected weights.")
        except WeightsError as error:
            refused += "w.pt" in str(error)
    assert refused > 100


class Harmful:
    def __reduce__(self):
        return (pytest.fail, ("code from a weights file was run",))


def test_code_in_a_weights_file_is_never_run(tmp_path):
    (tmp_path / "w.pt").write_bytes(pickle.dumps({"a": Harmful()}))
    with pytest.raises(WeightsError):
        read_state_dict(tmp_path / "w.pt")


@pytest.mark.parametrize("name", ["absent.pt", "."])
def test_a_missing_file_and_a_folder_are_named(tmp_path, name):
    with pytest.raises(WeightsError, match=r"cannot read .*(No such file|directory).*Expected a state dict"):
        pretrained_network(ARCH, str(tmp_path / name))


def test_a_download_that_fails_says_what_to_do(monkeypatch):
    def offline(*args, **options):
        raise OSError("no route to host")

    monkeypatch.setattr("tcam_cache.cams.weights.torchvision_network", offline)
    with pytest.raises(
        WeightsError, match=r"ImageNet weights of resnet50 \(no route to host\).*--weights FILE"
    ):
        pretrained_network("resnet50", "imagenet")


def test_the_hash_is_of_the_content_not_of_the_container(state, saved):
    whole = weights_hash(state)
    assert weights_hash(collections.OrderedDict(state)) == whole
    assert weights_hash(torch.load(saved(state))) == whole
    assert weights_hash(torch.load(saved(state, _use_new_zipfile_serialization=False))) == whole
    layout = {
        key: value.to(memory_format=torch.channels_last) if value.dim() == 4 else value
        for key, value in state.items()
    }
    assert weights_hash(layout) == whole
    assert weights_hash({key: nn.Parameter(value) for key, value in state.items()}) == whole


def test_the_hash_tells_values_shapes_types_names_and_order_apart():
    a, b = torch.arange(6.0).view(2, 3), torch.ones(2)
    nudged = a.clone()
    nudged[0, 0] = 1e-30
    variants = [
        {"a": a, "b": b}, {"a": nudged, "b": b}, {"a": a.view(3, 2), "b": b}, {"a": a.int(), "b": b},
        {"c": a, "b": b}, {"b": b, "a": a}, {"a": a},
    ]  # fmt: skip
    assert len({weights_hash(one) for one in variants}) == len(variants)
