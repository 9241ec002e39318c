"""Declaration of a config's settings: a default, a one-line help, and the valid values."""

import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar, dataclass_transform

from tcam_cache.errors import ConfigError
from tcam_cache.files import parse_place, was_url

# Settings of `train` that were removed, each with the value that switched it off.
REMOVED: Mapping[str, Any] = {
    "align": False,
    "image_skip": False,
    "second_cache": None,
    "seeds_by_area": False,
}


if TYPE_CHECKING:

    class PathSetting:
        """A path: a str or a Path is given, a Path is read."""

        def __get__(self, config: object, owner: type) -> Path: ...
        def __set__(self, config: object, path: Path | str) -> None: ...

    class OptionalPathSetting:
        """A path, or None."""

        def __get__(self, config: object, owner: type) -> Path | None: ...
        def __set__(self, config: object, path: Path | str | None) -> None: ...

    class PathsSetting:
        """Several paths: one or a sequence is given, a tuple is read."""

        def __get__(self, config: object, owner: type) -> tuple[Path, ...]: ...
        def __set__(self, config: object, paths: Path | str | Sequence[Path | str]) -> None: ...
else:
    PathSetting, OptionalPathSetting, PathsSetting = Path, Path | None, tuple[Path, ...]

C = TypeVar("C", bound=type)


def setting(
    *,
    default: Any = MISSING,
    help: str,
    choices: tuple[str, ...] = (),
    minimum: float | None = None,
    maximum: float | None = None,
    metavar: str | None = None,
) -> Any:
    """Declare one field of a config: its default, its one-line help, and its valid values.

    `metavar` is the name in the help if it is a positional argument.
    """
    facts = {"help": help, "choices": choices, "minimum": minimum, "maximum": maximum, "metavar": metavar}
    return field(default=default, metadata=facts)


def root_setting() -> Any:
    """Declare where the data set of a manifest or a cache lies, for when it was moved."""
    return setting(default=None, help="where the data set lies now, if not where the manifest says")


PRESET_NAMES = ("recommended", "paper", "authors", "colocam")


@dataclass(frozen=True)
class ByPreset:
    """A default that depends on the preset.

    Attributes:
        values: the default by preset; the first is the usual preset.
    """

    values: Mapping[str, Any]

    def under(self, preset: Any) -> Any:
        """Return the default under a preset; for an unknown preset that of the usual one.

        >>> ByPreset({"usual": 1, "other": 2}).under("other")
        2
        """
        return self.values.get(str(preset), next(iter(self.values.values())))


def by_preset(*, recommended: Any, published: Any, **others: Any) -> Any:
    """Declare a default that depends on the preset; those that are not named take the published one.

    >>> by_preset(recommended=1, published=2, colocam=3).under("paper")
    2
    """
    return ByPreset({**dict.fromkeys(PRESET_NAMES, published), "recommended": recommended, **others})


def preset_values(kind: Any, preset: str) -> dict[str, Any]:
    """Return the settings of a config class that depend on the preset, with their values under one."""
    return {
        spec.name: spec.default.under(preset) for spec in fields(kind) if isinstance(spec.default, ByPreset)
    }


@cache
def setting_types(kind: type) -> Mapping[str, Any]:
    """Return the type of each setting of a config class by its name."""
    types = typing.get_type_hints(kind)
    return {spec.name: types[spec.name] for spec in fields(kind)}


def default_under(spec: Field, preset: str | None = None) -> Any:
    """Return the default of a field, under a preset if it depends on one; None is the usual preset."""
    return spec.default.under(preset) if isinstance(spec.default, ByPreset) else spec.default


def preset_setting() -> Any:
    """Declare which preset decides the defaults that depend on one."""
    return setting(
        default="recommended",
        help="recommended: what found most in real videos not learned from (extra lite); paper: its text; "
        "authors: their command; colocam: its successor; or a TOML file of your own. Decides the defaults "
        "that docs/method.md lists",
        choices=PRESET_NAMES,
    )


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(setting,))
def config(cls: C) -> C:
    """Make a frozen keyword-only dataclass whose fields are declared by `setting`."""
    return dataclass(frozen=True, kw_only=True)(cls)


@config
class Settings:
    """Validated settings of a stage; paths may be given as text."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, ByPreset):
                object.__setattr__(self, name, value.under(vars(self)["preset"]))
        for spec in fields(self):
            value, kinds = getattr(self, spec.name), _kinds(spec)
            if Path in kinds and isinstance(value, Path | str):
                object.__setattr__(self, spec.name, parse_place(value) if str in kinds else Path(value))
            elif spec.type == PathsSetting:
                object.__setattr__(self, spec.name, _paths(value))
        wrong = [message for spec in fields(self) if (message := _fault(spec, getattr(self, spec.name)))]
        if wrong:
            raise ConfigError(f"{type(self).__name__} has {len(wrong)} setting(s) out of range.", wrong)

    def absolute(self) -> Self:
        """Return the config with absolute paths, which another process reads as this one does."""
        return replace(self, **{key: _absolute(value) for key, value in vars(self).items()})

    def to_json(self, absolute: bool = False) -> dict[str, Any]:
        """Return the settings as JSON values, with paths as given or absolute."""
        return {
            key: _without_paths(_absolute(value) if absolute else value)
            for key, value in asdict(self).items()
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the config that `to_json` wrote, in this version or an earlier one.

        Raises:
            ConfigError: names are unknown or missing, or a removed setting is switched on.
        """
        values = without_removed(values)
        unknown = sorted(set(values) - {spec.name for spec in fields(cls)})
        if unknown:
            raise ConfigError(f"{cls.__name__} has no such setting. Remove it or correct its name.", unknown)
        missing = [spec.name for spec in fields(cls) if spec.default is MISSING and spec.name not in values]
        if missing:
            raise ConfigError(f"{cls.__name__} needs settings that have no default. Give them.", missing)
        return cls(**values)


