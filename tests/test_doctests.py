"""Every example in a docstring does what it shows."""

import doctest
import importlib
import pkgutil

import pytest

import tcam_cache
import tcam_cache_cli

MODULES = [
    module.name
    for package in (tcam_cache, tcam_cache_cli)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    # Importing it runs the program.
    if not module.name.endswith("__main__")
]


def faults_of(module):
    """Return how many examples a module has, and what those that fail say."""
    said, runner = [], doctest.DocTestRunner(verbose=False)
    for test in doctest.DocTestFinder(exclude_empty=True).find(module):
        runner.run(test, out=said.append)
    return runner.summarize(verbose=False).attempted, said


def test_every_example_gives_what_it_shows():
    results = [faults_of(importlib.import_module(name)) for name in MODULES]
    assert not (said := "".join(text for _, texts in results for text in texts)), said
    assert sum(count for count, _ in results) > 100


def test_an_example_that_shows_something_else_is_found(monkeypatch):
    from tcam_cache import cells

    monkeypatch.setattr(cells.csv_text, "__doc__", ">>> csv_text('a')\n'b'\n")
    _, said = faults_of(cells)
    assert "Expected:\n    'b'" in "".join(said)


@pytest.mark.parametrize(
    "name", ["tcam_cache.models.backbone", "tcam_cache.cache.reader", "tcam_cache.cells"]
)
def test_modules_in_every_depth_are_looked_at(name):
    assert name in MODULES
