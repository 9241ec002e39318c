"""The frozen settings of every stage. Each default lives here once; the command line reads it from here."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from tcam_cache.errors import ConfigError
from tcam_cache.place import Place
from tcam_cache.settings import ByPreset, Config, by_preset, setting
from tcam_cache.window import MODES

ARCHITECTURES = (
    "resnet18", "resnet34", "resnet50", "vgg16", "squeezenet1_0", "squeezenet1_1", "mobilenet_v3_large",
)  # fmt: skip
PRECISIONS = ("none", "bf16")
LAYOUTS = ("ytov1", "ytov2.2", "folders", "videos", "wsol")
SPLIT_CHOICES = ("train", "val", "test", "all")
THRESHOLDS = ("val", "oracle", "oracle-per-class", "otsu")
BOX_MODES = ("components", "wsol")
PRESET_NAMES = ("recommended", "paper", "authors")

# Upstream's permutohedral lattice returns about 0.6 of the exact Gaussian sum; lambda = 2e-9 was tuned to it.
LATTICE_GAIN = 0.6
# Side of the map that boxes are taken from, as in the WSOL protocol.
MAP_SIZE = 224


@dataclass(frozen=True, kw_only=True)
class ManifestConfig(Config):
    """Index a data set in place."""

    source: Path = setting(help="the data set's root folder, or a CSV of video files", shown="ROOT")
    layout: str = setting(help="how the folders are laid out", choices=LAYOUTS)
    out: Path = setting(help="the manifest to write, JSON lines")
    annotations: Path | None = setting(None, help="CSV: frame,class,xmin,ymin,xmax,ymax[,split]")
    splits: Path | None = setting(
        None, help="folder of split files (wsol needs it), or a file of video,split"
    )
    write_splits: Path | None = setting(None, help="folder: write the data set as WSOL split files, too")
    orientation: str | None = setting(
        None,
        help="frames and boxes upright, as players show them, or as stored; default: upright, but stored for "
        "ytov1, ytov2.2 and wsol",
        choices=("upright", "stored"),
    )
    shots: bool = setting(True, help="cut video files into shots")
    every: int = setting(1, help="keep every K-th frame of a shot, and all annotated ones", least=1)
    fps: float | None = setting(None, help="keep at most so many frames a second (videos)", least=0.001)
    max_per_shot: int | None = setting(None, help="keep so many frames of a shot, evenly spaced", least=1)
    fraction: float = setting(1.0, help="keep this share of each class's shots, seeded", least=1e-9, most=1)
    follow_links: bool = setting(False, help="take folders and frames that are links out of ROOT")
    check: bool = setting(False, help="decode every frame; list everything missing or broken at once")
    skip_broken: bool = setting(False, help="decode every frame; leave out, list and count what is broken")
    workers: int | None = setting(None, help="processes that decode; default: one per core", least=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layout == "wsol" and self.splits is None:
            raise ConfigError("the layout wsol is what split files list: give their folder with --splits.")
        if self.annotations and self.layout not in ("folders", "videos"):
            raise ConfigError(f"the layout {self.layout} brings its own boxes; leave --annotations out.")
        if self.layout != "videos" and (self.fps is not None or not self.shots):
            raise ConfigError("--fps and --no-shots are for video files: the layout videos.")
        if self.layout == "videos" and self.write_splits:
            raise ConfigError("split files list images: --write-splits is not for the layout videos.")

    @property
    def pixels_are(self) -> str:
        """How frames are read: as asked for, else as the layout's published protocol or players have it."""
        return self.orientation or ("upright" if self.layout in ("folders", "videos") else "stored")


@dataclass(frozen=True, kw_only=True)
class DataConfig(Config):
    """What every stage that reads frames shares."""

    manifest: Path = setting(help="manifest written by `tcam-cache manifest`")
    root: Path | None = setting(None, help="where the data set lies now, if not where the manifest says")
    workers: int | None = setting(None, help="processes that decode frames; default: cores - 1", least=0)


