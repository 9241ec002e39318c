"""A run as one graph: what other runtimes compute from it is what the run itself computes."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
import torch

from tcam_cache import CamExtractor, Localizer
from tcam_cache.errors import ConfigError, ExtraError
from tcam_cache.inference.graph import (
    PREDICTED,
    RunGraph,
    _of_convolution,
    write_onnx,
    write_torch_export,
)
from tcam_cache.models import Presence


@pytest.fixture(scope="module")
def run(small_run):
    """A run that mixes in LayerCAMs of two layers with a pooling between them, and tells presence."""
    plain = Localizer.open(small_run, "cpu").mixing("geometric")
    layers = ["features.7", "features.12"]
    extractor = CamExtractor(plain.classifier, "layercam", layers, fuse="geometric", taps=True)
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(4, plain.classifier.stages.depth, generator=generator).double()
    presence = Presence(None, weight, torch.zeros(4).double(), 0.1, 0.0, 0.5, {})
    return RunGraph(dataclasses.replace(plain, extractor=extractor, presence=presence))


@pytest.fixture(scope="module")
def batches(run):
    """One frame and three, with a given tag, the predicted one, and another."""
    generator = torch.Generator().manual_seed(1)
    _, *shape = run.examples()[0].shape
    frames = torch.randint(0, 256, (4, *shape), dtype=torch.uint8, generator=generator)
    tags = torch.tensor([2, 0, PREDICTED, 1])
    return [(frames[:1], tags[:1]), (frames[1:], tags[1:])]


def assert_same(found, wanted):
    assert list(found) == list(wanted) == ["scores", "decoder", "cam", "logits", "presence"]
    for name, values in wanted.items():
        np.testing.assert_allclose(found[name], values, rtol=0, atol=1e-4, err_msg=name)


def test_the_function_of_the_graph_is_the_localizers(run, batches):
    frames, tags = batches[1]
    found = run(frames, tags)
    predicted = int(found["logits"][1].argmax())
    wanted = run.localizer.locate(frames / 255, [0, predicted, 1])
    assert_same(found, wanted._asdict())
    other = run(frames, torch.tensor([1, 1, 1]))
    assert (other["cam"][0] - found["cam"][0]).abs().max() > 0.01


CALL = """
import sys, torch
extra = {"facts.json": ""}
program = torch.export.load("run.pt2", extra_files=extra).module()
torch.save([dict(program(*given)) for given in torch.load("batches.pt")], "found.pt")
print(extra["facts.json"])
print("tcam_cache" in sys.modules)
"""


def test_a_program_computes_what_the_run_does_and_needs_no_part_of_this_package(run, batches, tmp_path):
    write_torch_export(run, tmp_path / "run.pt2")
    torch.save(batches, tmp_path / "batches.pt")
    command = [sys.executable, "-W", "ignore", "-c", CALL]
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    facts, loaded = said.splitlines()
    for given, found in zip(batches, torch.load(tmp_path / "found.pt"), strict=True):
        assert_same(found, run(*given))
    assert json.loads(facts) == {
        "classes": ["bird", "car", "dog"], "image_size": 64, "interpolation": "bilinear",
        "tau": run.localizer.tau,
    }  # fmt: skip
    assert loaded == "False"


def test_onnx_runtime_computes_what_the_run_does(run, batches, tmp_path):
    write_onnx(run, tmp_path / "run.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "run.onnx")
    for frames, tags in batches:
        found = session.run(None, {"frames": frames.numpy(), "tags": tags.numpy()})
        names = [one.name for one in session.get_outputs()]
        assert_same(dict(zip(names, found, strict=True)), run(frames, tags))
    assert session.get_modelmeta().custom_metadata_map["facts"] == run.facts


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_without_onnx_nothing_is_traced(run, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ExtraError, match=r"tcam-cache\[onnx\]"):
        write_onnx(RunGraph(run.localizer), tmp_path / "run.onnx")
    assert not list(tmp_path.iterdir())


def test_cams_that_are_made_with_noise_have_no_graph(run):
    layers = ["features.7", "features.12"]
    noisy = CamExtractor(run.localizer.classifier, "smooth-gradcam++", layers, taps=True)
    with pytest.raises(ConfigError, match="noise"):
        _ = RunGraph(dataclasses.replace(run.localizer, extractor=noisy)).program


def test_strided_convolutions_keep_their_gradient():
    torch.manual_seed(0)
    for stride, groups, side in ((2, 1, 9), (3, 2, 10)):
        values = torch.randn(2, 4, side, side + 1, requires_grad=True)
        weight = torch.randn(6, 4 // groups, 3, 3)
        output = torch.nn.functional.conv2d(values, weight, None, stride, 1, 1, groups)
        given = torch.randn_like(output)
        how = ([stride, stride], [1, 1], [1, 1], False, [0, 0], groups, [True, False, False])
        found, *_ = _of_convolution(given, values.detach(), weight, None, *how)
        torch.testing.assert_close(found, torch.autograd.grad(output, values, given)[0])
