"""Settings of stage 2, the decoder, its presets, and the search over them."""

from collections.abc import Mapping
from typing import Any, Self

from tcam_cache.config.base import (
    PRESET_NAMES,
    ByPreset,
    PathSetting,
    by_preset,
    config,
    preset_setting,
    preset_values,
    refuse_idle,
    setting,
)
from tcam_cache.config.data import SCHEDULES, FitConfig, middle_setting
from tcam_cache.errors import ConfigError
from tcam_cache.files import Place
from tcam_cache.window import MODES

PRECISIONS = ("none", "bf16")
REGIONS = ("blob", "largest", "box")
MIXES = ("none", "mean", "geometric")

# What may change between an interrupted run and the one that goes on: where things lie and how long it lasts.
FREE_ON_RESUME = frozenset(
    {
        "resume",
        "workers",
        "device",
        "root",
        "epochs",
        "manifest",
        "cache",
        "out",
        "save_minutes",
        "tensorboard",
    }
)
# What decides where and how a run is done, not what it learns.
NOT_LEARNED = FREE_ON_RESUME - {"epochs"}
# Upstream's permutohedral lattice returns about 0.6 of the exact Gaussian sum; lambda = 2e-9 was tuned to it.
LATTICE_GAIN = 0.6
# Presets by the names that runs of earlier versions have.
RENAMED = {"footage": "recommended"}
# What runs did before these settings existed: their config.json lacks them.
BEFORE: Mapping[str, Any] = {
    "steps": 0,
    "schedule": "steps",
    "decoder_stride": 1,
    "dropout": 0.0,
    "mix": "none",
    "mix_share": 0.35,
    "middle": 1.0,
    "crops": "shot",
    "fg_region": "blob",
    "colour_crf": "fixed",
    "colour_warmup": 0.0,
}


