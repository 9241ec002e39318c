"""The preprocessing of a backbone's frames: mean, standard deviation, interpolation and size."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Preprocessing:
    """The preprocessing that a backbone was trained with; the defaults are torchvision's for ImageNet.

    Attributes:
        mean: of each channel, RGB in [0, 1].
        std: standard deviation of each channel.
        interpolation: "bilinear", "bicubic", "lanczos" or "nearest": how frames are squashed.
        size: side of the frames in pixels that it was trained on.

    >>> Preprocessing(mean=(0.5, 0.5, 0.5)).to_json()
    {'mean': [0.5, 0.5, 0.5]}
    """

    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    interpolation: str = "bilinear"
    size: int = 224

    def to_json(self) -> dict[str, Any]:
        """Return what differs from ImageNet's, as JSON-able values."""
        usual = asdict(IMAGENET)
        differences = {key: value for key, value in asdict(self).items() if value != usual[key]}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in differences.items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return what `to_json` wrote."""
        settings: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        return cls(**settings)


IMAGENET = Preprocessing()
