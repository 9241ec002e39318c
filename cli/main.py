"""`tcam-cache`: the group of commands, each loaded when it is asked for."""

import importlib

import click

from tcam_cache.version import __version__

COMMANDS = (
    "demo", "manifest", "classifier", "build", "train", "search", "evaluate", "predict", "inspect", "verify",
    "export", "import",
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


@click.command(cls=Stages, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="tcam-cache")
def main() -> None:
    """From one tag per video to boxes around the object in every frame (TCAM, WACV 2023).

    manifest -> classifier -> build -> train -> evaluate; `demo` runs all of them on an embedded data set.
    """
