"""Settings of stage 0, the classifier."""

from dataclasses import dataclass
from pathlib import Path

from tcam_cache.config.base import setting
from tcam_cache.config.data import FitConfig

ARCHITECTURES = (
    "resnet18", "resnet34", "resnet50", "vgg16", "squeezenet1_0", "squeezenet1_1", "mobilenet_v3_large",
)  # fmt: skip


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
    lr_last_stage: float = setting(
        10.0, help="learning-rate factor of the last stage and the head", minimum=0
    )
