"""`tcam-cache`: the group of commands; each is imported on first use."""

import atexit
import difflib
import gc
import importlib

import click

from tcam_cache.version import __version__

# Otherwise a process that ends collects all that torch has made, a second before the system frees it anyway.
atexit.register(gc.freeze)

COMMANDS = (
    "locate", "demo", "manifest", "classifier", "build", "train", "search", "evaluate", "compare",
    "reproduce", "predict", "inspect", "verify", "export", "import",
)  # fmt: skip


class Stages(click.Group):
    """List commands without importing them, so that --help is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of the work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import one command."""
        if name not in COMMANDS:
            return None
        return importlib.import_module(f"tcam_cache_cli.{name}").command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the first word names, or name those that it may have meant."""
        name = args[0]
        if name not in COMMANDS and not ctx.resilient_parsing:
            near = difflib.get_close_matches(name.lower(), COMMANDS, n=2, cutoff=0.5)
            hint = (
                f"Did you mean {' or '.join(near)}?" if near else f"Those that exist: {', '.join(COMMANDS)}."
            )
            ctx.fail(f"there is no command {name!r}. {hint}")
        return super().resolve_command(ctx, args)


@click.command(cls=Stages, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="tcam-cache")
def main() -> None:
    """From one tag per video to boxes around the object in every frame (TCAM, WACV 2023).

    `locate` does all of it for tagged footage. By steps: manifest -> classifier -> build -> train -> predict,
    or evaluate; `demo` runs them on an embedded data set.
    """
