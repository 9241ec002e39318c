import importlib
import subprocess
import sys
from types import ModuleType, SimpleNamespace

import pytest

from tcam_cache.models import backbone as torchvision_import
from tcam_cache.models.backbone import COMPILER, torchvision_models

SCRIPT = """
import sys
from tcam_cache.models.backbone import torchvision_models
models = torchvision_models()
assert torchvision_models() is models is sys.modules["torchvision.models"]
from tcam_cache.models import Classifier
Classifier("squeezenet1_1", ("bird", "cat"))
assert not {"torch._dynamo", "sympy"} & set(sys.modules)
import torch
with torch.device("meta"):
    print(sum(p.numel() for p in models.get_model("resnet18", weights=None).parameters()))
"""


def test_in_a_fresh_process_the_networks_are_there_without_a_word_on_stderr():
    done = subprocess.run([sys.executable, "-W", "error", "-c", SCRIPT], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("11689512", "")


class Imports:
    """Stands in for `importlib.import_module`: fails as told, then gives an empty module."""

    def __init__(self, *errors):
        self.errors, self.asked = list(errors), []

    def __call__(self, name):
        self.asked.append(name)
        if self.errors:
            raise self.errors.pop(0)
        return ModuleType(name)


@pytest.fixture
def declared(monkeypatch):
    """Return what the fallback declares, instead of declaring it."""
    schemas = []

    class Library:
        def __init__(self, *args):
            self.args = args

        def define(self, schema):
            schemas.append((self.args, schema.partition("(")[0]))

    monkeypatch.setattr(torchvision_import.torch.library, "Library", Library)
    monkeypatch.setattr(torchvision_import, "_declared", [])
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    return schemas


def test_where_torchvision_loads_nothing_is_declared(monkeypatch, declared):
    imports = Imports()
    monkeypatch.setattr(importlib, "import_module", imports)
    assert torchvision_models().__name__ == "torchvision.models"
    assert (imports.asked, declared) == (["torchvision.models"], [])


def test_beside_a_torch_without_its_operators_the_two_schemas_are_declared_and_it_is_tried_again(
    monkeypatch, declared
):
    imports = Imports(RuntimeError("operator torchvision::nms does not exist"))
    monkeypatch.setattr(importlib, "import_module", imports)
    sys.modules["torchvision.half"] = ModuleType("torchvision.half")
    assert torchvision_models().__name__ == "torchvision.models"
    assert [name for _, name in declared] == ["nms", "qnms"]
    assert {args for args, _ in declared} == {("torchvision", "FRAGMENT")}
    assert "torchvision.half" not in sys.modules
    assert imports.asked == ["torchvision.models"] * 2


def test_the_compiler_is_loaded_once_an_operator_asks_for_it(monkeypatch, declared):
    sys.modules.pop(COMPILER, None)
    kept = []

    def load(name):
        if name == COMPILER:
            assert COMPILER not in sys.modules
            return SimpleNamespace(is_compile_supported=lambda device: device == "cpu")
        kept.append(sys.modules[COMPILER].is_compile_supported)
        return ModuleType(name)

    monkeypatch.setattr(importlib, "import_module", load)
    torchvision_models()
    assert [kept[0](device) for device in ("cpu", "abacus")] == [True, False]


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), ImportError("no module")])
def test_another_failure_is_not_hidden(monkeypatch, declared, error):
    monkeypatch.setattr(importlib, "import_module", Imports(error))
    with pytest.raises(type(error), match=str(error)):
        torchvision_models()
    assert declared == []
