"""Settings of stage 1 and of what is done with a cache: build, inspect, verify, export, import."""

from typing import TYPE_CHECKING, Any

from tcam_cache.config.base import (
    Config,
    OptionalPathSetting,
    PathSetting,
    Settings,
    by_preset,
    config,
    preset_setting,
    refuse_idle,
    root_setting,
    setting,
)
from tcam_cache.config.data import SPLIT_CHOICES, DataConfig
from tcam_cache.config.sharing import SharesConfig
from tcam_cache.config.train import PRECISIONS
from tcam_cache.errors import ConfigError
from tcam_cache.files import Place

METHODS = ("cam", "gradcam", "gradcam++", "smooth-gradcam++", "xgradcam", "layercam", "activation")
TARGETS = ("tag", "prediction")
FUSES = ("auto", "max", "mean", "geometric")
# How the name of each picture that `inspect` draws may end: the format is what the name says.
SUFFIXES = {"png": (".png", ".jpg", ".jpeg"), "gif": (".gif",), "mp4": (".mp4",)}
# What --maps names beside modules: packages whose CAM methods are map functions.
PEERS = ("torchcam", "gradcam")
# What only the CAMs of this package have a use for, and not those of --maps.
OF_CAMS = ("method", "fuse", "scales", "flip", "compile", "amp")
# What `build` takes beside one of --classifier and --run alone; a run brings its own image size.
OF_CLASSIFIER = (*OF_CAMS, "layers", "target", "image_size", "maps")
OF_RUN = ("map_size",)

if TYPE_CHECKING:
    from tcam_cache.records import MapFunction

    class MapsSetting:
        """The name of a map function: itself, its class or the name is given, the name is read."""

        def __get__(self, config: object, owner: type) -> str | None: ...
        def __set__(self, config: object, maps: MapFunction | type | str | None) -> None: ...
else:
    MapsSetting = str | None


@config
class BuildConfig(SharesConfig, DataConfig):
    """Stage 1: run the frozen classifier, or a trained decoder, over every frame and store the maps."""

    classifier: OptionalPathSetting = setting(
        default=None, help="classifier file written by `tcam-cache classifier`"
    )
    run: OptionalPathSetting = setting(
        default=None,
        help="run folder written by `tcam-cache train`: its foreground maps are stored, for a next round",
    )
    out: Place = setting(
        help="the cache: a folder, or a URL such as s3://bucket/cache (by AWS_ENDPOINT_URL, AWS_PROFILE, ...)"
    )
    preset: str = preset_setting()
    method: str = setting(default="layercam", help="CAM method", choices=METHODS)
    maps: MapsSetting = setting(
        default=None,
        help="your own maps instead: MODULE:NAME of a function or class; or torchcam:METHOD, gradcam:METHOD",
    )
    layers: str = setting(
        default=by_preset(recommended="auto", published="last"),
        help="modules of the backbone by commas, such as layer3,layer4.2.conv2; auto: known good ones",
    )
    fuse: str = setting(
        default="auto",
        help="how several layers become one; auto: geometric for auto layers, else max",
        choices=FUSES,
    )
    scales: str = setting(
        default=by_preset(recommended="0.7,1,1.4,1.9", published="1"),
        help="average the maps of frames at these sizes, times --image-size, such as 0.7,1,1.4,1.9",
    )
    flip: bool = setting(default=False, help="average the maps of mirrored frames in, too")
    target: str = setting(default="tag", help="the class whose CAM is stored", choices=TARGETS)
    every: int = setting(
        default=1, help="cache every K-th frame of a shot, and all annotated ones", minimum=1
    )
    batch_size: int = setting(default=32, help="frames of one shot in a forward pass, on a CPU 4", minimum=1)
    image_size: int | None = setting(
        default=None,
        help="frames are squashed to this side; default: the backbone's, often 224",
        minimum=32,
    )
    map_size: int = setting(default=56, help="side of the maps that --run stores", minimum=2)
    threads: int | None = setting(
        default=None,
        help="computing threads of each process; default: all cores, shared out among --jobs",
        minimum=1,
    )
    compile: bool = setting(default=False, help="run the classifier through torch.compile")
    amp: str = setting(default="none", help="precision of the classifier's forward pass", choices=PRECISIONS)
    frames: bool = setting(
        default=False, help="store the frames, too, squashed: training decodes them far faster"
    )
    frame_size: int = setting(
        default=256, help="side in pixels of the frames that --frames stores", minimum=32
    )
    dry_run: bool = setting(default=False, help="say frames, bytes and hours, write nothing")

    def __post_init__(self) -> None:
        if callable(self.maps):
            object.__setattr__(self, "maps", _name_of(self.maps))
        super().__post_init__()
        self._check_origin()
        self._check_maps()
        parse_scales(self.scales)
        if str(self.out).startswith("memory:") and self.several_jobs:
            raise ConfigError(f"{self.out} is the memory of one process. Build it with --jobs 1.")

    def _check_origin(self) -> None:
        if (self.classifier is None) == (self.run is None):
            more = " --maps goes with --classifier: it gives the logits, and features for `train`."
            raise ConfigError(f"give exactly one of --classifier and --run.{more if self.maps else ''}")
        option, idle = ("--classifier", OF_RUN) if self.run is None else ("--run", OF_CLASSIFIER)
        refuse_idle(self, idle, option)

    def _check_maps(self) -> None:
        if self.maps is not None:
            module, _ = parse_maps(self.maps)
            refuse_idle(self, OF_CAMS + (() if module in PEERS else ("layers",)), f"--maps {self.maps}")


