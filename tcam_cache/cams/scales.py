"""Average the CAMs of several sizes of a frame, and of its mirror image."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import torch
from torch.nn import functional

from tcam_cache.cams.extractor import PREDICTION, CamExtractor, Targets
from tcam_cache.cams.fusion import Cams, normalise, resized
from tcam_cache.errors import ConfigError
from tcam_cache.models import Classifier

# Every output stride divides it, so that no scale cuts off a part of a frame.
STEP = 32
LEAST_CELLS, LARGEST_TRIED = 4, 512
_ANTIALIASED = ("bilinear", "bicubic")


def sides_of(scales: Sequence[float], image_size: int) -> tuple[int, ...]:
    """Return the sides of frames at each scale in pixels, smallest first, as multiples of 32.

    Raises:
        ConfigError: two scales have the same side.

    >>> sides_of([0.7, 1, 1.4, 1.9], 224)
    (160, 224, 320, 416)
    """
    if list(scales) == [1]:
        return (image_size,)
    sides = sorted(max(STEP, round(scale * image_size / STEP) * STEP) for scale in scales)
    if len(set(sides)) < len(sides):
        raise ConfigError(
            f"got scales that make frames of {', '.join(map(str, sides))} pixels out of {image_size}; "
            f"expected different ones. Sides are multiples of {STEP}: take scales further apart."
        )
    return tuple(sides)


def require_cells(extractor: CamExtractor, sides: Sequence[int], image_size: int) -> None:
    """Make sure that maps of the smallest frames have at least 4 x 4 cells, so that they can be averaged.

    Args:
        extractor: makes the maps.
        sides: of frames in pixels, smallest first.
        image_size: the side that scales are relative to.

    Raises:
        ConfigError: they have fewer; the least scale that works is named.
    """

    def cells(side: int) -> tuple[int, int]:
        """Return height and width of the maps of frames of a side."""
        with torch.inference_mode():
            images = torch.zeros(1, 3, side, side, device=extractor.classifier.mean.device)
            height, width = extractor(images, 0)[0].maps.shape[-2:]
        return height, width

    shape = cells(sides[0])
    if min(shape) >= LEAST_CELLS:
        return
    least = next(
        (side for side in range(sides[0], LARGEST_TRIED, STEP) if min(cells(side)) >= LEAST_CELLS), None
    )
    works = f" Scales of {ceil(100 * least / image_size) / 100:g} or more work." if least else ""
    raise ConfigError(
        f"frames of {sides[0]} pixels make maps of {shape[0]} x {shape[1]} cells, too few to be averaged "
        f"with others; expected {LEAST_CELLS} x {LEAST_CELLS} or more.{works} Leave the smallest scale out, "
        "or take a larger --image-size or a smaller output stride."
    )


@dataclass(frozen=True)
class ScaledCams:
    """Turns frames into the mean of their normalised CAMs at several sizes; called like a `CamExtractor`.

    Attributes:
        extractor: makes the maps of each size.
        sides: of frames in pixels; smaller ones are resized from the largest, antialiased.
        flip: whether the mirror image's maps, mirrored back, are averaged as well.
        base: the side whose logits are kept, and whose prediction is the class of every size.

    >>> extractor = CamExtractor(Classifier("squeezenet1_1", ("cat", "dog")).freeze())
    >>> cams, _ = ScaledCams(extractor, (64, 96), flip=True, base=64)(torch.rand(2, 3, 96, 96), 0)
    >>> cams.maps.shape
    torch.Size([2, 11, 11])
    """

    extractor: CamExtractor
    sides: tuple[int, ...]
    flip: bool
    base: int

    @property
    def classifier(self) -> Classifier:
        """The frozen network that the logits are of."""
        return self.extractor.classifier

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers that the maps are of."""
        return self.extractor.layers

    def __call__(self, images: torch.Tensor, targets: Targets) -> tuple[Cams, torch.Tensor]:
        """Return the averaged CAMs of a batch, at the resolution of the largest size, and its (B, C) logits.

        Args:
            images: (B, 3, S, S) RGB in [0, 1], S the largest of `sides`.
            targets: as `CamExtractor` takes them; flat maps count as zeros in the mean.
        """
        # The base comes first: the class that it predicts is that of every size.
        cams, logits = self.extractor(self.at_base(images), targets)
        return self._averaged(images, cams, logits, targets), logits

    def with_features(
        self, images: torch.Tensor, targets: str | torch.Tensor
    ) -> tuple[list[torch.Tensor], torch.Tensor, Cams, torch.Tensor]:
        """Return what `CamExtractor.with_features` does of frames at the base, but for CAMs, averaged.

        Args:
            images: (B, 3, S, S) RGB in [0, 1], S the largest of `sides` and the base.
            targets: as `CamExtractor.with_features` takes them.

        Raises:
            ConfigError: the extractor was made without `taps`.
        """
        features, deepest, cams, logits = self.extractor.with_features(self.at_base(images), targets)
        return features, deepest, self._averaged(images, cams, logits, targets), logits

    def at_base(self, images: torch.Tensor) -> torch.Tensor:
        """Return frames (B, 3, S, S) at the base, (B, 3, base, base), in [0, 1]."""
        return self._at(images, self.base)

    def _averaged(self, images: torch.Tensor, cams: Cams, logits: torch.Tensor, targets: Targets) -> Cams:
        """Return the mean of the CAMs of every size and mirror image; those of the base are made already."""
        if isinstance(targets, str) and targets == PREDICTION:
            targets = logits.argmax(1)
        maps = [cams.maps] if self.base in self.sides else []
        for side in sorted(self.sides, key=lambda side: side != self.base):
            frames = self._at(images, side)
            if side != self.base:
                maps.append(self.extractor(frames, targets)[0].maps)
            if self.flip:
                maps.append(self.extractor(frames.flip(-1), targets)[0].maps.flip(-1))
        finest = max((one.shape[-2:] for one in maps), key=lambda shape: shape[0] * shape[1])
        return normalise(torch.stack([resized(one, finest) for one in maps]).mean(0))

    def _at(self, images: torch.Tensor, side: int) -> torch.Tensor:
        """Return frames (B, 3, S, S) resized to (B, 3, side, side), in [0, 1]."""
        if images.shape[-1] == side:
            return images
        how = self.classifier.preprocessing.interpolation
        mode = how if how in _ANTIALIASED else "bilinear"
        with torch.no_grad():
            small = functional.interpolate(
                images, (side, side), mode=mode, align_corners=False, antialias=True
            )
            return small.clamp(0, 1)
