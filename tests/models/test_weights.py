import argparse
import collections
import gzip
import hashlib
import io
import logging
import pathlib
import pickle
import random
import socket
import zipfile
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from safetensors.torch import save as safetensors_bytes
from torch import nn
from torch.optim.swa_utils import AveragedModel

from tcam_cache.errors import WeightsError
from tcam_cache.models import pretrained_network, weights_hash
from tcam_cache.models.backbone import torchvision_network
from tcam_cache.models.timm_backbone import timm_library, timm_network
from tcam_cache.models.weights import PACKAGED, Packaged, packaged_file, parse_torch_bytes, read_state_dicts

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


def prefixed(state, prefix):
    return {prefix + key: value for key, value in state.items()}


WRAPPINGS = {
    "DataParallel": lambda state: prefixed(state, "module."),
    "torch.compile": lambda state: prefixed(state, "_orig_mod."),
    "both": lambda state: prefixed(state, "_orig_mod.module."),
    "inside": lambda state: {key.replace("features.", "features.module."): v for key, v in state.items()},
    "an attribute": lambda state: prefixed(state, "model.backbone."),
    "an encoder and a head": lambda state: {**prefixed(state, "encoder."), "projector.weight": torch.ones(2)},
    "Lightning": lambda state: {
        "epoch": 3, "hyper_parameters": {"lr": 0.1}, "callbacks": {"a": {"best": torch.ones(1)}},
        "state_dict": {**prefixed(state, "net."), "criterion.weight": torch.ones(2)},
    },
    "arguments beside it": lambda state: {
        "model_state_dict": state, "args": argparse.Namespace(lr=0.1, data=pathlib.PosixPath("data")),
        "best": np.float64(0.5), "history": np.zeros(3, np.float32), "best_acc1": torch.ones(1),
    },
    "an optimiser beside it": lambda state: {
        "model": state, "optimizer": {"state": {0: {"step": torch.ones(1)}}, "param_groups": [{"lr": 0.1}]},
    },
    "deep": lambda state: {"checkpoint": {"trainer": {"net": state}}},
    "an epoch among the tensors": lambda state: {**state, "epoch": 3},
    "twice the same": lambda state: {"model": state, "best": dict(state)},
}  # fmt: skip


@pytest.mark.parametrize("wrapping", WRAPPINGS.values(), ids=list(WRAPPINGS))
def test_the_wrappings_of_training_code_are_taken_off(state, saved, wrapping):
    loaded = pretrained_network(ARCH, saved(wrapping(state))).state_dict()
    assert all(torch.equal(loaded[key], state[key]) for key in state if key.startswith("features."))


def test_averaged_models_and_half_precision_are_read(network, state, saved):
    loaded = pretrained_network(ARCH, saved(AveragedModel(network).half().state_dict())).state_dict()
    key = "features.0.weight"
    assert loaded[key].dtype == torch.float32 and torch.equal(loaded[key], state[key].half().float())


def test_of_a_model_and_its_running_mean_the_mean_is_taken_and_said(state, saved, caplog):
    mean = {key: value + 1 for key, value in state.items()}
    with caplog.at_level(logging.INFO, "tcam_cache"):
        loaded = pretrained_network(ARCH, saved({"model": state, "model_ema": prefixed(mean, "module.")}))
    assert torch.equal(loaded.state_dict()["features.0.weight"], mean["features.0.weight"])
    assert "w.pt: took the weights in 'model_ema'" in caplog.text


def test_several_networks_of_the_architecture_are_refused_with_their_names(state, saved):
    other = {key: value + 1 for key, value in state.items()}
    values = {**prefixed(state, "student."), **prefixed(other, "teacher.")}
    with pytest.raises(WeightsError, match="several networks of squeezenet1_1") as caught:
        pretrained_network(ARCH, saved({"state_dict": values}))
    assert caught.value.offenders == ("'state_dict' under 'student.'", "'state_dict' under 'teacher.'")


