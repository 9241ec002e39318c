"""Tests of a decoder's foreground maps as what is cached, by hand: the decoder says what it is told."""

import pytest
import torch
from torch import nn

from tcam_cache.building.map_source import DecoderMaps, _cells
from tcam_cache.cams import CamExtractor
from tcam_cache.inference import Localizer
from tcam_cache.models import Decoder, seeded_classifier


class Told(nn.Module):
    """A decoder whose foreground logit is given, against a background of 0."""

    def __init__(self, foreground):
        super().__init__()
        self.foreground = foreground

    def forward(self, features, images):
        assert self.foreground.shape[-2:] == images.shape[-2:]
        return torch.stack([torch.zeros_like(self.foreground), self.foreground], 1)


@pytest.fixture(scope="module")
def classifier():
    model = seeded_classifier("squeezenet1_1", ("bird", "cat"), None, seed=0)
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(0))
    return model.freeze()


def test_a_cell_is_the_mean_probability_of_its_pixels_scaled_to_its_frame_s_extremes(classifier):
    foreground = torch.zeros(2, 32, 32)
    # Of probability 0.75 in one half of the top left cell of four, 0.25 in the bottom right one.
    foreground[0, :16, :8], foreground[0, 16:, 16:] = torch.log(torch.tensor([3.0, 1 / 3]))
    images = torch.rand(2, 3, 32, 32)
    cams, logits = DecoderMaps(Localizer(classifier, Told(foreground), None, None, None), 2)(images)
    torch.testing.assert_close(cams.raw_min, torch.tensor([0.25, 0.5]))
    torch.testing.assert_close(cams.raw_max, torch.tensor([0.625, 0.5]))
    # (0.625, 0.5, 0.5, 0.25) less 0.25, in units of 0.375.
    torch.testing.assert_close(cams.maps[0], torch.tensor([[1.0, 2 / 3], [2 / 3, 0.0]]))
    assert cams.flat.tolist() == [False, True] and cams.maps[1].eq(0).all()
    assert torch.equal(logits, classifier(images))


def test_on_mps_which_refuses_sizes_that_do_not_divide_cells_are_averaged_on_the_cpu():
    class OnMps:
        device = torch.device("mps")

        def cpu(self):
            return there

    there = torch.rand(2, 32, 32)
    assert torch.equal(_cells(OnMps(), 6), _cells(there, 6)) and _cells(there, 6).shape == (2, 6, 6)


def test_the_class_that_is_asked_for_changes_nothing(classifier):
    torch.manual_seed(0)
    decoder = Decoder(classifier.channels, 0.125).eval().requires_grad_(False)
    maps = DecoderMaps(Localizer(classifier, decoder, None, None, None), 8)
    images = torch.rand(1, 3, 64, 64)
    found = [maps(images, target)[0].maps for target in (0, 1, "prediction")]
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2]) and found[0].any()


def test_it_gives_what_an_extractor_gives(classifier):
    images = torch.rand(2, 3, 32, 32)
    ours, logits = DecoderMaps(Localizer(classifier, Told(torch.randn(2, 32, 32)), None, None, None), 4)(
        images, 0
    )
    theirs, known = CamExtractor(classifier)(images, 0)
    kinds = [[(value.dtype, value.ndim) for value in vars(cams).values()] for cams in (ours, theirs)]
    assert kinds[0] == kinds[1] and (logits.dtype, logits.shape) == (known.dtype, known.shape)
