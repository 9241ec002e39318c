"""What turns a batch of frames into maps to be cached: CAMs, or the foreground maps of a trained decoder."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch.nn.functional import interpolate

from tcam_cache.cams import Cams, Classifier, normalise
from tcam_cache.stages.maps import foreground_maps
from tcam_cache.training import Decoder


class FrameMaps(Protocol):
    """Turns frames into normalised maps and logits; `CamExtractor` is one.

    Attributes:
        classifier: the frozen network that the logits are of, on its device.
    """

    classifier: Classifier

    def __call__(self, images: torch.Tensor, targets: int | str) -> tuple[Cams, torch.Tensor]:
        """Return the maps (B, h, w) of a batch and its (B, C) logits.

        Args:
            images: (B, 3, S, S) RGB in [0, 1].
            targets: the class that is asked for, or "prediction", where maps are of a class.
        """
        ...


@dataclass(frozen=True)
class DecoderMaps:
    """Turns frames into the foreground maps S1 of a trained decoder, of which no class is asked.

    Attributes:
        classifier: frozen, whose features the decoder reads.
        decoder: in evaluation mode.
        map_size: side of the maps, each cell the mean of the pixels it covers.
    """

    classifier: Classifier
    decoder: Decoder
    map_size: int

    def __call__(self, images: torch.Tensor, targets: int | str = "prediction") -> tuple[Cams, torch.Tensor]:
        """Return the maps (B, map_size, map_size) of (B, 3, S, S) images in [0, 1], and the (B, C) logits."""
        foreground, logits = foreground_maps(self.classifier, self.decoder, images)
        return normalise(_cells(foreground, self.map_size)), logits


def _cells(foreground: torch.Tensor, side: int) -> torch.Tensor:
    # MPS refuses areas where sizes do not divide; from the CPU the cells go to the cache as well.
    if foreground.device.type == "mps":
        foreground = foreground.cpu()
    return interpolate(foreground[:, None], (side, side), mode="area")[:, 0]
