"""Read the environment variables that torchrun sets, without importing torch."""

import os

from tcam_cache.errors import ConfigError


def process_count() -> int:
    """Return the number of processes that torchrun has started, this one included; 1 without torchrun."""
    return int(os.environ["WORLD_SIZE"]) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def require_alone(command: str) -> None:
    """Make sure that torchrun has not started several processes of a command that is for one.

    Raises:
        ConfigError: there are several; each would do all the work and write the same files.
    """
    size = process_count()
    if size > 1:
        raise ConfigError(
            f"torchrun started {size} processes, but {command} is for one: only train shares its work among "
            "them. Start it without torchrun."
        )