def test_a_wrapped_network_that_lacks_a_layer_is_not_taken_for_another_architecture(state, saved):
    del state["features.0.bias"]
    with pytest.raises(WeightsError) as caught:
        pretrained_network(ARCH, saved(prefixed(state, "module.model.")))
    assert caught.value.offenders == ("missing features.0.bias",)


def test_weights_of_an_architecture_that_is_known_name_it(saved):
    values = torchvision_network("resnet34").state_dict()
    with pytest.raises(WeightsError, match=r"do not fit resnet18\. They are those of resnet34: give --arch"):
        pretrained_network("resnet18", saved(prefixed(values, "module.")))


def test_weights_with_other_names_show_some_of_them(saved):
    with pytest.raises(WeightsError, match=r"They hold 2 tensors, such as 0\.weight, 0\.bias\. Give"):
        pretrained_network("resnet18", saved(nn.Sequential(nn.Linear(2, 2)).state_dict()))


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (
            lambda value: value.to(torch.int8),
            "mis-typed features.0.bias: got torch.int8, expected floating point",
        ),
        (lambda value: value / 0, "not finite: features.0.bias"),
    ],
)
def test_numbers_that_are_no_weights_are_named(state, saved, damage, fault):
    state["features.0.bias"] = damage(torch.ones(64))
    with pytest.raises(WeightsError, match="Their numbers are damaged") as caught:
        pretrained_network(ARCH, saved(state))
    assert caught.value.offenders == (fault,)


def test_safetensors_are_read_whatever_their_name(state, tmp_path):
    path = tmp_path / "w.pt"
    path.write_bytes(safetensors_bytes(prefixed(state, "model.")))
    loaded = pretrained_network(ARCH, str(path)).state_dict()
    assert torch.equal(loaded["features.0.weight"], state["features.0.weight"])
    for short in (9, 500, 5000):
        path.write_bytes(path.read_bytes()[:short])
        with pytest.raises(WeightsError, match=r"w\.pt is a damaged \.safetensors file \("):
            pretrained_network(ARCH, str(path))


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ([torch.zeros(1)], "list"),
        (torch.zeros(1), "Tensor"),
        ({}, "dict without tensors by name"),
        (None, "NoneType"),
    ],
)
def test_a_file_that_holds_something_else_says_what(saved, value, kind):
    with pytest.raises(WeightsError, match=rf"not a state dict: it holds a {kind}\. Expected"):
        read_state_dicts(saved(value))


def test_a_checkpoint_without_tensors_names_what_it_holds(saved):
    with pytest.raises(WeightsError) as caught:
        read_state_dicts(saved({"epoch": 3, 0: torch.zeros(1)}))
    assert caught.value.offenders == ("epoch", "0")


