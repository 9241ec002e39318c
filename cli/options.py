"""Command line options derived from the configs, so that defaults and help are written once."""

import functools
import inspect
import json
import logging
import sys
import tomllib
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from tcam_cache.config.base import PRESET_NAMES, Settings, default_under, mark_removed, setting_types
from tcam_cache.config.presets import is_preset_file, preset_settings, preset_text
from tcam_cache.config.stages import STAGE_CONFIGS, settings_text
from tcam_cache.errors import ConfigError, TcamCacheError
from tcam_cache.files import Place, decoded_text, parse_place
from tcam_cache.progress import QUIET, is_main_process
from tcam_cache.torchrun import require_alone


class StageCommand(click.Command):
    """A command that turns library errors into one message and exit code 1, and Ctrl-C into exit code 130."""

    def __init__(
        self, *args: Any, sections: Mapping[str, tuple[str, ...]], table: str | None, **kwargs: Any
    ) -> None:
        """Make a command.

        Args:
            args: of a click command.
            sections: in which the help lists options; options of no section come first.
            table: of a --config or --preset file that has one for each stage, whose settings this command
                takes; None for those of another kind.
            kwargs: of a click command.
        """
        super().__init__(*args, **kwargs)
        self.sections, self.table = sections, table

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, section by section."""
        titles = {name: title for title, names in self.sections.items() for name in names}
        first = "Everyday" if titles else "Options"
        records: dict[str, list[tuple[str, str]]] = {title: [] for title in (first, *self.sections)}
        for param in self.get_params(ctx):
            # Some releases of click describe arguments, too; the first line of the help has them.
            if isinstance(param, click.Option) and (record := param.get_help_record(ctx)):
                records[titles.get(param.name or "", first)].append(record)
        for title, rows in records.items():
            with formatter.section(title):
                formatter.write_dl(rows)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the command line; the error names removed options as removed."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            (name,) = mark_removed([error.option_name])
            if name == error.option_name:
                raise
            raise click.UsageError(f"No such option: {name}", ctx) from error

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except TcamCacheError as error:
            raise click.ClickException(str(error)) from error
        except KeyboardInterrupt:
            if is_main_process():
                click.echo(
                    "\nInterrupted. Everything finished so far is kept; run the same command again to go on "
                    "(classifier, train and search: with --resume).",
                    err=True,
                )
            ctx.exit(130)


def stage_command(
    config_class: type[Settings],
    *arguments: str,
    make: Callable[..., Settings] | None = None,
    alone: bool = True,
    sections: Mapping[str, tuple[str, ...]] | None = None,
) -> Callable[[Callable[[Any], Any]], click.Command]:
    """Turn a function of a config into a command with options, progress and a result on stdout.

    Args:
        config_class: its fields become options.
        arguments: fields that are positional instead.
        make: builds the config from the fields the user gave; default: the class itself.
        alone: whether to refuse several torchrun processes, which would each do all the work.
        sections: titles in the help, and the settings under each.
    """

    table = next((name for name, kind in STAGE_CONFIGS.items() if issubclass(config_class, kind)), None)

    def decorate(stage: Callable[[Any], Any]) -> click.Command:
        @click.pass_context
        def run(ctx: click.Context, /, quiet: bool, as_json: bool, **values: Any) -> None:
            QUIET.set(quiet or not is_main_process())
            _log_to_stderr(quiet)
            config = _config(make or config_class, _given(ctx, values), table)
            try:
                if alone:
                    require_alone(ctx.command.name or "")
                report = stage(config)
            except TcamCacheError as error:
                if as_json and is_main_process():
                    click.echo(json.dumps(_error_json(error), indent=2))
                raise
            if is_main_process():
                click.echo(json.dumps(report.to_json(), indent=2) if as_json else report.to_text())

        run = functools.wraps(stage)(run)
        specs = {spec.name: spec for spec in _in_order(config_class)}
        parameters = [_argument(config_class, specs.pop(name)) for name in arguments]
        for spec in specs.values():
            parameters += [_option(config_class, spec), *([_SHOW_PRESET] if spec.name == "preset" else [])]
        for parameter in reversed([*parameters, _CONFIG, _QUIET, _JSON]):
            run = parameter(run)
        name = stage.__module__.rpartition(".")[2]
        text = stage.__doc__
        return click.command(name, cls=StageCommand, sections=sections or {}, table=table, help=text)(run)

    return decorate


def _in_order(config_class: type[Settings]) -> list[Field]:
    """Return a config's settings in the order of the help: required, its own, then shared ones."""
    homes = [list(inspect.get_annotations(kind)) for kind in config_class.__mro__]

    def rank(spec: Field) -> tuple[bool, int, int]:
        """Return where a setting stands; one that is declared anew counts as the one who did so."""
        home = next(number for number, names in enumerate(homes) if spec.name in names)
        return spec.default is not MISSING, home, homes[home].index(spec.name)

    return sorted(fields(config_class), key=rank)