@dataclass(frozen=True, kw_only=True)
class FitConfig(DataConfig):
    """What the two fitted stages share: sampling, augmentation, SGD and model selection (paper, Sec. 4.1)."""

    train_split: str = setting("train", help="the split whose tags are learned", choices=SPLIT_CHOICES)
    val_split: str = setting("val", help="the split that chooses checkpoints", choices=SPLIT_CHOICES)
    epochs: int = setting(100, help="passes over the shots", least=1)
    batch_size: int = setting(32, help="frames a step", least=1)
    lr: float = setting(0.001, help="learning rate at the start", least=0)
    frames_per_shot: int = setting(1, help="random frames of each shot an epoch draws (paper: 1)", least=1)
    image_size: int = setting(
        224, help="side of the random crop, out of frames squashed to 256/224", least=32
    )
    optimiser: str = setting("sgd", help="sgd is published; adamw suits few steps", choices=("sgd", "adamw"))
    momentum: float = setting(0.9, help="Nesterov momentum", least=0, most=1)
    weight_decay: float = setting(1e-4, help="L2 penalty", least=0)
    lr_step: int = setting(15, help="epochs between two decays of the learning rate", least=1)
    lr_decay: float = setting(0.9, help="factor of each decay", least=0, most=1)
    lr_floor: float = setting(1e-7, help="the learning rate never falls below this", least=0)
    select: str = setting("val", help="keep the epoch best on val, or the last one", choices=("val", "last"))
    validate_every: int = setting(1, help="epochs between two validations", least=1)
    resume: bool = setting(False, help="go on from where the run was saved last")
    save_minutes: float = setting(5.0, help="a long epoch is saved this often, too", least=0)
    tensorboard: bool = setting(False, help="write the log for TensorBoard, too")

    @property
    def resize_size(self) -> int:
        """Side in pixels of the squashed frame that crops are taken from (paper: 256 for 224)."""
        return round(self.image_size * 256 / 224)


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig(FitConfig):
    """Stage 0: fit the classifier g on tags alone."""

    out: Path = setting(help="the classifier file to write, g.pt")
    arch: str = setting("resnet50", help="torchvision backbone", choices=ARCHITECTURES)
    weights: str = setting("imagenet", help="imagenet (downloaded), none, or a state-dict file")
    output_stride: int | None = setting(None, help="8, 16 or 32; default: 8, the published setting")
    dilated: bool = setting(False, help="dilate kernels where strides are removed; for --freeze-backbone")
    freeze_backbone: bool = setting(False, help="fit the linear head alone")
    loss: str = setting(
        "cross-entropy",
        help="softmax cross-entropy (published), or one logistic loss a class",
        choices=("cross-entropy", "one-vs-rest"),
    )
    lr_last_stage: float = setting(10.0, help="learning-rate factor of the last stage and the head", least=0)


