"""The names of numbered classes: from a YAML file, else from the folders of the classes' files."""

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from tcam_cache.datasets.picture_files import is_picture
from tcam_cache.datasets.sampling import named_split
from tcam_cache.datasets.tables import read_text
from tcam_cache.errors import ManifestError
from tcam_cache.names import one_name

logger = logging.getLogger(__name__)

Labels = Mapping[str, Mapping[str, int]]


def read_class_names(path: Path, labels: Labels, faults: list[str]) -> dict[int, str]:
    """Return the name of every class, by number.

    Args:
        path: a YAML file: a mapping of names to numbers or of numbers to names, or a list of names. It may be
            absent; the paths of the classes' files then name them, see `names_in_paths`.
        labels: for each split the number of each path.
        faults: a text is added for each class without exactly one name.

    Raises:
        ManifestError: the file is not such YAML.
    """
    if not path.is_file():
        return names_in_paths(path, labels, faults)
    names = class_names(read_text(path, ManifestError), str(path))
    used = {number: name for paths in labels.values() for name, number in paths.items()}
    faults += (
        f"class {number} of {used[number]} is not in {path.name}"
        for number in sorted(used.keys() - names.keys())
    )
    return names


def class_names(text: str, source: str) -> dict[int, str]:
    """Return the names of classes in YAML text, by number; every name is text, also `yes` and `1`.

    Raises:
        ManifestError: the text is not YAML, or not such a mapping or list; `source` is named.

    >>> class_names("{'1': 0, yes: 1}  # no: 2", "class_id.yaml")
    {0: '1', 1: 'yes'}
    """
    try:
        # The base loader reads every scalar as text.
        root = yaml.compose(text, Loader=yaml.BaseLoader)
        pairs = list(_pairs(root))
    except (yaml.YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ManifestError(
            f"{source} is not a list of classes: {reason}. Expected lines such as `bird: 0`."
        ) from error
    if not all(number.isdecimal() for _, number in pairs):
        pairs = [(name, number) for number, name in pairs]
    wrong = [f"{name}: {number}" for name, number in pairs if not number.isdecimal()]
    names = {int(number): one_name(name) for name, number in pairs if number.isdecimal()}
    if wrong or not names or len(names) < len(pairs) or len(set(names.values())) < len(pairs):
        raise ManifestError(
            f"{source} does not give each class one name and one number. Expected lines such as `bird: 0`.",
            wrong or [f"{name}: {number}" for name, number in pairs],
        )
    return names


def class_text(numbers: Mapping[str, int]) -> str:
    """Return classes as YAML, a mapping of names to numbers on one line.

    >>> class_text({"sea bird": 0, "1": 1})
    "{sea bird: 0, '1': 1}\\n"
    """
    return yaml.safe_dump(
        dict(numbers), default_flow_style=True, sort_keys=False, allow_unicode=True, width=float("inf")
    )


def lies_in_split(path: str) -> bool:
    """Return whether a path begins with the folder of a split, numbered or not.

    >>> [lies_in_split(path) for path in ("val2/0/a.jpeg", "train/cat/1.jpg", "cat/1.jpg")]
    [True, True, False]
    """
    return bool(named_split(path.partition("/")[0].rstrip("0123456789")))


def names_in_paths(path: Path, labels: Labels, faults: list[str]) -> dict[int, str]:
    """Return the names of classes by number: the first folder of their paths, below a split's folder.

    For images without such folders (ILSVRC: val/ILSVRC2012_val_00000001.JPEG) the numbers are the names.

    Args:
        path: the YAML file that could name them, for messages.
        labels: for each split the number of each path.
        faults: a text is added for each class with several names.
    """
    listed = [name for paths in labels.values() for name in paths]
    below = all(map(lies_in_split, listed))
    folders_of: dict[int, set[str]] = defaultdict(set)
    for paths in labels.values():
        for name, number in paths.items():
            first, *rest = name.split("/")
            folders_of[number].add(rest[0] if below and len(rest) > 1 else first)
    names = {number: next(iter(folders)) for number, folders in folders_of.items()}
    if all(len(folders) == 1 for folders in folders_of.values()) and len(set(names.values())) == len(names):
        return names
    if below and all(is_picture(name) for name in listed):
        logger.warning(
            "no folder names the classes: their numbers are their names, unless %s gives some", path
        )
        return {number: str(number) for number in folders_of}
    faults += (
        f"class {number} has the names {', '.join(sorted(folders))}: name it in {path}"
        for number, folders in sorted(folders_of.items())
        if len(folders) > 1
    )
    shared = defaultdict(list)
    for number, name in sorted(names.items()):
        shared[name].append(str(number))
    faults += (
        f"classes {', '.join(numbers)} have one name, {name}: name them in {path}"
        for name, numbers in shared.items()
        if len(numbers) > 1
    )
    return {number: min(folders) for number, folders in folders_of.items()}


def _pairs(root: yaml.Node | None) -> Iterator[tuple[str, str]]:
    if isinstance(root, yaml.SequenceNode):
        entries = [(str(number), item) for number, item in enumerate(root.value)]
        yield from ((_scalar(item), number) for number, item in entries)
    elif isinstance(root, yaml.MappingNode):
        yield from ((_scalar(key), _scalar(value)) for key, value in root.value)
    else:
        raise ValueError("it is neither a mapping nor a list")


def _scalar(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise ValueError(f"line {node.start_mark.line + 1} holds more than one value")
    return str(node.value)
