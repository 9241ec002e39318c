"""Settings of the data set: how it is indexed, the embedded one, and how stages open it."""

from typing import Any

from tcam_cache.config.base import Config, OptionalPathSetting, PathSetting, config, root_setting, setting
from tcam_cache.errors import ConfigError

LAYOUTS = ("ytov1", "ytov2.2", "folders", "videos", "wsol")
# Those that bring their own boxes and splits.
PUBLISHED = ("ytov1", "ytov2.2", "wsol")
SCHEDULES = ("steps", "one-cycle")
SPLIT_CHOICES = ("train", "val", "test", "all")


@config
class ManifestConfig(Config):
    """Index a data set in place."""

    source: PathSetting = setting(help="the data set's root folder, or a CSV of video files", metavar="ROOT")
    out: PathSetting = setting(help="the manifest to write, JSON lines")
    layout: str | None = setting(
        default=None, help="how the folders are laid out; default: looked up", choices=LAYOUTS
    )
    annotations: OptionalPathSetting = setting(
        default=None,
        help="CSV: frame,class,xmin,ymin,xmax,ymax[,split]; boxes.csv, COCO, YOLO, CVAT, Label Studio, VOC",
    )
    splits: OptionalPathSetting = setting(
        default=None, help="folder of split files (wsol needs it), or a file of video,split"
    )
    split: bool = setting(
        default=True,
        help="draw val and test videos where nothing names any; --no-split: every video is for training",
    )
    write_splits: OptionalPathSetting = setting(
        default=None, help="folder: write the data set as WSOL split files, too"
    )
    orientation: str | None = setting(
        default=None,
        help="frames and boxes upright, as players show them, or as stored; default: upright, but stored for "
        "ytov1, ytov2.2 and wsol",
        choices=("upright", "stored"),
    )
    shots: bool = setting(default=True, help="cut video files into shots")
    every: int = setting(default=1, help="keep every K-th frame of a shot, and all annotated ones", minimum=1)
    fps: float | None = setting(
        default=None, help="keep at most so many frames a second (videos)", minimum=0.001
    )
    max_per_shot: int | None = setting(
        default=None, help="keep so many frames of a shot, evenly spaced", minimum=1
    )
    fraction: float = setting(
        default=1.0, help="keep this share of each class's shots, seeded", minimum=1e-9, maximum=1
    )
    follow_links: bool = setting(default=False, help="take folders and frames that are links out of ROOT")
    check: bool = setting(default=False, help="decode every frame; list everything missing or broken at once")
    skip_broken: bool = setting(
        default=False, help="decode every frame; leave out, list and count what is broken"
    )
    workers: int | None = setting(
        default=None, help="processes that decode; default: one per core", minimum=0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layout == "wsol" and self.splits is None:
            raise ConfigError("the layout wsol is what split files list: give their folder with --splits.")
        if not self.split and self.splits:
            raise ConfigError("--no-split learns from every video: leave --splits out.")
        if self.layout is None:
            return
        if self.annotations and self.layout in PUBLISHED:
            raise ConfigError(f"the layout {self.layout} brings its own boxes; leave --annotations out.")
        if self.layout != "videos" and (self.fps is not None or not self.shots):
            raise ConfigError("--fps and --no-shots are for video files: the layout videos.")
        if self.layout == "videos" and self.write_splits:
            raise ConfigError("split files list images: --write-splits is not for the layout videos.")

    @property
    def pixels_are(self) -> str:
        """The orientation of frames: as set, else that of the layout's published protocol or of players."""
        return self.orientation or ("stored" if self.layout in PUBLISHED else "upright")


@config
class DataConfig(Config):
    """The settings shared by all stages that read frames."""

    manifest: PathSetting = setting(help="manifest written by `tcam-cache manifest`")
    root: OptionalPathSetting = root_setting()
    workers: int | None = setting(
        default=None, help="processes that decode frames; default: cores - 1", minimum=0
    )


def middle_setting(default: Any) -> Any:
    """Declare which frames of a shot are learned from."""
    return setting(
        default=default,
        help="learn from frames in this middle share of each shot alone (CoLo-CAM: 0.6)",
        minimum=0,
        maximum=1,
    )


@config
class FitConfig(DataConfig):
    """The settings shared by both fits: sampling, augmentation, SGD and model selection (paper, Sec. 4.1)."""

    train_split: str = setting(
        default="train", help="the split whose tags are learned", choices=SPLIT_CHOICES
    )
    val_split: str = setting(default="val", help="the split that chooses checkpoints", choices=SPLIT_CHOICES)
    epochs: int = setting(default=100, help="passes over the shots", minimum=1)
    batch_size: int = setting(default=32, help="frames a step", minimum=1)
    lr: float = setting(default=0.001, help="learning rate at the start", minimum=0)
    frames_per_shot: int = setting(
        default=1, help="random frames of each shot an epoch draws (paper: 1)", minimum=1
    )
    middle: float = middle_setting(default=1.0)
    image_size: int = setting(
        default=224, help="side of the random crop, out of frames squashed to 256/224", minimum=32
    )
    optimiser: str = setting(
        default="sgd", help="sgd is published; adamw suits few steps", choices=("sgd", "adamw")
    )
    momentum: float = setting(default=0.9, help="Nesterov momentum", minimum=0, maximum=1)
    weight_decay: float = setting(default=1e-4, help="L2 penalty", minimum=0)
    schedule: str = setting(
        default="steps",
        help="steps: decays by --lr-step (published); one-cycle: rises, then falls to 0 as a cosine",
        choices=SCHEDULES,
    )
    lr_step: int = setting(default=15, help="epochs between two decays of the learning rate", minimum=1)
    lr_decay: float = setting(default=0.9, help="factor of each decay", minimum=0, maximum=1)
    lr_floor: float = setting(default=1e-7, help="the learning rate never falls below this", minimum=0)
    select: str = setting(
        default="val", help="keep the epoch best on val, or the last one", choices=("val", "last")
    )
    validate_every: int = setting(default=1, help="epochs between two validations", minimum=1)
    resume: bool = setting(default=False, help="go on from where the run was saved last")
    save_minutes: float = setting(default=5.0, help="a long epoch is saved this often, too", minimum=0)
    tensorboard: bool = setting(default=False, help="write the log for TensorBoard, too")

    @property
    def resize_size(self) -> int:
        """Side in pixels of the squashed frame that crops are taken from (paper: 256 for 224)."""
        return round(self.image_size * 256 / 224)


@config
class DemoConfig(Config):
    """Write the embedded data set and run every stage on it."""

    out: PathSetting = setting(help="the folder to write")
