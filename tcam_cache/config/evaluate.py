"""Settings of stage 3, which maps are scored by which boxes and thresholds, and of comparing its reports."""

from pathlib import Path

from tcam_cache.config.base import OptionalPathSetting, PathSetting, Settings, config, refuse_idle, setting
from tcam_cache.config.build import mixed_scales_setting, parse_scales
from tcam_cache.config.data import SPLIT_CHOICES, DataConfig
from tcam_cache.config.train import MIXES
from tcam_cache.errors import ConfigError
from tcam_cache.files import Place

THRESHOLDS = ("val", "oracle", "oracle-per-class", "otsu")
BOX_MODES = ("components", "wsol")
# Side of the map that boxes are taken from, as in the WSOL protocol.
MAP_SIZE = 224


@config
class EvaluateConfig(DataConfig):
    """Stage 3: score a run's maps, or the cached CAMs themselves, against true boxes."""

    out: PathSetting = setting(help="the report folder to write")
    run: OptionalPathSetting = setting(default=None, help="run folder written by `tcam-cache train`")
    cache: Place | None = setting(
        default=None, help="cache, a folder or a URL: score the cached CAMs themselves"
    )
    split: str = setting(default="test", help="the split that is scored", choices=SPLIT_CHOICES)
    val_split: str = setting(
        default="val", help="for --cache: the split whose boxes choose tau", choices=SPLIT_CHOICES
    )
    mix: str | None = setting(
        default=None,
        help="for --run: the decoder's maps alone, or their mean with CAMs; default: as it was trained",
        choices=MIXES,
    )
    scales: str = mixed_scales_setting()
    threshold: str = setting(default="val", help="val, oracle, oracle-per-class, otsu, or a number in [0, 1)")
    boxes: str = setting(
        default="components",
        help="components: the largest connected region; wsol: the WSOL protocol",
        choices=BOX_MODES,
    )
    map_size: int = setting(default=MAP_SIZE, help="side of the map that boxes are taken from", minimum=16)
    batch_size: int = setting(default=32, help="frames in a forward pass", minimum=1)
    cached_frames: bool = setting(default=False, help="read the frames that `build --frames` stored")
    overlays: int = setting(default=48, help="how many frames the report shows", minimum=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.run is None) == (self.cache is None):
            raise ConfigError("give exactly one of --run and --cache.")
        if self.mix and self.run is None:
            raise ConfigError("--mix is of a decoder's maps: leave it out, or give --run.")
        if self.run is None:
            refuse_idle(self, ("scales",), "--cache")
        parse_scales(self.scales)
        if self.threshold not in THRESHOLDS:
            fixed_threshold(self.threshold)


def fixed_threshold(text: str) -> float:
    """Return the number that a threshold policy names, or raise `ConfigError`."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 <= value < 1:
        raise ConfigError(
            f"got threshold {text!r}; expected one of {', '.join(THRESHOLDS)}, or a number in [0, 1)."
        )
    return value


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