def torch_bytes(value, **options):
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def zipped(**files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


BROKEN = {
    "a pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9\n",
    "a web page": b"\n<!DOCTYPE html><html></html>",
    "gzip": gzip.compress(b"weights"),
    "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(100),
    "a zip of files": zipped(**{"resnet18.pth": b"weights"}),
    "a program": zipped(**{"net/data.pkl": b"", "net/constants.pkl": b"", "net/code/net.py": b""}),
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
        ("a pointer", ": it is a pointer of Git LFS; fetch the file with `git lfs pull`"),
        ("a web page", ": it is a web page or other markup, not what the download was to be"),
        ("gzip", ": it is compressed by gzip; unpack it"),
        ("HDF5", ": it is an HDF5 file, as Keras writes them"),
        ("a zip of files", ": it is a zip archive of resnet18.pth; unpack it"),
        ("a program", ": it is a program of torch.jit; save the state_dict() of what torch.jit.load returns"),
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
        read_state_dicts(tmp_path / "w.pt")


@pytest.mark.parametrize("name", ["absent.pt", "."])
def test_a_missing_file_and_a_folder_are_named(tmp_path, name):
    with pytest.raises(WeightsError, match=r"cannot read .*(No such file|directory).*Expected a state dict"):
        pretrained_network(ARCH, str(tmp_path / name))


def test_a_download_that_fails_says_what_to_do(monkeypatch):
    def offline(*args, **options):
        raise OSError("no route to host")

    monkeypatch.setattr("tcam_cache.models.weights.torchvision_network", offline)
    with pytest.raises(
        WeightsError,
        match=r"ImageNet weights of resnet50 \(no route to host\).*pip install \"tcam-cache\[lite\]\"`, then "
        r"--arch timm:tf_efficientnet_lite0\. .*--weights FILE",
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


LITE = "timm:tf_efficientnet_lite0"
needs_timm = pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed")
needs_lite = pytest.mark.skipif(
    find_spec("timm") is None or find_spec(PACKAGED[LITE].package) is None,
    reason="the extra is not installed",
)


@needs_lite
def test_lite0_s_imagenet_weights_come_from_the_package_without_a_download(monkeypatch):
    def refused(*_given, **_named):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refused)
    loaded = pretrained_network(LITE, "imagenet").state_dict()
    packaged = torch.load(packaged_file(PACKAGED[LITE]), weights_only=True)
    assert torch.equal(loaded["conv_stem.weight"], packaged["_conv_stem.weight"])
    assert torch.equal(loaded["blocks.6.0.bn3.running_var"], packaged["_blocks.15._bn2.running_var"])
    assert torch.equal(loaded["bn2.weight"], packaged["_bn1.weight"])
    from_file = pretrained_network(LITE, str(packaged_file(PACKAGED[LITE]))).state_dict()
    assert weights_hash(from_file) == weights_hash(loaded)


@pytest.fixture
def fake_package(tmp_path, monkeypatch):
    """Return a function that puts a package with one file, or none, where Python finds it."""

    def make(content):
        folder = tmp_path / "weights_of_a_test"
        folder.mkdir()
        (folder / "__init__.py").write_text("raise ImportError('its code is not needed')")
        if content is not None:
            (folder / "w.pth").write_bytes(content)
        monkeypatch.syspath_prepend(tmp_path)
        return Packaged("weights_of_a_test", "w.pth", hashlib.sha256(b"weights").hexdigest())

    return make


def test_a_packaged_file_is_found_without_running_the_package(fake_package):
    assert packaged_file(fake_package(b"weights")).read_bytes() == b"weights"
    assert packaged_file(Packaged("no_such_package", "w.pth", "")) is None


@pytest.mark.parametrize("content", [b"other weights", b"", None])
def test_a_packaged_file_that_is_another_is_refused(fake_package, content):
    with pytest.raises(WeightsError, match=r"w\.pth is missing or not .* SHA-256.*tcam-cache\[lite\]"):
        packaged_file(fake_package(content))


@needs_timm
@pytest.mark.parametrize(
    ("arch", "said"), [(LITE, r"tcam-cache\[lite\]"), ("timm:resnet18", "--arch timm:tf_efficientnet_lite0")]
)
def test_a_download_of_timm_s_that_fails_says_what_to_do(monkeypatch, arch, said):
    def offline(*_given, pretrained=False, **_named):
        if pretrained:
            raise OSError("no route to host")
        return network

    network = torch.nn.Identity()
    monkeypatch.setattr(timm_library(), "create_model", offline)
    monkeypatch.setattr("tcam_cache.models.weights.packaged_file", lambda _packaged: None)
    with pytest.raises(WeightsError, match=rf"weights of {arch} \(no route to host\).*{said}"):
        pretrained_network(arch, "imagenet")


@needs_timm
def test_timm_s_weights_are_checked_key_by_key_like_any(saved):
    state = dict(timm_network("timm:test_efficientnet").state_dict())
    loaded = pretrained_network(
        "timm:test_efficientnet", saved({**state, "classifier.weight": torch.zeros(1)})
    )
    assert weights_hash(loaded.state_dict()) == weights_hash(state)
    del state["conv_stem.weight"]
    with pytest.raises(WeightsError) as caught:
        pretrained_network("timm:test_efficientnet", saved(state))
    assert caught.value.offenders == ("missing conv_stem.weight",)