@config
class Config(Settings):
    """The settings shared by all stages that compute or draw random numbers."""

    device: str = setting(default="auto", help="auto, cpu, cuda, cuda:N or mps")
    seed: int = setting(default=0, help="same seed, same result", minimum=0, maximum=2**63 - 1)


def refuse_idle(settings: Settings, names: Iterable[str], option: str) -> None:
    """Make sure that settings which mean nothing beside another one are at their defaults.

    Raises:
        ConfigError: some are not (all named).
    """
    preset = vars(settings).get("preset")
    moved = [
        spec
        for spec in fields(settings)
        if spec.name in names and getattr(settings, spec.name) != default_under(spec, preset)
    ]
    if moved:
        raise ConfigError(
            f"{len(moved)} setting(s) mean nothing with {option}. Leave them out.",
            [f"--{spec.name.replace('_', '-')}: got {getattr(settings, spec.name)}" for spec in moved],
        )


def setting_faults(kind: type[Settings], values: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with some settings of a config class, one text each.

    Names may be unknown, and values of another kind or out of range. Places are the caller's to give.
    """
    specs = {spec.name: spec for spec in fields(kind)}
    unknown = [name for name in values if name not in specs]
    places = [name for name in values if name in specs and Path in _kinds(specs[name])]
    known = [name for name in values if name not in (*unknown, *places)]
    return [
        *(f"{name}: there is no such setting" for name in mark_removed(unknown)),
        *(f"{name}: a place is no part of it" for name in places),
        *(fault for name in known if (fault := _fault(specs[name], values[name]))),
    ]


def without_removed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return stored settings without removed ones, which must be switched off.

    Raises:
        ConfigError: some are on (all named).

    >>> without_removed({"epochs": 3, "align": False})
    {'epochs': 3}
    """
    used = [f"{name}: {values[name]}" for name, off in REMOVED.items() if values.get(name, off) != off]
    if used:
        raise ConfigError(
            "it has settings on that were removed. Train anew without them in another folder, or go on "
            "with the version of tcam_cache that wrote it.",
            used,
        )
    return {name: value for name, value in values.items() if name not in REMOVED}


def mark_removed(names: Iterable[str]) -> list[str]:
    """Return unknown names of settings or options, with a note on removed ones.

    >>> mark_removed(["epohcs", "image-skip"])
    ['epohcs', 'image-skip (was removed: leave it out)']
    """
    return [
        f"{name} (was removed: leave it out)" if name.lstrip("-").replace("-", "_") in REMOVED else name
        for name in names
    ]


def _fault(spec: Any, value: Any) -> str | None:
    choices, minimum, maximum = (spec.metadata[key] for key in ("choices", "minimum", "maximum"))
    if not _fits(value, kinds := _kinds(spec)):
        return f"{spec.name}: got {value!r}, expected {' or '.join(kind.__name__ for kind in kinds)}"
    if value is None:
        return None
    for path in value if isinstance(value, tuple) else (value,):
        if isinstance(path, Path) and was_url(path):
            return f"{spec.name}: got the URL {path}, expected a path on this machine"
    if choices and value not in choices:
        return f"{spec.name}: got {value!r}, expected one of {', '.join(choices)}"
    if minimum is not None and not value >= minimum:
        return f"{spec.name}: got {value}, expected at least {minimum:g}"
    if maximum is not None and not value <= maximum:
        return f"{spec.name}: got {value}, expected at most {maximum:g}"
    return None


def _paths(value: Any) -> Any:
    """Return one path or several as a tuple of paths; what is none stays, to be refused."""
    several = [value] if isinstance(value, Path | str) else value
    if not isinstance(several, list | tuple) or not all(isinstance(one, Path | str) for one in several):
        return value
    return tuple(map(Path, several))


def _absolute(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_absolute, value))
    return value.absolute() if isinstance(value, Path) else value


def _without_paths(value: Any) -> Any:
    if isinstance(value, tuple) and any(isinstance(one, Path) for one in value):
        return [str(one) for one in value]
    return str(value) if isinstance(value, Path) else value


def _kinds(spec: Any) -> tuple[type, ...]:
    if typing.get_origin(spec.type) is tuple:
        return (tuple,)
    return typing.get_args(spec.type) or (spec.type,)


def _fits(value: Any, kinds: tuple[type, ...]) -> bool:
    # In Python True is an int; as a setting it is not a number.
    if isinstance(value, bool):
        return bool in kinds
    return isinstance(value, kinds) or (float in kinds and isinstance(value, int))
