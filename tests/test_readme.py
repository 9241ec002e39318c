"""The README says what is true: its commands exist, its Python runs, CI calls its test command."""

import ast
import importlib
import re
from pathlib import Path

import pytest

from tcam_cache_cli.main import COMMANDS

ROOT = Path(__file__).parents[1]
# Options of click's own and of other programs that the README calls.
OTHERS_OPTIONS = {"--help", "--version", "--no-python", "--nproc-per-node"}


@pytest.fixture(scope="module")
def readme():
    path = ROOT / "README.md"
    if not path.is_file():
        pytest.skip("no checkout around these tests")
    return path.read_text()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_readme(readme, command):
    assert re.search(rf"^\| `{command}[ `]", readme, re.MULTILINE)


def test_the_python_of_the_readme_runs(readme, small_cache, small_classifier, capsys):
    blocks = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        block = block.replace("demo/cache", str(small_cache)).replace("demo/g.pt", str(small_classifier))
        exec(compile(block.replace("cat/0001/001", "bird/0001/001"), "README.md", "exec"), {})
    said = capsys.readouterr().out
    assert "bird/0001/001" in said and "torch.Size([4, 3, 27, 27])" in said


def test_ci_calls_exactly_the_test_command_of_the_readme(readme):
    command = readme.split("<!-- test command -->", 1)[1].split("```sh\n")[1].split("\n```")[0]
    assert command.endswith("pytest")
    assert command in (ROOT / ".ci" / "run").read_text().splitlines()


def test_every_option_that_the_readme_shows_exists(readme):
    shown = set()
    for line in re.findall(r"^tcam-cache .*(?:\\\n.*)*", readme, re.MULTILINE):
        command, *words = line.replace("\\\n", " ").split("#")[0].split()[1:]
        shown |= {(command, word) for word in words if word.startswith("--")}
    assert shown
    for command, option in sorted(shown):
        known = importlib.import_module(f"tcam_cache_cli.{command}").command.params
        assert any(option in parameter.opts for parameter in known), (command, option)


def test_every_option_that_the_readme_names_in_passing_exists(readme):
    commands = [importlib.import_module(f"tcam_cache_cli.{name}").command for name in COMMANDS]
    known = {
        option
        for command in commands
        for parameter in command.params
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", readme))
    assert {"--out", "--no-crf"} <= named
    assert named - known <= OTHERS_OPTIONS


def literals(path):
    """Yield the strings of a module that are no docstrings; of an f-string, the parts between its values."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


def test_every_message_that_the_readme_explains_is_one_that_the_library_says(readme):
    section = readme.split("## When something fails\n", 1)[1].split("\n## ", 1)[0]
    cells = [row.split("|")[1] for row in section.splitlines() if row.startswith("| `")]
    messages = [text for cell in cells for text in re.findall("`([^`]+)`", cell)]
    assert len(messages) > 5
    said = [text for path in (ROOT / "tcam_cache").rglob("*.py") for text in literals(path)]
    for message in messages:
        # What differs from one failure to another is an ellipsis, or a word such as CACHE.
        parts = [part.strip(" :") for part in re.split(r"\.\.\.|\b(?:CACHE|ARCH)\b", message)]
        missing = [part for part in parts if not any(part in text for text in said)]
        assert not missing, message
