"""The grid of a search: which training options take which values, and the run of every point."""

import re
import types
import typing
from collections.abc import Mapping
from dataclasses import fields
from itertools import product
from typing import Any

from tcam_cache.config.base import REMOVED, setting_types
from tcam_cache.config.train import NOT_LEARNED, SearchConfig, TrainConfig, preset_of, with_preset
from tcam_cache.errors import ConfigError

RUNS_NAME = "runs"
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


def parse_grid(text: str) -> dict[str, tuple[Any, ...]]:
    """Return the values to try of each option that a grid names.

    Raises:
        ConfigError: an option is none or cannot be searched, or a value is of another kind (all named).

    >>> parse_grid("lr=0.1,0.01 neighbours=0..2 crf=true,false")
    {'lr': (0.1, 0.01), 'neighbours': (0, 1, 2), 'crf': (True, False)}
    """
    kinds = setting_types(TrainConfig)
    grid: dict[str, tuple[Any, ...]] = {}
    wrong = [] if text.split() else ["it is empty"]
    for word in text.split():
        option, _, values = word.partition("=")
        name = option.replace("-", "_")
        if name not in kinds or name in NOT_LEARNED or name in grid or not values:
            wrong.append(f"{word}: {_reason(name, name in kinds, name in grid)}")
            continue
        try:
            grid[name] = tuple(dict.fromkeys(parse_value(kinds[name], value) for value in _spread(values)))
        except ValueError as error:
            wrong.append(f"{word}: {error}")
    if wrong:
        raise ConfigError(
            "the grid cannot be read. Give training options with values, such as "
            '--grid "lr=0.1,0.01 neighbours=0..10".',
            wrong,
        )
    return grid


def grid_runs(config: SearchConfig) -> dict[str, tuple[dict[str, Any], TrainConfig]]:
    """Return each point's settings and config by the name of its run, in the grid's order.

    A point that names a preset takes over all that the preset sets, but for what the point itself names or
    what differs from the preset of the search.

    Raises:
        ConfigError: the grid cannot be read, or values are out of range (all named).
    """
    grid, runs, wrong = parse_grid(config.grid), {}, {}
    base = {spec.name: getattr(config, spec.name) for spec in fields(TrainConfig)}
    for values in product(*grid.values()):
        point = dict(zip(grid, values, strict=True))
        name = point_name(point)
        around = with_preset(base, point["preset"]) if "preset" in point else base
        try:
            settings = {**around, **point, "out": config.out / RUNS_NAME / name, "resume": False}
            run = TrainConfig(**{**settings, "preset": preset_of(settings)})
        except ConfigError as error:
            wrong |= dict.fromkeys(error.offenders or [error.message])
            continue
        runs[name] = (point, run)
    if wrong:
        raise ConfigError("the grid has values out of range.", wrong)
    return runs


def point_name(settings: Mapping[str, Any]) -> str:
    """Return the name of a point's run.

    >>> point_name({"lr": 0.1, "neighbours": 2})
    'lr=0.1,neighbours=2'
    """
    return ",".join(f"{key}={value}" for key, value in settings.items())


def _reason(name: str, known: bool, again: bool) -> str:
    if name in REMOVED:
        return f"the option {name!r} was removed"
    if not known:
        return f"`train` has no option {name!r}"
    if again:
        return "named twice"
    return "it changes nothing that is learned" if name in NOT_LEARNED else "expected NAME=VALUE,VALUE"


def _spread(values: str) -> list[str]:
    if match := _RANGE.fullmatch(values):
        first, last = map(int, match.groups())
        if first > last:
            raise ValueError(f"expected FIRST..LAST with FIRST at most LAST, got {values}")
        return [str(value) for value in range(first, last + 1)]
    return values.split(",")


def parse_value(hint: Any, text: str) -> Any:
    """Return the value of a setting of a type that a text stands for.

    Raises:
        ValueError: it stands for none.

    >>> parse_value(int | None, "3"), parse_value(int | None, "none"), parse_value(bool, "true")
    (3, None, True)
    """
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if text.lower() == "none" and type(None) in kinds:
        return None
    kind = kinds[0]
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(f"expected true or false, got {text!r}")
        return text.lower() == "true"
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"expected {kind.__name__}, got {text!r}") from None
