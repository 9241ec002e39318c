"""Tests of the house itself: who may import whom, how large its parts are, and what each of them says."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
LIBRARY = REPOSITORY / "tcam_cache"
# Floors of rooms, low to high, above the words: who stands higher may use who stands lower, never the other
# way, and no two neighbours on one floor use each other.
FLOORS = (
    {"config"},
    {"datasets", "cache", "models"},
    {"cams", "training", "evaluation"},
    {"inference"},
    {"building"},
    {"stages"},
)
ROOMS = set().union(*FLOORS)
WORDS = {
    "cells",
    "devices",
    "errors",
    "extras",
    "figures",
    "files",
    "names",
    "processes",
    "progress",
    "provenance",
    "records",
    "torchrun",
    "version",
    "window",
}
READERS = {"cache", "datasets"}
LARGEST_FUNCTION, LARGEST_MODULE = 50, 350


def sources(folder):
    return sorted(path for path in (REPOSITORY / folder).rglob("*.py"))


@cache
def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imports_of(tree, package):
    """Return the absolute dotted names that a tree imports, wherever in it, names of `from` imports included.

    `package` is where relative imports start from.
    """
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return found


@cache
def imports(path):
    return imports_of(tree_of(path), ".".join(path.relative_to(REPOSITORY).parts[:-1]))


def parts_of_the_house(path):
    """Return which top-level parts of the library a file imports; "" is the library itself."""
    own = [name.split(".") for name in imports(path) if name.split(".")[0] == "tcam_cache"]
    return {name[1] if len(name) > 1 else "" for name in own}


def packages(path):
    return {name.split(".")[0] for name in imports(path)}


def name_of(path):
    return path.relative_to(REPOSITORY).as_posix()


def rooms_below(room):
    """Return the rooms that a room may use: those of lower floors."""
    floor = next(number for number, rooms in enumerate(FLOORS) if room in rooms)
    return set().union(*FLOORS[:floor])


def test_the_house_has_the_rooms_that_are_checked_here():
    found = {path.name for path in LIBRARY.iterdir() if (path / "__init__.py").exists()}
    assert found == ROOMS
    assert {path.stem for path in LIBRARY.glob("*.py")} == WORDS | {"__init__", "__main__"}


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("import tcam_cache.cache.store", {"tcam_cache.cache.store"}),
        ("from tcam_cache import cache", {"tcam_cache.cache"}),
        ("from ..cache import store", {"tcam_cache.cache.store"}),
        ("from . import losses", {"tcam_cache.training.losses"}),
        ("def f():\n    from tcam_cache.cams import Cams", {"tcam_cache.cams.Cams"}),
    ],
)
def test_an_import_is_found_however_it_is_written(line, found):
    assert imports_of(ast.parse(line), "tcam_cache.training") == found


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_room_uses_words_and_lower_floors_alone(room):
    for path in sources(f"tcam_cache/{room}"):
        assert parts_of_the_house(path) <= WORDS | {room} | rooms_below(room), name_of(path)


@pytest.mark.parametrize("word", sorted(WORDS))
def test_a_word_uses_only_words(word):
    assert parts_of_the_house(LIBRARY / f"{word}.py") <= WORDS


def circle_of(uses):
    """Return those of {name: names it uses} that use each other in a circle, or use one that does."""
    left = dict(uses)
    while free := [name for name, needs in left.items() if not needs & set(left)]:
        for name in free:
            del left[name]
    return sorted(left)


def uses_of(room):
    """Return {module: the modules of the same room that it uses}.

    A package's own __init__ gathers names for other rooms; inside its room nobody imports it.
    """
    folder = LIBRARY / room
    found = folder.rglob("*.py") if room else folder.glob("*.py")
    modules = {dotted(path): path for path in found if path.stem != "__init__"}
    return {
        name: {
            other for other in modules if other != name and any(_names(used, other) for used in imports(path))
        }
        for name, path in modules.items()
    }


@pytest.mark.parametrize("room", ["", *sorted(ROOMS)])
def test_the_modules_of_a_room_import_each_other_without_a_circle(room):
    assert not circle_of(uses_of(room))


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_folder_in_a_room_stands_above_or_below_each_file_beside_it(room):
    depth, floors = len(dotted(LIBRARY / room).split(".")) + 1, {}
    for name, used in uses_of(room).items():
        place, *places = (".".join(one.split(".")[:depth]) for one in (name, *used))
        floors.setdefault(place, set()).update(set(places) - {place})
    assert not circle_of(floors)


def test_a_circle_is_found():
    assert circle_of({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["a", "b", "c"]
    assert not circle_of({"a": {"b", "c"}, "b": {"c"}, "c": set()})


def dotted(path):
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)


def _names(used, module):
    return used == module or used.startswith(f"{module}.")


def test_stages_are_the_commands_and_the_command_line_has_one_file_each():
    from tcam_cache_cli.main import COMMANDS

    stages = {path.stem.rstrip("_") for path in (LIBRARY / "stages").glob("*.py")} - {"__init"}
    assert stages == set(COMMANDS)
    files = {path.stem.rstrip("_") for path in (REPOSITORY / "cli").glob("*.py")}
    assert files - {"__init", "__main", "main", "options"} == set(COMMANDS)


def test_the_command_line_imports_only_stages_configs_readers_and_words():
    for path in sources("cli"):
        assert parts_of_the_house(path) <= {"stages", "config", *READERS} | WORDS - {"devices"}, name_of(path)


def test_nothing_imports_the_command_line():
    for path in sources("tcam_cache") + sources("data_manifests"):
        if path == LIBRARY / "__main__.py":  # `python -m tcam_cache` is the command line
            continue
        assert "tcam_cache_cli" not in packages(path), name_of(path)
        assert "cli" not in packages(path), name_of(path)
        assert "click" not in packages(path), name_of(path)


def test_torchvision_is_imported_in_one_module_of_models_only():
    asking = [
        name_of(path)
        for path in sources("tcam_cache") + sources("cli")
        if "torchvision" in packages(path)
        or any(
            isinstance(node, ast.Call)
            and "import_module" in ast.dump(node.func)
            and any("torchvision" in ast.dump(argument) for argument in node.args)
            for node in ast.walk(tree_of(path))
        )
    ]
    assert asking == ["tcam_cache/models/backbone.py"]


TORCHLESS = ("compare", "export", "inspect", "manifest", "verify")
LOADS_BATCHES = LIBRARY / "datasets" / "batches.py"
WITHOUT_TORCH = [
    *(
        path
        for folder in ("config", "cache", "datasets", "evaluation")
        for path in sources(f"tcam_cache/{folder}")
        if path != LOADS_BATCHES
    ),
    *(LIBRARY / "stages" / f"{name}.py" for name in TORCHLESS),
    *(LIBRARY / f"{name}.py" for name in sorted(WORDS - {"devices"})),
    *sources("cli"),
]


def test_what_reads_and_scores_never_names_torch():
    assert not [name_of(path) for path in WITHOUT_TORCH if packages(path) & {"torch", "torchvision"}]


@pytest.mark.parametrize(
    "statement",
    [
        "from tcam_cache import CamCache, Manifest, cam_tmp; import tcam_cache.evaluation",
        f"from tcam_cache.stages import {', '.join(TORCHLESS)}",
        "import tcam_cache_cli.main, tcam_cache_cli.build, tcam_cache_cli.train",
    ],
    ids=["readers", "stages", "commands"],
)
def test_in_a_fresh_process_it_loads_no_torch(statement):
    script = f"{statement}; import sys; print(sorted({{'torch', 'torchvision'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


# A second and more together, of which most commands need none.
SLOW = {"matplotlib", "scipy.optimize", "scipy.stats", "sklearn", "timm", "torchvision"}


def test_what_is_slow_to_import_is_imported_where_it_is_used():
    for path in sources("tcam_cache") + sources("cli"):
        at_once = [node for node in tree_of(path).body if isinstance(node, ast.Import | ast.ImportFrom)]
        found = imports_of(ast.Module(at_once, []), "tcam_cache")
        assert not [slow for slow in SLOW if any(_names(name, slow) for name in found)], name_of(path)


def test_the_library_neither_asserts_nor_prints():
    found = [
        f"{name_of(path)}:{node.lineno}"
        for path in sources("tcam_cache") + sources("cli")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Assert) or _is_print(node)
    ]
    assert not found


def test_functions_and_modules_stay_small():
    for path in sources("tcam_cache") + sources("cli"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= LARGEST_MODULE, name_of(path)
        long = {
            node.name: node.end_lineno - node.lineno + 1
            for node in _functions(tree_of(path))
            if node.end_lineno - node.lineno + 1 > LARGEST_FUNCTION
        }
        assert not long, name_of(path)


def test_everything_public_says_what_it_does_in_a_line():
    for path in sources("tcam_cache"):
        tree = tree_of(path)
        public = [tree] if path.read_text(encoding="utf-8").strip() else []
        public += list(_public(tree))
        silent = [getattr(node, "name", "module") for node in public if not ast.get_docstring(node)]
        assert not silent, name_of(path)
        open_ended = [
            getattr(node, "name", "module")
            for node in public
            if not _first_sentence_ends(ast.get_docstring(node))
        ]
        assert not open_ended, name_of(path)


def test_every_function_says_the_types_it_takes_and_gives():
    for path in sources("tcam_cache"):
        untyped = []
        for node in _functions(tree_of(path)):
            taken = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            taken += [one for one in (node.args.vararg, node.args.kwarg) if one]
            silent = [one.arg for one in taken if one.annotation is None and one.arg not in ("self", "cls")]
            untyped += [f"{node.name}({name})" for name in silent]
            untyped += [f"{node.name} -> ?"] if node.returns is None else []
        assert not untyped, name_of(path)


# Forked where torch is loaded and nothing of the library is: each room is the first that is imported.
OFFERS = """
import importlib, os, sys
import numpy, scipy.ndimage, skimage.filters, torch, zarr
for module in sys.argv[1:]:
    assert "tcam_cache" not in sys.modules
    if not (child := os.fork()):
        room = importlib.import_module(module)
        print(module, [name for name in room.__all__ if not hasattr(room, name)], flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


def test_what_every_room_offers_is_there_whichever_is_imported_first():
    modules = ["tcam_cache", *(f"tcam_cache.{room}" for room in sorted(ROOMS - {"stages"}))]
    done = subprocess.run([sys.executable, "-c", OFFERS, *modules], capture_output=True, text=True)
    assert done.stdout.splitlines() == [f"{module} []" for module in modules], done.stderr


def _functions(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def _is_print(node):
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"


def _public(node):
    """Find public classes and functions at the top of a module, and public methods of public classes."""
    for child in node.body:
        if isinstance(child, ast.FunctionDef) and any(
            "overload" in ast.dump(d) for d in child.decorator_list
        ):
            continue
        if isinstance(child, ast.ClassDef | ast.FunctionDef) and not child.name.startswith("_"):
            yield child
            if isinstance(child, ast.ClassDef):
                yield from _public(child)


def _first_sentence_ends(docstring):
    return docstring is not None and docstring.split("\n\n")[0].rstrip().endswith((".", ":", ";"))
