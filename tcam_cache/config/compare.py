"""Settings of a comparison of evaluations."""

from pathlib import Path

from tcam_cache.config.base import PathSetting, Settings, config, setting
from tcam_cache.errors import ConfigError


@config
class CompareConfig(Settings):
    """Compare evaluations of the same frames."""

    reports: tuple[str, ...] = setting(
        help="report folders written by `tcam-cache evaluate`, or NAME=FOLDER", metavar="REPORT"
    )
    out: PathSetting = setting(help="the folder to write")
    baseline: str | None = setting(
        default=None, help="the system or report that differences are taken from; default: the first"
    )
    resamples: int = setting(
        default=10_000, help="bootstrap resamples of the videos", minimum=100, maximum=1_000_000
    )
    seed: int = setting(default=0, help="same seed, same intervals", minimum=0, maximum=2**63 - 1)
    overwrite: bool = setting(default=False, help="replace another comparison in the folder")

    def __post_init__(self) -> None:
        if isinstance(self.reports, list | tuple):
            paths = (str(one) if isinstance(one, Path) else one for one in self.reports)
            object.__setattr__(self, "reports", tuple(paths))
        super().__post_init__()
        wrong = [f"got {one!r}" for one in self.reports if not isinstance(one, str) or not one]
        if wrong or not self.reports:
            raise ConfigError("expected report folders, or NAME=FOLDER. Give at least one.", wrong)
