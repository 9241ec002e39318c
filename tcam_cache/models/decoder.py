"""The decoder f: a U-Net decoder on the stages of the frozen encoder."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from tcam_cache.errors import ConfigError

LAST_CHANNELS = 16
LEAST_CHANNELS = 8


class Decoder(nn.Module):
    """Turn the encoder's features into two logit maps, background and foreground.

    From the deepest stage to the shallowest, each block resizes to the next stage and takes it in as a skip;
    one more block, without a skip, goes from the shallowest stage to the input's size. Channels halve from
    block to block and end at 16: 256, 128, 64, 32, 16 for the five stages of a ResNet.

    Args:
        encoder_channels: channels of the encoder's stages, shallow to deep, at least two.
        width: factor on the decoder's channels, which stay at least 8.
        full_resolution: the shallowest stage already has the input's size (VGG), so that the block without a
            skip is left out.

    Raises:
        ConfigError: there are fewer than two stages.

    >>> decoder = Decoder((8, 16), width=0.5)
    >>> decoder([torch.zeros(1, 8, 4, 4), torch.zeros(1, 16, 2, 2)], torch.zeros(1, 3, 8, 8)).shape
    torch.Size([1, 2, 8, 8])
    """

    def __init__(
        self, encoder_channels: Sequence[int], width: float = 1.0, full_resolution: bool = False
    ) -> None:
        super().__init__()
        if len(encoder_channels) < 2:
            raise ConfigError(
                f"got an encoder of {len(encoder_channels)} stage(s); the decoder needs at least two. "
                "Choose another architecture."
            )
        *skips, channels = encoder_channels
        skips = [*skips[::-1], *([] if full_resolution else [0])]
        blocks = []
        for position, skip in enumerate(skips, start=1):
            out = max(LEAST_CHANNELS, round(width * LAST_CHANNELS * 2 ** (len(skips) - position)))
            blocks.append(_block(channels + skip, out))
            channels = out
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Conv2d(channels, 2, 3, padding=1)
        nn.init.xavier_uniform_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # pyright: ignore[reportArgumentType]  # torch: None where bias=False

    def forward(self, features: Sequence[Tensor], images: Tensor) -> Tensor:
        """Return the logits at the input's size.

        Args:
            features: one (B, C, h, w) per stage, shallow to deep, in the order of `encoder_channels`.
            images: (B, 3, H, W) the input images in [0, 1]; H and W may be odd.

        Returns:
            (B, 2, H, W): channel 0 is background, channel 1 foreground.
        """
        *skips, x = features
        for block in self.blocks:
            skip = skips.pop() if skips else None
            x = _resized(x, (images if skip is None else skip).shape[-2:])
            x = block(x if skip is None else torch.cat([x, skip], 1))
        return self.head(x)


def _block(channels_in: int, channels_out: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (channels_in, channels_out):
        convolution = nn.Conv2d(channels, channels_out, 3, padding=1, bias=False)
        nn.init.kaiming_uniform_(convolution.weight, nonlinearity="relu")
        layers += [convolution, nn.BatchNorm2d(channels_out), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def _resized(x: Tensor, size: Sequence[int]) -> Tensor:
    return x if x.shape[-2:] == tuple(size) else functional.interpolate(x, size=tuple(size), mode="nearest")
