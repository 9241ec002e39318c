"""The decoder f: a U-Net decoder on the stages of the frozen encoder."""

from collections.abc import Sequence
from math import ceil, log2

import torch
from torch import Tensor, nn
from torch.nn import functional

from tcam_cache.errors import ConfigError

LAST_CHANNELS = 16
LEAST_CHANNELS = 8


class Decoder(nn.Module):
    """Turn the encoder's features into two logit maps, background and foreground.

    From the deepest stage to the shallowest, each block resizes to the next stage and takes it in as a skip;
    the last one, without a skip, goes to the size of the maps. Where a stage is more than twice as fine as
    the one before it, blocks without a skip double the size in between. Channels halve from block to block
    and end at 16: 256, 128, 64, 32, 16 for the five stages of a ResNet. Stages finer than the maps are not
    used.

    Args:
        encoder_channels: channels of the encoder's stages, shallow to deep.
        width: factor on the decoder's channels, which stay at least 8.
        strides: how many times smaller than the input each stage is; default: 2, 4, 8 and so on. Where a
            stage has the maps' stride the block without a skip is left out (VGG has one at 1).
        map_stride: how many times smaller than the input the maps are.

    Raises:
        ConfigError: there is no stage, or none as coarse as the maps.

    >>> decoder = Decoder((8, 16), width=0.5)
    >>> decoder([torch.zeros(1, 8, 4, 4), torch.zeros(1, 16, 2, 2)], torch.zeros(1, 3, 8, 8)).shape
    torch.Size([1, 2, 8, 8])
    """

    def __init__(
        self,
        encoder_channels: Sequence[int],
        width: float = 1.0,
        strides: Sequence[int] | None = None,
        map_stride: int = 1,
    ) -> None:
        super().__init__()
        if strides is None:
            strides = [2 ** (place + 1) for place in range(len(encoder_channels))]
        self.map_stride, self.unused = map_stride, sum(stride < map_stride for stride in strides)
        channels_used, strides = encoder_channels[self.unused :], strides[self.unused :]
        if not channels_used:
            raise ConfigError(
                f"got an encoder without stages of stride {map_stride} or more. Take a smaller "
                "--decoder-stride, or another architecture."
            )
        *skips, channels = channels_used
        goals = list(zip([*strides[-2::-1], map_stride], [*skips[::-1], 0], strict=True))
        if strides[0] == map_stride:
            goals.pop()
        # Channels that each block takes in, or None for one that only doubles the size.
        joins: list[int | None] = []
        for deep, (stride, skip) in zip(strides[::-1], goals, strict=False):
            joins += [None] * (ceil(log2(deep / stride)) - 1) + [skip]
        self.joins = joins
        blocks = []
        for position, skip in enumerate(joins, start=1):
            out = max(LEAST_CHANNELS, round(width * LAST_CHANNELS * 2 ** (len(joins) - position)))
            blocks.append(_block(channels + (skip or 0), out))
            channels = out
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Conv2d(channels, 2, 3, padding=1)
        nn.init.xavier_uniform_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # pyright: ignore[reportArgumentType]  # torch: None where bias=False

    def forward(self, features: Sequence[Tensor], images: Tensor) -> Tensor:
        """Return the logits of both classes.

        Args:
            features: one (B, C, h, w) per stage, shallow to deep, in the order of `encoder_channels`.
            images: (B, 3, H, W) the input images in [0, 1]; H and W may be odd.

        Returns:
            (B, 2, ceil(H / map_stride), ceil(W / map_stride)): channel 0 is background, channel 1 foreground.
        """
        *skips, x = features[self.unused :]
        size = [ceil(side / self.map_stride) for side in images.shape[-2:]]
        for block, join in zip(self.blocks, self.joins, strict=True):
            goal = skips[-1].shape[-2:] if skips else size
            if join is None:
                x = block(_resized(x, [min(2 * x.shape[axis - 2], goal[axis]) for axis in (0, 1)]))
                continue
            x = _resized(x, goal)
            x = block(torch.cat([x, skips.pop()], 1) if skips else x)
        # Without padding a stage has a row less than its stride says.
        return _resized(self.head(x), size)


def _block(channels_in: int, channels_out: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (channels_in, channels_out):
        convolution = nn.Conv2d(channels, channels_out, 3, padding=1, bias=False)
        nn.init.kaiming_uniform_(convolution.weight, nonlinearity="relu")
        layers += [convolution, nn.BatchNorm2d(channels_out), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def _resized(x: Tensor, size: Sequence[int]) -> Tensor:
    return x if x.shape[-2:] == tuple(size) else functional.interpolate(x, size=tuple(size), mode="nearest")
