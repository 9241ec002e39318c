import math

import pytest
import torch
from torch import nn

from tcam_cache.errors import ConfigError
from tcam_cache.models import Decoder

RESNET50 = (64, 256, 512, 1024, 2048)


def features(channels, sizes, batch=1):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(batch, c, s, s, generator=generator) for c, s in zip(channels, sizes, strict=True)]


def images(*size, batch=1):
    return torch.rand(batch, 3, *size, generator=torch.Generator().manual_seed(1))


def widths(decoder):
    return [block[0].out_channels for block in decoder.blocks]


def test_on_a_resnet50_it_has_the_published_number_of_parameters():
    trainable = [p.numel() for p in Decoder(RESNET50).parameters() if p.requires_grad]
    assert sum(trainable) == 9_013_218


def test_channels_halve_from_block_to_block_and_end_at_16():
    assert widths(Decoder(RESNET50)) == [256, 128, 64, 32, 16]
    assert widths(Decoder((96, 256, 512, 512))) == [128, 64, 32, 16]


def test_the_width_scales_channels_down_to_8():
    assert widths(Decoder((96, 256, 512, 512), width=0.5)) == [64, 32, 16, 8]
    assert widths(Decoder((96, 256, 512, 512), width=0.25)) == [32, 16, 8, 8]


@pytest.mark.parametrize(
    ("channels", "sizes", "size"),
    [
        ((4, 8, 12, 16, 20), (32, 16, 8, 4, 2), (64, 64)),
        ((4, 8, 12, 16, 20), (32, 16, 8, 8, 8), (64, 64)),
        ((4, 8, 12, 12), (109, 54, 27, 13), (224, 224)),
        ((4, 8), (7, 3), (15, 15)),
    ],
    ids=["stride 32", "stride 8", "squeezenet at 224", "odd"],
)
def test_logits_have_the_size_of_the_input(channels, sizes, size):
    decoder = Decoder(channels, width=0.5)
    assert decoder(features(channels, sizes), images(*size)).shape == (1, 2, *size)


def test_the_input_need_not_be_square():
    maps = [torch.randn(2, 4, 9, 16), torch.randn(2, 8, 4, 8)]
    assert Decoder((4, 8))(maps, images(18, 33, batch=2)).shape == (2, 2, 18, 33)


def test_a_stage_at_the_input_size_needs_no_block_without_skip():
    channels, sizes = (4, 8, 12), (32, 16, 8)
    decoder = Decoder(channels, strides=(1, 2, 4))
    assert widths(decoder) == [32, 16]
    assert decoder(features(channels, sizes), images(32, 32)).shape == (1, 2, 32, 32)


def test_every_stage_and_every_parameter_takes_part():
    channels, sizes = (4, 8, 12), (16, 8, 4)
    decoder = Decoder(channels)
    inputs = [one.requires_grad_() for one in features(channels, sizes, batch=2)]
    decoder(inputs, images(32, 32, batch=2)).square().sum().backward()
    assert all(one.grad.abs().sum() > 0 for one in inputs)
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in decoder.parameters())


def test_without_a_resize_a_block_only_joins_and_convolves():
    decoder = Decoder((4, 8), strides=(1, 2)).eval()
    shallow, deep = features((4, 8), (6, 6))
    by_hand = decoder.head(decoder.blocks[0](torch.cat([deep, shallow], 1)))
    assert torch.equal(decoder([shallow, deep], images(6, 6)), by_hand)


def test_a_block_repeats_pixels_when_it_doubles_the_size():
    decoder = Decoder((4, 8), strides=(1, 2)).eval()
    shallow, deep = features((4, 8), (8, 4))
    doubled = deep.repeat_interleave(2, 2).repeat_interleave(2, 3)
    frames = images(8, 8)
    assert torch.equal(decoder([shallow, deep], frames), decoder([shallow, doubled], frames))


def test_weights_start_kaiming_uniform_in_the_blocks_and_xavier_in_the_head():
    decoder = Decoder((64, 128))
    for layer in decoder.blocks.modules():
        if isinstance(layer, nn.Conv2d):
            bound = math.sqrt(6 / (9 * layer.in_channels))
            assert layer.bias is None
            weight = layer.weight.detach()
            assert 0.97 * bound < weight.abs().max() <= bound
            assert weight.std() == pytest.approx(bound / math.sqrt(3), rel=0.05)
    bound = math.sqrt(6 / (9 * (decoder.head.in_channels + 2)))
    assert 0.9 * bound < decoder.head.weight.abs().max() <= bound
    assert decoder.head.bias.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("channels", "strides", "sizes", "expected", "skips"),
    [
        ((12,), (16,), (4,), [128, 64, 32, 16], 0),
        ((12,), (14,), (4,), [128, 64, 32, 16], 0),
        ((4, 8, 12), (4, 8, 16), (16, 8, 4), [128, 64, 32, 16], 2),
        ((4, 8), (2, 16), (32, 4), [128, 64, 32, 16], 1),
        ((4, 8, 12), (2, 4, 4), (32, 16, 16), [64, 32, 16], 2),
        ((12,), (1,), (64,), [], 0),
    ],
    ids=["tokens", "patches of 14", "stem of stride 4", "a gap", "dilated", "full resolution"],
)
def test_there_is_one_block_for_each_stride_of_two_whatever_stages_there_are(
    channels, strides, sizes, expected, skips
):
    side = 56 if strides == (14,) else 64
    decoder = Decoder(channels, strides=strides)
    assert widths(decoder) == expected
    assert sum(join not in (None, 0) for join in decoder.joins) == skips
    assert decoder(features(channels, sizes), images(side, side)).shape == (1, 2, side, side)


def test_an_encoder_without_stages_is_refused():
    with pytest.raises(ConfigError, match="without stages"):
        Decoder(())


@pytest.mark.parametrize("stride", [1, 2, 4, 8, 16])
def test_maps_of_a_stride_are_so_many_times_smaller_whatever_the_frame_s_size(stride):
    decoder = Decoder((4, 8, 12, 16), strides=(2, 4, 8, 16), map_stride=stride)
    for side in (64, 61):
        of_frame = features((4, 8, 12, 16), [math.ceil(side / 2**power) for power in (1, 2, 3, 4)])
        small = math.ceil(side / stride)
        assert decoder(of_frame, images(side, side)).shape == (1, 2, small, small)


def test_stages_finer_than_the_maps_are_not_read():
    decoder = Decoder((4, 8, 12), strides=(2, 4, 8), map_stride=4)
    stages = features((4, 8, 12), (32, 16, 8))
    assert torch.equal(decoder.eval()(stages, images(64, 64)), decoder([None, *stages[1:]], images(64, 64)))
    with pytest.raises(ConfigError, match="without stages of stride 16 or more"):
        Decoder((4, 8, 12), strides=(2, 4, 8), map_stride=16)