@dataclass(frozen=True, kw_only=True)
class TrainConfig(FitConfig):
    """Stage 2: train the decoder f on pseudo-labels from CAM-TMP (TCAM Eq. 1-5).

    What a preset sets and is not given is as the preset has it: `TrainConfig(preset="paper", ...)`.
    """

    cache: Place = setting(help="cache written by `tcam-cache build`: a folder, or a URL")
    out: Path = setting(help="the run folder to write")
    preset: str = setting(
        "recommended",
        help="recommended: best on real video here; paper: its text; authors: their command. "
        "Sets --fg-top, --bg-low, --pixels, --dilate, --cross-entropy",
        choices=PRESET_NAMES,
    )
    lr: float = setting(0.01, help="learning rate at the start", least=0)
    neighbours: int = setting(1, help="n of S(C_t, n), Eq. 1 (paper: 1)", least=0)
    window: str = setting(
        "before",
        help="where the n neighbours lie: before (published), after, or both sides (2n)",
        choices=MODES,
    )
    frames_together: int = setting(
        1,
        help="draw clips of so many consecutive frames of a shot under one crop, each whole in one batch",
        least=1,
    )
    cached_frames: bool = setting(False, help="read the frames that `build --frames` stored")
    fg_top: float = setting(
        by_preset(recommended=0.1, paper=1.0, authors=0.6),
        help="foreground seeds come from this top fraction of C+ (1 = all)",
        least=0,
        most=1,
    )
    bg_low: float | None = setting(
        by_preset(recommended=None, paper=None, authors=0.1),
        help="background seeds: this lowest fraction of all pixels; default: all of C-",
        least=0,
        most=1,
    )
    pixels: int = setting(
        by_preset(recommended=100, paper=1, authors=1), help="seeds per frame and class", least=1
    )
    fg_level: float = setting(
        0.0, help="foreground seeds are at least this share of the map's maximum", least=0, most=1
    )
    dilate: bool = setting(
        by_preset(recommended=False, paper=False, authors=True), help="grow each seed to 3x3"
    )
    cross_entropy: str = setting(
        by_preset(recommended="batch-mean", paper="frame-sum", authors="batch-mean"),
        help="average over the batch's labelled pixels, or sum over each frame's",
        choices=("batch-mean", "frame-sum"),
    )
    crf: bool = setting(True, help="the dense-CRF term")
    crf_weight: float = setting(2e-9, help="lambda of the dense-CRF term at 224 pixels", least=0)
    lattice_gain: float = setting(
        LATTICE_GAIN,
        help="factor on the CRF term: the published filter returned 0.6 of the exact sum; 1 = exact",
        least=0,
    )
    colour_crf_weight: float = setting(
        0.0,
        help="lambda of a CRF over the colours of all frames together, on the scale of crf-weight",
        least=0,
    )
    landmarks: int = setting(144, help="Nystroem landmarks of the CRF filter", least=1)
    asc: bool = setting(True, help="the absolute size constraint")
    asc_weight: float = setting(0.01, help="weight of the absolute size constraint", least=0)
    barrier_t: float = setting(1.0, help="t of the log barrier in the first epoch", least=0)
    barrier_growth: float = setting(1.01, help="t grows by this factor every epoch", least=1)
    barrier_cap: float = setting(10.0, help="t never exceeds this", least=0)
    decoder_width: float = setting(1.0, help="factor on the decoder's channels", least=0)
    amp: str = setting(
        "auto",
        help="precision of encoder and decoder in a step: auto is bf16 on CUDA, none elsewhere",
        choices=("auto", *PRECISIONS),
    )
    compile: bool = setting(False, help="run encoder and decoder through torch.compile")

    def __post_init__(self) -> None:
        left = {name: default for name, default in vars(self).items() if isinstance(default, ByPreset)}
        for name, default in left.items():
            object.__setattr__(self, name, default.under(self.preset))
        super().__post_init__()
        # All of them are given where another preset's name was put on a finished config by `replace`.
        if not left and (preset := preset_of(vars(self))) != self.preset:
            raise ConfigError(
                f"got the preset {self.preset!r} with all the settings of {preset!r}. Give those that differ "
                f"from {self.preset!r} alone, or {preset!r}."
            )
        if self.batch_size % self.frames_together:
            raise ConfigError(
                f"got batches of {self.batch_size} frames, {self.frames_together} of a shot together; "
                "expected whole clips. Make --batch-size a multiple of --frames-together."
            )
        if self.colour_crf_weight > 0 and self.frames_together == 1:
            raise ConfigError(
                f"got a colour CRF of weight {self.colour_crf_weight:g} over frames alone; expected several "
                "of a shot together. Give --frames-together 2 or more, or leave --colour-crf-weight out."
            )

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the config that `to_json` wrote; see `Config.from_json`.

        Earlier versions could write one preset's name beside another's settings: the settings are right.
        """
        return super().from_json({**values, "preset": preset_of(values)} if "preset" in values else values)


def preset_of(values: Mapping[str, Any]) -> Any:
    """Return the preset that settings are named after, or another one if they are all that one's.

    >>> preset_of({"preset": "paper", "pixels": 5})
    'paper'
    """
    decided = [spec for spec in fields(TrainConfig) if isinstance(spec.default, ByPreset)]

    def fits(preset: str) -> bool:
        """Tell whether all that presets decide is as this one has it."""
        return all(
            spec.name in values and values[spec.name] == spec.default.under(preset) for spec in decided
        )

    named = values["preset"]
    return next((preset for preset in (named, *PRESET_NAMES) if fits(preset)), named)


@dataclass(frozen=True, kw_only=True)
class SearchConfig(TrainConfig):
    """Train a run for every point of a grid, and choose one on val."""

    out: Path = setting(help="the search folder to write")
    grid: str = setting(
        "lr=0.1,0.01,0.001 neighbours=0..10",
        help="training options and what to try: NAME=VALUE,VALUE or NAME=FIRST..LAST, with spaces between",
    )
    jobs: int = setting(1, help="runs trained at a time, each in a process of its own", least=1)


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(DataConfig):
    """Stage 3: score a run's maps, or the cached CAMs themselves, against true boxes."""

    out: Path = setting(help="the report folder to write")
    run: Path | None = setting(None, help="run folder written by `tcam-cache train`")
    cache: Place | None = setting(None, help="cache, a folder or a URL: score the cached CAMs themselves")
    split: str = setting("test", help="the split that is scored", choices=SPLIT_CHOICES)
    val_split: str = setting(
        "val", help="for --cache: the split whose boxes choose tau", choices=SPLIT_CHOICES
    )
    threshold: str = setting("val", help="val, oracle, oracle-per-class, otsu, or a number in [0, 1)")
    boxes: str = setting(
        "components",
        help="components: the largest connected region; wsol: the WSOL protocol",
        choices=BOX_MODES,
    )
    map_size: int = setting(MAP_SIZE, help="side of the map that boxes are taken from", least=16)
    batch_size: int = setting(32, help="frames in a forward pass", least=1)
    cached_frames: bool = setting(False, help="read the frames that `build --frames` stored")
    overlays: int = setting(48, help="how many frames the report shows", least=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.run is None) == (self.cache is None):
            raise ConfigError("give exactly one of --run and --cache.")
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


@dataclass(frozen=True, kw_only=True)
class PredictConfig(Config):
    """Boxes for new frames."""

    run: Path = setting(help="run folder written by `tcam-cache train`")
    source: Path = setting(help="a picture, a folder of pictures, or a video file", shown="INPUT")
    out: Path = setting(help="the folder to write")
    threshold: float | None = setting(None, help="tau in [0, 1); default: the run's own, from val")
    batch_size: int = setting(32, help="frames in a forward pass", least=1)
    overlays: bool = setting(True, help="draw each box into a copy of its frame")
    overwrite: bool = setting(False, help="clear the boxes of another input, run or setting in the folder")
    workers: int | None = setting(None, help="processes that decode frames; default: cores - 1", least=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        # The policies of an evaluation need true boxes, which new frames have not.
        if self.threshold is not None and not 0 <= self.threshold < 1:
            raise ConfigError(f"got threshold {self.threshold:g}; expected a number in [0, 1).")


@dataclass(frozen=True, kw_only=True)
class DemoConfig(Config):
    """Write the embedded data set and run every stage on it."""

    out: Path = setting(help="the folder to write")
