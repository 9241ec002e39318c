"""Tests of what every tracked file must be: clean to the linter, and at home on any machine."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

REPOSITORY = Path(__file__).parents[1]
# A path that exists on one machine only, such as somebody's home or a mounted disk.
MACHINE_PATH = re.compile(r"(?<![\w.)}<>\-:/])/(work|home|Users|root|mnt|media|scratch|tmp)/[\w.~]")


def ruff(*arguments):
    if importlib.util.find_spec("ruff") is None:
        pytest.skip("ruff is not installed")
    command = [sys.executable, "-m", "ruff", *arguments, "--no-cache", "."]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)


@pytest.mark.parametrize("arguments", [("check",), ("format", "--check")], ids=["lint", "format"])
def test_ruff_has_nothing_to_say(arguments):
    done = ruff(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_property_test_fails_because_the_machine_is_busy():
    assert (
        settings.default.deadline is None and HealthCheck.too_slow in settings.default.suppress_health_check
    )
    setting = "deadline" + "="
    files = [
        path for path in (REPOSITORY / "tests").rglob("*.py") if setting in path.read_text(encoding="utf-8")
    ]
    assert files == [REPOSITORY / "tests/conftest.py"], "the one profile decides"


def tracked_files():
    if shutil.which("git") is None or not (REPOSITORY / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return [REPOSITORY / name for name in listed.stdout.split("\0") if name]


def test_no_tracked_file_names_a_path_of_one_machine():
    found = []
    for path in tracked_files():
        if not path.is_file():
            continue
        text = path.read_bytes().decode("utf-8", "ignore")
        found += [
            f"{path.relative_to(REPOSITORY)}:{number}: {line.strip()[:80]}"
            for number, line in enumerate(text.splitlines(), start=1)
            if MACHINE_PATH.search(line)
        ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("root", ["work", "home", "Users", "tmp"])
def test_a_path_of_one_machine_is_recognised(root):
    assert MACHINE_PATH.search(f"read '/{root}/someone/data'")
    assert not MACHINE_PATH.search(f"docs/{root}/page, https://example.org/{root}/page, {root}/x, / {root}")