def _error_json(error: TcamCacheError) -> dict[str, Any]:
    # All offenders; the message on stderr shows only the first ones.
    return {"error": type(error).__name__, "message": error.message, "offenders": list(error.offenders)}


def _config(make: Callable[..., Settings], settings: dict[str, Any], table: str | None) -> Settings:
    # Invalid settings are usage errors; errors that a stage finds in files are not.
    try:
        if table and is_preset_file(settings.get("preset", "")):
            settings = {**preset_settings(settings.pop("preset"), table), **settings}
        return make(**settings)
    except ConfigError as error:
        raise click.UsageError(str(error)) from error


def _given(ctx: click.Context, values: dict[str, Any]) -> dict[str, Any]:
    # Defaults belong to the config: only values from flags or the --config file are passed on.
    untouched = (click.core.ParameterSource.DEFAULT,)
    return {key: value for key, value in values.items() if ctx.get_parameter_source(key) not in untouched}


def _argument(config_class: type[Settings], spec: Field) -> Callable:
    required = spec.default is MISSING
    name = spec.metadata["metavar"] or spec.name.upper()
    many = typing.get_origin(setting_types(config_class)[spec.name]) is tuple
    metavar = f"{name}..." if many else name
    return click.argument(
        spec.name,
        type=_type_of(config_class, spec),
        nargs=-1 if many else 1,
        metavar=metavar if required else f"[{metavar}]",
        required=required,
    )


def _option(config_class: type[Settings], spec: Field) -> Callable:
    flag = "--" + spec.name.replace("_", "-")
    required = spec.default is MISSING
    common: dict[str, Any] = {"help": spec.metadata["help"], "required": required}
    default = default_under(spec)
    if isinstance(default, bool):
        # A flag that a preset may set needs a --no- form.
        flag = f"{flag}/--no-{flag[2:]}" if default or default is not spec.default else flag
        return click.option(flag, spec.name, is_flag=True, default=default, **common)
    # A default of None would be a value to click, which then misses no option.
    if not required and default is not None:
        common |= {"default": default, "show_default": True}
    return click.option(flag, spec.name, type=_type_of(config_class, spec), **common)


def _type_of(config_class: type[Settings], spec: Field) -> Any:
    if spec.name == "preset":
        return _PresetType(PRESET_NAMES)
    if spec.metadata["choices"]:
        return click.Choice(spec.metadata["choices"])
    hint = setting_types(config_class)[spec.name]
    if typing.get_origin(hint) is tuple:
        return _TextType()
    if set(typing.get_args(Place)) <= set(typing.get_args(hint)):
        return _PlaceType()
    if isinstance(hint, types.UnionType):
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    return _PathType() if hint is Path else hint


class _PresetType(click.Choice):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if is_preset_file(value) else super().convert(value, param, ctx)

    def get_metavar(self, *args: Any, **kwargs: Any) -> str | None:
        return f"[{'|'.join(self.choices)}|FILE.toml]"


class _PathType(click.ParamType):
    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Place:
        # Path("") would be the current folder.
        if not str(value):
            self.fail(f"got nothing, as from a variable that is not set; expected a {self.name}.", param, ctx)
        return Path(value)


class _TextType(_PathType):
    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return str(value) if value else super().convert(value, param, ctx)


class _PlaceType(_PathType):
    name = "folder|url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Place:
        return parse_place(value) if value else super().convert(value, param, ctx)