def _name_of(function: Any) -> str:
    name = getattr(function, "__qualname__", "")
    if not name.isidentifier():
        raise ConfigError(
            f"got maps {function!r}; expected a function or a class that has a name in a module, by which "
            "other processes import it."
        )
    return f"{function.__module__}:{name}"


def parse_maps(text: str) -> tuple[str, str]:
    """Return the module, or the package of CAM methods, and the name in it that `--maps` names.

    Raises:
        ConfigError: it is not of that form.

    >>> parse_maps("package.module:saliency")
    ('package.module', 'saliency')
    """
    module, _, name = text.partition(":")
    if all(part.isidentifier() for part in (*module.split("."), name)):
        return module, name
    raise ConfigError(
        f"got maps {text!r}; expected MODULE:NAME, such as mymaps:saliency for the function of mymaps.py, or "
        f"{' or '.join(f'{peer}:METHOD' for peer in PEERS)}."
    )


def parse_scales(text: str) -> tuple[float, ...]:
    """Return the scales that a text names by commas.

    Raises:
        ConfigError: one is no number between 0.1 and 10, or is named twice.

    >>> parse_scales("0.7, 1")
    (0.7, 1.0)
    """
    try:
        scales = tuple(float(part) for part in text.split(","))
    except ValueError:
        scales = ()
    if scales and all(0.1 <= scale <= 10 for scale in scales) and len(set(scales)) == len(scales):
        return scales
    raise ConfigError(
        f"got scales {text!r}; expected different numbers from 0.1 to 10 by commas, such as 0.7,1,1.4,1.9."
    )


def mixed_scales_setting() -> Any:
    """Return the setting of sizes whose CAMs are mixed into a decoder's maps."""
    return setting(
        default="1",
        help="the CAM that is mixed in is the mean over these sizes of a frame, times the run's, such as "
        "0.7,1,1.4,1.9: slower, a little better on videos that nothing was learned from",
    )


@config
class CacheConfig(Settings):
    """The setting shared by all stages that read a cache alone."""

    cache: Place = setting(help="the cache: a folder, a URL, or an HDF5 file that was exported")


@config
class InspectConfig(CacheConfig, Config):
    """Look into a cache."""

    shot: str | None = setting(default=None, help="a shot's id, such as bird/0001/001")
    png: OptionalPathSetting = setting(
        default=None,
        help="one picture, .png or .jpg: the shot's frames with their CAMs, or some of every class",
    )
    gif: OptionalPathSetting = setting(
        default=None, help="the shot, moving: frame, CAM and CAM-TMP side by side"
    )
    mp4: OptionalPathSetting = setting(default=None, help="the same as a video (extra `video`)")
    fps: float = setting(default=10, help="frames a second of --gif and --mp4", minimum=0.1, maximum=100)
    root: OptionalPathSetting = root_setting()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shot is None and (self.gif or self.mp4):
            raise ConfigError(
                "--gif and --mp4 show one shot. Name it: tcam-cache inspect CACHE SHOT --gif FILE."
            )
        for name, suffixes in SUFFIXES.items():
            path = getattr(self, name)
            if path is not None and path.suffix.lower() not in suffixes:
                raise ConfigError(
                    f"got --{name} {path}; expected a name that ends in {' or '.join(suffixes)}."
                )


RUN_FORMATS = ("onnx", "torch-export")


@config
class ExportConfig(CacheConfig):
    """Write a cache, one shot of it, or the networks of a run in another form."""

    cache: Place = setting(
        help="the cache: a folder, a URL, or an HDF5 file; for onnx and torch-export a run folder",
        metavar="CACHE|RUN",
    )
    shot: str | None = setting(default=None, help="for npz: a shot's id, such as bird/0001/001")
    format: str = setting(
        help="h5: the whole cache as one file; zarr: as a cache folder, the way back; npz: one shot; onnx, "
        "torch-export: a run as one graph",
        choices=("h5", "zarr", "npz", *RUN_FORMATS),
    )
    out: Place = setting(help="the file to write; for zarr the folder or the URL")

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.shot is None) == (self.format == "npz"):
            raise ConfigError(
                "npz holds one SHOT, other formats the whole cache or run: name a shot for npz only."
            )
        if self.format != "zarr" and isinstance(self.out, str):
            raise ConfigError(
                f"got the URL {self.out} for {self.format}; expected a file on this machine. "
                "Give a path, or --format zarr, which a URL can hold."
            )
        if self.format in RUN_FORMATS and isinstance(self.cache, str):
            raise ConfigError(f"got the URL {self.cache} for {self.format}; expected a run folder.")


@config
class ImportConfig(Settings):
    """Make a cache of CAMs that others stored, one .pt file a frame."""

    manifest: PathSetting = setting(help="manifest written by `tcam-cache manifest`")
    source: PathSetting = setting(help="the folder of .pt files", metavar="FOLDER")
    out: Place = setting(help="the cache: a folder, or a URL such as s3://bucket/cache")
    method: str = setting(default="imported", help="what made the CAMs, such as layercam")
    classifier: OptionalPathSetting = setting(
        default=None, help="classifier file to keep in the cache; `train` needs one"
    )
    split: str = setting(
        default="all", help="the shots to import; others stay unfinished", choices=SPLIT_CHOICES
    )
    root: OptionalPathSetting = root_setting()


@config
class VerifyConfig(CacheConfig):
    """Check every byte of a cache."""

    sources: bool = setting(
        default=False, help="compare the data set's files with those it was built from, too"
    )
    root: OptionalPathSetting = root_setting()
