"""The README says what is true: its commands exist, its Python runs, CI calls its test command."""

import re
from pathlib import Path

import pytest

from tcam_cache_cli.main import COMMANDS

ROOT = Path(__file__).parents[1]


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
    import importlib

    shown = set()
    for line in re.findall(r"^tcam-cache .*(?:\\\n.*)*", readme, re.MULTILINE):
        command, *words = line.replace("\\\n", " ").split("#")[0].split()[1:]
        shown |= {(command, word) for word in words if word.startswith("--")}
    assert shown
    for command, option in sorted(shown):
        known = importlib.import_module(f"tcam_cache_cli.{command}").command.params
        assert any(option in parameter.opts for parameter in known), (command, option)
