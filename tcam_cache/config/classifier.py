"""Settings of stage 0, the classifier."""

from tcam_cache.config.base import (
    PathSetting,
    by_preset,
    config,
    preset_setting,
    refuse_idle,
    setting,
)
from tcam_cache.config.data import FitConfig, middle_setting

# Those of torchvision's whose strides are removed as the paper does; any other of its networks does as well.
ARCHITECTURES = (
    "resnet18", "resnet34", "resnet50", "vgg16", "squeezenet1_0", "squeezenet1_1", "mobilenet_v3_large",
)  # fmt: skip
FITS = ("probe", "sgd")
# What `classifier` takes beside --fit sgd and --fit probe alone.
OF_SGD = (
    "epochs", "lr", "lr_last_stage", "frames_per_shot", "optimiser", "schedule", "momentum", "weight_decay",
    "lr_step", "lr_decay", "lr_floor", "select", "validate_every", "save_minutes", "tensorboard",
)  # fmt: skip
OF_PROBE = ("probe_frames", "probe_total")


@config
class ClassifierConfig(FitConfig):
    """Stage 0: fit the classifier g on tags alone."""

    out: PathSetting = setting(help="the classifier file to write, g.pt")
    preset: str = preset_setting()
    arch: str = setting(
        default=by_preset(recommended="timm:tf_efficientnet_lite0", published="resnet50"),
        help="backbone: torchvision's name, or timm:NAME (extra timm)",
    )
    weights: str = setting(
        default="imagenet", help="imagenet (a package's or downloaded), none, or a state-dict file"
    )
    output_stride: int | None = setting(
        default=None,
        help="8, 16 or 32; default: 8 for ResNet, VGG, SqueezeNet, MobileNetV3 (published), else 16",
    )
    image_size: int | None = setting(
        default=None,
        help="side of the crop, out of frames squashed to 256/224 (--fit probe: of the whole frame); "
        "default: the backbone's, often 224",
        minimum=32,
    )
    fit: str = setting(
        default=by_preset(recommended="probe", published="sgd"),
        help="probe: the head alone, in one regularised fit on frozen features; sgd: by steps (published)",
        choices=FITS,
    )
    middle: float = middle_setting(default=by_preset(recommended=1.0, published=1.0, colocam=0.6))
    probe_frames: int = setting(
        default=16, help="evenly spaced frames of each shot that --fit probe takes, at most", minimum=1
    )
    probe_total: int = setting(
        default=10_000, help="frames that --fit probe takes in all, at most, but one of each video", minimum=1
    )
    dilated: bool = setting(
        default=False, help="dilate kernels where strides are removed; for a frozen backbone"
    )
    freeze_backbone: bool = setting(default=False, help="fit the linear head alone")
    loss: str = setting(
        default="cross-entropy",
        help="softmax cross-entropy (published), or one logistic loss a class",
        choices=("cross-entropy", "one-vs-rest"),
    )
    lr_last_stage: float = setting(
        default=10.0, help="learning-rate factor of the last stage and the head", minimum=0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        other = "sgd" if self.fit == "probe" else "probe"
        idle = OF_SGD if self.fit == "probe" else OF_PROBE
        refuse_idle(self, idle, f"--fit {self.fit}; --fit {other} takes them")
