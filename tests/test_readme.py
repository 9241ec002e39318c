"""README and docs say what is true: their Python runs, their links lead somewhere, their options exist.

Their commands are run in tests/cli/test_documented_commands.py.
"""

import ast
import configparser
import csv
import importlib
import os
import re
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

import tcam_cache
from tcam_cache_cli.main import COMMANDS

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
# The log tells of options of the past, too.
CURRENT = [page for page in PAGES if page.name != "log.md"]
# Options of click's own and of other programs that the pages call.
OTHERS_OPTIONS = {"--help", "--version", "--no-python", "--nproc-per-node"}
pytestmark = pytest.mark.skipif(not README.is_file(), reason="no checkout around these tests")
each_page = pytest.mark.parametrize("page", CURRENT, ids=lambda page: page.name)


def blocks(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_readme(command):
    assert re.search(rf"^\| `{command}[ `]", README.read_text(), re.MULTILINE)


def test_every_python_twin_that_the_readme_names_is_in_the_package():
    rows = re.findall(
        r"^\| `[^|]*\|[^|]*\| (.*) \|$", README.read_text().split("## From Python")[0], re.MULTILINE
    )
    named = {name for row in rows for name in re.findall(r"\b([a-z]\w+|[A-Z]\w+Config)\b(?=[()`])", row)}
    assert len(named) == 2 * len(COMMANDS) + 3
    assert named <= set(tcam_cache.__all__)


def test_the_readme_is_short():
    assert len(README.read_text().splitlines()) <= 220


def test_the_readme_leads_to_every_page():
    linked = set(re.findall(r"\(docs/([\w.]+\.md)\)", README.read_text()))
    assert {page.name for page in PAGES[1:]} <= linked


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: page.name)
def test_a_page_opens_with_what_it_answers(page):
    title, blank, first = page.read_text().splitlines()[:3]
    assert title.startswith("# ") and not blank and first[:1].isalpha()


def anchors(page):
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_within_the_pages_leads_somewhere(page):
    for target in re.findall(r"\]\(((?!https?:)[^)]+)\)", page.read_text()):
        name, _, anchor = target.partition("#")
        place = page.parent / name if name else page
        assert place.is_file(), target
        assert not anchor or anchor in anchors(place), target


@each_page
def test_every_extra_that_a_page_installs_exists(page):
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    named = re.findall(r"pip install (?:-e )?\"[\w.-]+\[([\w,]+)\]", page.read_text())
    assert {extra for names in named for extra in names.split(",")} <= set(setup["options.extras_require"])


@each_page
def test_every_program_of_the_repository_that_a_page_names_exists(page):
    for name in re.findall(r"\btests/[\w/]+\.py", page.read_text()):
        assert (ROOT / name).is_file(), name


@each_page
def test_the_python_of_a_page_runs(
    page, small_data, small_cache, small_classifier, small_run, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()
    made = {"data": small_data, "cache": small_cache, "g.pt": small_classifier, "run": small_run}
    for name, place in made.items():
        (tmp_path / "demo" / name).symlink_to(place)
    for block in blocks(page.read_text(), "python"):
        exec(compile(block.replace("cat/0001/001", "bird/0001/001"), page.name, "exec"), {})
        assert capsys.readouterr().out


def test_python_is_shown_where_it_is_asked_for():
    shown = {page.name for page in PAGES if blocks(page.read_text(), "python")}
    assert {"README.md", "cams.md", "cache.md"} <= shown


def test_ci_calls_exactly_the_test_command_of_the_readme():
    command = README.read_text().split("<!-- test command -->", 1)[1].split("```sh\n")[1].split("\n```")[0]
    assert command.endswith("pytest")
    assert command in (ROOT / ".ci" / "run").read_text().splitlines()


@each_page
def test_every_option_that_a_page_names_in_passing_exists(page):
    commands = [importlib.import_module(f"tcam_cache_cli.{name}").command for name in COMMANDS]
    known = {
        option
        for command in commands
        for parameter in command.params
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", page.read_text()))
    assert named - known <= OTHERS_OPTIONS


def test_shell_completion_is_switched_on_by_the_line_of_the_readme(tmp_path):
    (line,) = re.findall(r"`eval \"\$\(_TCAM_CACHE_COMPLETE=(\w+) tcam-cache\)\"`", README.read_text())
    program = Path(sys.executable).with_name("tcam-cache")

    def complete(**variables):
        variables = os.environ | {"_TCAM_CACHE_COMPLETE": line} | variables
        return subprocess.run([program], env=variables, capture_output=True, text=True, cwd=tmp_path).stdout

    assert "complete " in complete()
    asked = {"_TCAM_CACHE_COMPLETE": "bash_complete", "COMP_WORDS": "tcam-cache tr", "COMP_CWORD": "1"}
    assert complete(**asked).split() == ["plain,train"]


@pytest.mark.parametrize("name", ["README.md", "docs/reproduce.md"])
def test_the_papers_numbers_are_the_published_ones(name):
    rows = [
        [cell.strip() for cell in row.split("|")[1:4]]
        for row in (ROOT / name).read_text().splitlines()
        if row[:1] == "|"
    ]
    shown = {row: (v1, v2) for row, v1, v2 in rows if re.fullmatch(r"\d\d\.\d", v1)}
    files = resources.files("tcam_cache_data")
    ablation = list(csv.DictReader((files / "published_ablation.csv").read_text().splitlines()))
    corloc = list(csv.DictReader((files / "published_corloc.csv").read_text().splitlines()))
    average = {
        method: tuple(
            row["avg"] for dataset in ("ytov1", "ytov2.2") for row in corloc
            if (row["dataset"], row["method"]) == (dataset, method)
        )
        for method in ("LayerCAM", "TCAM")
    }  # fmt: skip
    assert shown.pop("Table 1, LayerCAM") == average["LayerCAM"]
    assert shown.pop("Table 1, TCAM") == average["TCAM"]
    assert [v1 for v1, _ in shown.values()] == [row["ytov1"] for row in ablation[1:]]


def literals(path):
    """Yield the strings of a module that are no docstrings; of an f-string, the parts between its values."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


def test_every_message_that_is_explained_is_one_that_the_library_says():
    cells = [
        row.split("|")[1] for row in (ROOT / "docs/errors.md").read_text().splitlines() if row[:3] == "| `"
    ]
    messages = [text for cell in cells for text in re.findall("`([^`]+)`", cell)]
    assert len(messages) > 5
    said = [text for path in (ROOT / "tcam_cache").rglob("*.py") for text in literals(path)]
    for message in messages:
        # What differs from one failure to another is an ellipsis, or a word such as CACHE.
        parts = [part.strip(" :") for part in re.split(r"\.\.\.|\b(?:CACHE|ARCH)\b", message)]
        missing = [part for part in parts if not any(part in text for text in said)]
        assert not missing, message