def _read_config(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    if path is None:
        return
    try:
        text = decoded_text(path.read_bytes())
        values = _run_settings(text) if path.suffix == ".json" else tomllib.loads(text)
    except UnicodeError as error:
        raise click.BadParameter(f"cannot read {path}: {error}. Save it as UTF-8", ctx, param) from error
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"cannot read {path}: {error}", ctx, param) from error
    known = {one.opts[0].lstrip("-").replace("-", "_"): one for one in ctx.command.params}
    known.pop("config")
    if table := getattr(ctx.command, "table", None):
        others = [name for name, value in values.items() if name in STAGE_CONFIGS and isinstance(value, dict)]
        own = values.get(table, {}) if table in others else {}
        values = {**{name: value for name, value in values.items() if name not in others}, **own}
    if path.suffix == ".json":
        # A switch of an older version that was off changes nothing.
        values = {key: value for key, value in values.items() if key in known or value is not False}
    options = {key: known[name] for key in values if (name := key.replace("-", "_")) in known}
    unknown = mark_removed(sorted(values.keys() - options.keys()))
    if unknown:
        raise click.BadParameter(f"{path} sets what this command has not: {', '.join(unknown)}", ctx, param)
    wrong = [
        f"{options[key].opts[0]} = {value!r}"
        for key, value in values.items()
        if not _may_be_typed(value, options[key])
    ]
    if wrong:
        message = (
            f"{path} has values that no option takes: {', '.join(wrong)}. Give text, numbers, true or false"
        )
        raise click.BadParameter(message, ctx, param)
    # As text, as if typed: click would convert 1.5 epochs to 1, and true to 1.
    ctx.default_map = {options[key].name: _as_typed(value, options[key]) for key, value in values.items()}


def _as_typed(value: Any, option: click.Parameter) -> str | list[str]:
    if isinstance(value, dict):
        return settings_text(
            {key: str(one).lower() if isinstance(one, bool) else one for key, one in value.items()}
        )
    if option.nargs == 1:
        return str(value)
    return [str(one) for one in (value if isinstance(value, list) else [value])]


def _may_be_typed(value: Any, option: click.Parameter) -> bool:
    if isinstance(value, list) and option.nargs != 1:
        return all(isinstance(one, str | int | float) and not isinstance(one, bool) for one in value)
    if isinstance(value, bool):
        return isinstance(option, click.Option) and option.is_flag
    if isinstance(value, dict):
        return option.name in STAGE_CONFIGS and not any(
            isinstance(one, dict | list) for one in value.values()
        )
    return isinstance(value, str | int | float)


def _run_settings(text: str) -> dict[str, Any]:
    """Return the settings that a run's config.json holds; where it was written to, and how, are its own."""
    values = json.loads(text)
    if not isinstance(values, dict):
        raise ValueError("expected the config.json of a run")
    own = ("out", "resume", "inputs")
    return {key: value for key, value in values.items() if key not in own and value is not None}


def _show_preset(ctx: click.Context, param: click.Parameter, name: str | None) -> None:
    if name is not None:
        click.echo(preset_text(name), nl=False)
        ctx.exit()


_SHOW_PRESET = click.option(
    "--show-preset",
    type=click.Choice(PRESET_NAMES),
    is_eager=True,
    expose_value=False,
    callback=_show_preset,
    help="print a preset as TOML, for a file of your own, and do nothing else",
)
_CONFIG = click.option(
    "--config",
    type=_PathType(),
    is_eager=True,
    expose_value=False,
    callback=_read_config,
    help="TOML file with values for these options, or with a table of them for each stage, or the "
    "config.json of a run; a flag wins",
)
_QUIET = click.option("--quiet", is_flag=True, help="no progress, only warnings and the result")
_JSON = click.option("--json", "as_json", is_flag=True, help="the result, or the error, as JSON on stdout")


class _AboveTheBar(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


def _log_to_stderr(quiet: bool) -> None:
    logger = logging.getLogger("tcam_cache")
    logger.handlers = [_AboveTheBar() if is_main_process() else logging.NullHandler()]
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    logger.propagate = False
