"""Settings of boxes for new frames, and of the files that they are written to."""

from tcam_cache.config.base import Config, PathSetting, PathsSetting, Settings, config, setting
from tcam_cache.config.build import mixed_scales_setting, parse_scales
from tcam_cache.config.sharing import SharesConfig
from tcam_cache.config.train import MIXES
from tcam_cache.errors import ConfigError

OTSU = "otsu"
FORMATS = ("csv", "coco", "yolo", "cvat", "label-studio", "voc")


@config
class BoxFilesConfig(Settings):
    """What is written of boxes that were found, beside boxes.csv."""

    overlays: bool = setting(default=True, help="draw each box into a copy of its frame")
    format: str = setting(
        default="csv", help=f"files beside boxes.csv: some of {','.join(FORMATS)}", metavar="csv,coco,..."
    )
    video: bool = setting(default=False, help="write each clip again with its boxes and sound: boxes.mp4")
    map: bool = setting(default=False, help="a light heat map in that video and the overlays, too")
    embed: bool = setting(default=False, help="put the report's pictures into its page itself: one file")

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_formats(self.format)
        if self.map and not (self.video or self.overlays):
            raise ConfigError("--map draws into the video and the overlays: give --video, too.")

    @property
    def formats(self) -> tuple[str, ...]:
        """The formats by name, each once."""
        return parse_formats(self.format)


@config
class PredictConfig(BoxFilesConfig, SharesConfig, Config):
    """Boxes for new frames."""

    run: PathSetting = setting(help="run folder written by `tcam-cache train`")
    source: PathsSetting = setting(
        help="pictures, videos, folders of them, manifests (.jsonl), or - for a list of paths on stdin",
        metavar="INPUT",
    )
    out: PathSetting = setting(help="the folder to write")
    tag: str | None = setting(
        default=None, help="the tag of all inputs, where it is known; shots of a manifest have their own"
    )
    threshold: str | float | None = setting(
        default=None,
        help="tau in [0, 1), or otsu for each map's own; default: the run's own, from val, else 0.5",
    )
    mix: str | None = setting(
        default=None,
        help="the decoder's maps alone, or their mean with CAMs; default: as the run was trained",
        choices=MIXES,
    )
    scales: str = mixed_scales_setting()
    batch_size: int = setting(default=32, help="frames in a forward pass", minimum=1)
    presence: float | None = setting(
        default=None,
        help="a frame in which the object is less sure to be has no box; default: as the classifier chose on "
        "left-out videos; 0: every frame has one",
        minimum=0,
        maximum=1,
    )
    smooth: int | None = setting(
        default=None,
        help="boxes are medians over so many frames before and after, within a shot; default: 1 where shots "
        "are known (manifests), else 0",
        minimum=0,
    )
    report: bool = setting(default=False, help="a page with frames of every clip, the least sure first")
    overwrite: bool = setting(
        default=False, help="clear the boxes of another input, run or setting in the folder"
    )
    workers: int | None = setting(
        default=None,
        help="threads that decode pictures and draw, ahead of and behind the network; default: cores - 1",
        minimum=0,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.source:
            raise ConfigError("there is no INPUT. Give pictures, videos, folders or manifests.")
        parse_scales(self.scales)
        object.__setattr__(self, "threshold", _tau_or_otsu(self.threshold))
        if self.embed and not self.report:
            raise ConfigError("--embed is of the page: give --report, too.")


def parse_formats(text: str) -> tuple[str, ...]:
    """Return the formats that a text names by commas, each once.

    Raises:
        ConfigError: one is unknown.

    >>> parse_formats("csv, coco,csv")
    ('csv', 'coco')
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if unknown := [name for name in names if name not in FORMATS]:
        raise ConfigError(f"got format {', '.join(unknown)}; expected some of {','.join(FORMATS)}.")
    return names


def _tau_or_otsu(threshold: str | float | None) -> str | float | None:
    """Return a threshold as a number or "otsu"; other policies need true boxes, which new frames lack."""
    if threshold is None or threshold == OTSU:
        return threshold
    try:
        value = float(threshold)
    except ValueError:
        value = float("nan")
    if not 0 <= value < 1:
        raise ConfigError(f"got threshold {threshold}; expected a number in [0, 1), or {OTSU}.")
    return value
