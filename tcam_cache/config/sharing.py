"""How the work of a command is shared out: over processes, over machines, over a dask cluster."""

from tcam_cache.config.base import Settings, config, setting
from tcam_cache.errors import ConfigError

BACKENDS = ("loky", "dask")


@config
class SharesConfig(Settings):
    """The settings of every command whose shots or videos can be computed by several processes."""

    shard: str | None = setting(
        default=None, help="i/N: this machine's share of the shots or clips, 0 <= i < N"
    )
    jobs: int | None = setting(
        default=None,
        help="processes that each compute shots or clips; default: 1, with dask all workers",
        minimum=1,
    )
    backend: str = setting(
        default="loky", help="what runs the jobs: this machine, or a cluster", choices=BACKENDS
    )
    scheduler: str | None = setting(
        default=None, help="address of the dask scheduler, such as tcp://host:8786"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_shard(self.shard)
        if (self.backend == "dask") != (self.scheduler is not None):
            raise ConfigError(
                f"got backend {self.backend!r} and scheduler {self.scheduler!r}; expected --backend dask and "
                "--scheduler ADDRESS together, or neither."
            )

    @property
    def several_jobs(self) -> bool:
        """Whether other processes than this one compute."""
        return self.scheduler is not None or (self.jobs or 1) > 1


def parse_shard(text: str | None) -> tuple[int, int]:
    """Return (i, N) of a share "i/N"; None is the whole, 0/1.

    Raises:
        ConfigError: it is not of that form, or i is not below N.

    >>> parse_shard("2/3")
    (2, 3)
    """
    if text is None:
        return 0, 1
    parts = text.split("/")
    if len(parts) == 2 and all(part.isdecimal() for part in parts) and int(parts[0]) < int(parts[1]):
        return int(parts[0]), int(parts[1])
    raise ConfigError(f"got shard {text!r}; expected i/N with 0 <= i < N, such as 0/4.")
