"""Settings of stage 3: which maps are scored, by which boxes and thresholds; and of boxes for new frames."""

from tcam_cache.config.base import Config, OptionalPathSetting, PathSetting, PathsSetting, config, setting
from tcam_cache.config.build import parse_shard
from tcam_cache.config.data import SPLIT_CHOICES, DataConfig
from tcam_cache.config.train import MIXES
from tcam_cache.errors import ConfigError
from tcam_cache.files import Place

THRESHOLDS = ("val", "oracle", "oracle-per-class", "otsu")
OTSU = "otsu"
FORMATS = ("csv", "coco", "yolo", "cvat", "label-studio", "voc")
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
class PredictConfig(Config):
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
    overlays: bool = setting(default=True, help="draw each box into a copy of its frame")
    format: str = setting(
        default="csv", help=f"files beside boxes.csv: some of {','.join(FORMATS)}", metavar="csv,coco,..."
    )
    video: bool = setting(default=False, help="write the clip again with its boxes and sound: boxes.mp4")
    map: bool = setting(default=False, help="a light heat map in that video, too")
    report: bool = setting(default=False, help="a page with frames of every clip, the least sure first")
    embed: bool = setting(default=False, help="put its pictures into the page itself, which is then one file")
    overwrite: bool = setting(
        default=False, help="clear the boxes of another input, run or setting in the folder"
    )
    workers: int | None = setting(
        default=None,
        help="threads that decode pictures and draw, ahead of and behind the network; default: cores - 1",
        minimum=0,
    )
    jobs: int = setting(default=1, help="processes that each take one clip at a time", minimum=1)
    shard: str | None = setting(default=None, help="i/N: this machine's share of the clips, 0 <= i < N")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.source:
            raise ConfigError("there is no INPUT. Give pictures, videos, folders or manifests.")
        object.__setattr__(self, "threshold", _tau_or_otsu(self.threshold))
        parse_shard(self.shard)
        parse_formats(self.format)
        if self.map and not self.video:
            raise ConfigError("--map draws into the video: give --video, too.")
        if self.embed and not self.report:
            raise ConfigError("--embed is of the page: give --report, too.")

    @property
    def is_otsu(self) -> bool:
        """Whether each map has a threshold of its own."""
        return self.threshold == OTSU

    @property
    def formats(self) -> tuple[str, ...]:
        """The formats by name, each once."""
        return parse_formats(self.format)


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


def _tau_or_otsu(given: str | float | None) -> str | float | None:
    """Return a threshold as a number or "otsu"; other policies need true boxes, which new frames lack."""
    if given is None or given == OTSU:
        return given
    try:
        value = float(given)
    except ValueError:
        value = float("nan")
    if not 0 <= value < 1:
        raise ConfigError(f"got threshold {given}; expected a number in [0, 1), or {OTSU}.")
    return value