@config
class TrainConfig(FitConfig):
    """Stage 2: train the decoder f on pseudo-labels from CAM-TMP (TCAM Eq. 1-5).

    Settings that are not given take the preset's value: `TrainConfig(preset="paper", ...)`.
    """

    cache: Place = setting(help="cache written by `tcam-cache build`: a folder, or a URL")
    out: PathSetting = setting(help="the run folder to write")
    preset: str = preset_setting()
    steps: int = setting(
        default=by_preset(recommended=300, published=0),
        help="where --epochs is 0: take at least so many steps",
        minimum=0,
    )
    epochs: int = setting(
        default=by_preset(recommended=0, published=100, colocam=10),
        help="passes over the shots; 0: as many as --steps needs, and 10 at least",
        minimum=0,
    )
    frames_per_shot: int = setting(
        default=by_preset(recommended=0, published=1),
        help="random frames of each shot an epoch draws (paper: 1); 0: enough for 25 steps an epoch",
        minimum=0,
    )
    batch_size: int = setting(
        default=by_preset(recommended=16, published=32), help="frames a step", minimum=1
    )
    optimiser: str = setting(
        default=by_preset(recommended="adamw", published="sgd"),
        help="sgd is published; adamw suits few steps",
        choices=("sgd", "adamw"),
    )
    lr: float = setting(
        default=by_preset(recommended=0.003, published=0.01),
        help="learning rate at the start, or at its highest",
        minimum=0,
    )
    lr_step: int = setting(
        default=by_preset(recommended=15, published=15, colocam=5),
        help="epochs between two decays of the learning rate",
        minimum=1,
    )
    schedule: str = setting(
        default=by_preset(recommended="one-cycle", published="steps"),
        help="steps: decays by --lr-step (published); one-cycle: rises, then falls to 0 as a cosine",
        choices=SCHEDULES,
    )
    select: str = setting(
        default=by_preset(recommended="last", published="val"),
        help="keep the epoch best on val (by true boxes; pseudo: by its CAMs'; loss), or the last one",
        choices=("val", "pseudo", "loss", "last"),
    )
    validate_every: int = setting(
        default=by_preset(recommended=5, published=1), help="epochs between two validations", minimum=1
    )
    neighbours: int = setting(
        default=by_preset(recommended=0, published=1, colocam=0),
        help="n of S(C_t, n), Eq. 1 (paper: 1)",
        minimum=0,
    )
    window: str = setting(
        default="before",
        help="where the n neighbours lie: before (published), after, or both sides (2n)",
        choices=MODES,
    )
    middle: float = middle_setting(default=by_preset(recommended=1.0, published=1.0, colocam=0.6))
    frames_together: int = setting(
        default=by_preset(recommended=1, published=1, colocam=4),
        help="draw clips of so many consecutive frames of a shot, each whole in one batch",
        minimum=1,
    )
    crops: str = setting(
        default=by_preset(recommended="shot", published="shot", colocam="frame"),
        help="one random crop and flip for all frames of a shot's clip, or one for each frame",
        choices=("shot", "frame"),
    )
    cached_frames: bool = setting(default=False, help="read the frames that `build --frames` stored")
    fg_region: str = setting(
        default=by_preset(recommended="blob", published="blob", colocam="box"),
        help="C+: all pixels above Otsu's threshold, their largest connected region, or the box around that",
        choices=REGIONS,
    )
    fg_top: float = setting(
        default=by_preset(recommended=0.3, published=1.0, authors=0.6, colocam=0.7),
        help="foreground seeds come from this top fraction of C+ (1 = all)",
        minimum=0,
        maximum=1,
    )
    bg_low: float | None = setting(
        default=by_preset(recommended=None, published=0.1, paper=None),
        help="background seeds: this lowest fraction of all pixels; default: all of C-",
        minimum=0,
        maximum=1,
    )
    pixels: int = setting(
        default=by_preset(recommended=100, published=1, colocam=1000),
        help="seeds per frame and class",
        minimum=1,
    )
    fg_level: float = setting(
        default=0.0,
        help="foreground seeds are at least this share of the map's maximum",
        minimum=0,
        maximum=1,
    )
    dilate: bool = setting(
        default=by_preset(recommended=False, published=True, paper=False),
        help="grow each seed to 3x3",
    )
    cross_entropy: str = setting(
        default=by_preset(recommended="batch-mean", published="batch-mean", paper="frame-sum"),
        help="average over the batch's labelled pixels, or sum over each frame's",
        choices=("batch-mean", "frame-sum"),
    )
    crf: bool = setting(default=True, help="the dense-CRF term")
    crf_weight: float = setting(default=2e-9, help="lambda of the dense-CRF term at 224 pixels", minimum=0)
    lattice_gain: float = setting(
        default=LATTICE_GAIN,
        help="factor on the CRF term: the published filter returned 0.6 of the exact sum; 1 = exact",
        minimum=0,
    )
    colour_crf: str = setting(
        default=by_preset(recommended="fixed", published="fixed", colocam="adaptive"),
        help="a CRF over the colours of all frames of a clip: of fixed strength, on the scale of "
        "--crf-weight, or adaptive (CoLo-CAM): divided by its own value",
        choices=("fixed", "adaptive"),
    )
    colour_crf_weight: float = setting(
        default=by_preset(recommended=0.0, published=0.0, colocam=4.0),
        help="lambda of that CRF, 0: none (CoLo-CAM: 4 or 9)",
        minimum=0,
    )
    colour_warmup: float = setting(
        default=by_preset(recommended=0.0, published=0.0, colocam=0.5),
        help="its weight rises linearly from 0 in this share of the steps (adaptive at 4: 0.5)",
        minimum=0,
        maximum=1,
    )
    landmarks: int = setting(default=144, help="Nystroem landmarks of the CRF filter", minimum=1)
    asc: bool = setting(default=True, help="the absolute size constraint")
    asc_weight: float = setting(default=0.01, help="weight of the absolute size constraint", minimum=0)
    barrier_t: float = setting(default=1.0, help="t of the log barrier in the first epoch", minimum=0)
    barrier_growth: float = setting(default=1.01, help="t grows by this factor every epoch", minimum=1)
    barrier_cap: float = setting(default=10.0, help="t never exceeds this", minimum=0)
    decoder_width: float = setting(default=1.0, help="factor on the decoder's channels", minimum=0)
    decoder_stride: int = setting(
        default=by_preset(recommended=4, published=1),
        help="the decoder's maps are so many times smaller than frames: a power of 2, published: 1",
        minimum=1,
        maximum=16,
    )
    dropout: float = setting(
        default=by_preset(recommended=0.3, published=0.0),
        help="share of the encoder's channels that a step hides from the decoder",
        minimum=0,
        maximum=0.9,
    )
    mix: str = setting(
        default=by_preset(recommended="geometric", published="none"),
        help="a frame's map: the decoder's alone (published), or its mean with the CAM of the same pass",
        choices=MIXES,
    )
    mix_share: float = setting(
        default=0.35, help="the decoder's share of that mean; the CAM has the rest", minimum=0, maximum=1
    )
    amp: str = setting(
        default="auto",
        help="precision of encoder and decoder in a step: auto is bf16 on CUDA, none elsewhere",
        choices=("auto", *PRECISIONS),
    )
    compile: bool = setting(default=False, help="run encoder and decoder through torch.compile")

    def __post_init__(self) -> None:
        by_preset_alone = any(isinstance(value, ByPreset) for value in vars(self).values())
        super().__post_init__()
        # All of them are given where another preset's name was put on a finished config by `replace`.
        if not by_preset_alone and (preset := preset_of(vars(self))) != self.preset:
            raise ConfigError(
                f"got the preset {self.preset!r} with all the settings of {preset!r}. Give those that differ "
                f"from {self.preset!r} alone, or {preset!r}."
            )
        if self.decoder_stride & (self.decoder_stride - 1):
            raise ConfigError(f"got decoder stride {self.decoder_stride}; expected a power of 2: 1, 2, 4 ...")
        if self.batch_size % self.frames_together:
            raise ConfigError(
                f"got batches of {self.batch_size} frames, {self.frames_together} of a shot together; "
                "expected whole clips. Make --batch-size a multiple of --frames-together."
            )
        if self.colour_crf_weight > 0 and self.frames_together == 1:
            raise ConfigError(
                f"got a colour CRF of weight {self.colour_crf_weight:g} over frames alone; expected several "
                "of a shot together. Give --frames-together 2 or more, or --colour-crf-weight 0."
            )
        if self.colour_crf_weight == 0:
            refuse_idle(self, ("colour_crf", "colour_warmup"), "--colour-crf-weight 0 (CoLo-CAM: 4 or 9)")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the config that `to_json` wrote; see `Config.from_json`.

        Earlier versions could write one preset's name beside another's settings: the settings are right. And
        they wrote all settings that they had.
        """
        if "barrier_cap" in values:
            values = {**BEFORE, **values}
        if "preset" in values:
            named = {**values, "preset": RENAMED.get(values["preset"], values["preset"])}
            values = {**named, "preset": preset_of(named)}
        return super().from_json(values)


def preset_of(values: Mapping[str, Any]) -> Any:
    """Return the preset named in settings, or another one if all settings are equal to its values.

    >>> preset_of({"preset": "paper", "pixels": 5})
    'paper'
    """
    named = values["preset"]
    fitting = (
        preset
        for preset in (named, *PRESET_NAMES)
        if all(
            name in values and values[name] == value
            for name, value in preset_values(TrainConfig, preset).items()
        )
    )
    return next(fitting, named)


@config
class SearchConfig(TrainConfig):
    """Train a run for every point of a grid, and choose one on val."""

    out: PathSetting = setting(help="the search folder to write")
    grid: str = setting(
        default="lr=0.1,0.01,0.001 neighbours=0..10",
        help="training options and what to try: NAME=VALUE,VALUE or NAME=FIRST..LAST, with spaces between",
    )
    jobs: int = setting(default=1, help="runs trained at a time, each in a process of its own", minimum=1)


# The values of every preset; the numbers are declared in the fields of `TrainConfig`.
PRESETS: Mapping[str, Mapping[str, Any]] = {
    preset: preset_values(TrainConfig, preset) for preset in PRESET_NAMES
}


def train_config(preset: str = "recommended", **settings: Any) -> TrainConfig:
    """Return the settings of a preset, overridden by the given ones.

    >>> train_config("paper", manifest="m", cache="c", out="r", pixels=5).fg_top
    1.0
    """
    return TrainConfig(preset=preset, **settings)


def with_preset(settings: Mapping[str, Any], preset: str) -> dict[str, Any]:
    """Return settings under another preset; those that differ from their own preset are kept.

    Raises:
        ConfigError: there is no such preset.

    >>> with_preset({"preset": "paper", **PRESETS["paper"], "pixels": 5}, "recommended")["pixels"]
    5
    """
    if preset not in PRESETS:
        raise ConfigError(f"there is no preset {preset!r}. Those that exist: {', '.join(PRESETS)}.")
    own = PRESETS[settings["preset"]]
    changes = {name: value for name, value in settings.items() if name not in own or value != own[name]}
    return {**PRESETS[preset], **changes, "preset": preset}


def search_config(preset: str = "recommended", **settings: Any) -> SearchConfig:
    """Return a search around the settings of a preset, overridden by the given ones."""
    return SearchConfig(preset=preset, **settings)
