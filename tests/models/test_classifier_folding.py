import pytest
import torch
from torch import nn

from tcam_cache.cams import CamExtractor
from tcam_cache.config.classifier import ARCHITECTURES
from tcam_cache.models import fold_batch_norm


@pytest.mark.parametrize("arch", [arch for arch in ARCHITECTURES if arch != "vgg16"])
def test_a_folded_classifier_is_the_same_function(random_classifier, random_images, arch):
    model = random_classifier(arch, 16)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    folded = fold_batch_norm(model)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in folded.modules())
    assert list(folded.layers()) == list(model.layers())
    images = random_images(2, 64, 64)
    for ours, theirs in zip(folded.features(images), model.features(images), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not folded.training and not any(value.requires_grad for value in folded.parameters())


def test_in_single_precision_no_map_moves_by_more_than_1e_5(random_classifier, random_images):
    model = random_classifier("resnet18").float()
    images = random_images(4, 96, 96).float()
    plain, _ = CamExtractor(model)(images, 1)
    folded, _ = CamExtractor(fold_batch_norm(model))(images, 1)
    assert 0 < (folded.maps - plain.maps).abs().max() < 1e-5


def test_a_convolution_whose_own_output_is_wanted_keeps_its_batch_norm(random_classifier, random_images):
    model, images = random_classifier("resnet18"), random_images()
    folded = fold_batch_norm(model, ["conv1"])
    assert sum(isinstance(part, nn.BatchNorm2d) for part in folded.modules()) == 1
    wanted, _ = CamExtractor(model, "layercam", ["conv1"])(images, 1)
    found, _ = CamExtractor(folded, "layercam", ["conv1"])(images, 1)
    torch.testing.assert_close(found.maps, wanted.maps, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.raw_max, wanted.raw_max, rtol=1e-5, atol=1e-9)
