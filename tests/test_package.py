"""Tests of what the package itself offers: the twin of every command, loaded when it is asked for."""

import importlib
import inspect
import subprocess
import sys

import pytest

import tcam_cache
from tcam_cache.config.base import Settings
from tcam_cache_cli.main import COMMANDS

TWINS = {
    "locate": "locate",
    "demo": "run_demo",
    "manifest": "index_dataset",
    "classifier": "fit_classifier",
    "build": "build_cache",
    "train": "train_decoder",
    "search": "search",
    "evaluate": "evaluate",
    "compare": "compare",
    "reproduce": "reproduce",
    "predict": "predict",
    "inspect": "inspect_cache",
    "verify": "verify_cache",
    "export": "export_cache",
    "import": "import_cams",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_function_of_its_config_here(command):
    config = getattr(tcam_cache, f"{command.capitalize()}Config")
    twin = getattr(tcam_cache, TWINS[command])
    assert issubclass(config, Settings) and inspect.isfunction(twin)
    assert next(iter(inspect.signature(twin).parameters.values())).annotation is config
    # That which the command calls; `export` calls one function for caches and one for runs.
    body = inspect.getsource(importlib.import_module(f"tcam_cache_cli.{command}"))
    called = twin.__name__ if command != "export" else "export"
    assert f"from {twin.__module__} import {called}" in body


def test_a_twin_runs(small_cache):
    from tcam_cache import VerifyConfig, verify_cache

    assert verify_cache(VerifyConfig(cache=small_cache)).shots == 11


FRESH = """
import sys, tcam_cache
print("predict" in dir(tcam_cache) and "predict" in tcam_cache.__all__)
print([name for name in sys.modules if name.split(".")[0] in ("torch", "numpy", "zarr")])
print([name for name in sys.modules if name.startswith("tcam_cache.")])
import tcam_cache_cli.main
import tcam_cache.stages.build, tcam_cache.stages.predict, tcam_cache.stages.train
print(sorted({"torch", "torch._dynamo", "matplotlib", "timm", "torchvision"} & set(sys.modules)))
import tcam_cache.stages.evaluate, tcam_cache.stages.search
from tcam_cache import evaluate, predict, search
print([callable(one) for one in (evaluate, predict, search, tcam_cache.search)])
"""


@pytest.fixture(scope="module")
def fresh():
    """What a new process says of the package, of the commands, and of names after their modules."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", FRESH], capture_output=True, text=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_importing_the_package_and_listing_what_it_offers_loads_nothing(fresh):
    assert fresh[:3] == ["True", "[]", "['tcam_cache.version']"]


def test_commands_load_neither_the_compiler_nor_the_plotting_library_before_they_need_them(fresh):
    """`torch._dynamo` takes a second to import and matplotlib half of one."""
    assert fresh[3] == "['torch']"


def test_what_shares_its_name_with_a_module_is_the_function_whatever_was_imported_before(fresh):
    assert fresh[4:] == ["[True, True, True, True]"]


def test_what_it_has_not_is_an_attribute_error():
    with pytest.raises(AttributeError, match="No tcam_cache attribute bulid_cache"):
        _ = tcam_cache.bulid_cache
