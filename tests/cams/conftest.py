"""Frozen classifiers whose every number has been moved off its start, in float64, for oracles."""

import pytest
import torch
from torch import nn

from tcam_cache.cams import Classifier

CLASSES = ("bird", "boat", "cat", "dog")


def random_classifier(arch, output_stride=16, seed=0):
    """Return a frozen classifier in float64 whose head and batch norms have seen something."""
    torch.manual_seed(seed)
    model = Classifier(arch, CLASSES, output_stride).double()
    nn.init.normal_(model.head.weight)
    nn.init.normal_(model.head.bias)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.running_mean, std=0.3)
            nn.init.uniform_(part.running_var, 0.5, 2)
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, std=0.2)
    return model.freeze()


def random_images(batch=3, height=40, width=56, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, 3, height, width, dtype=torch.float64, generator=generator)


@pytest.fixture(scope="session", name="random_classifier")
def _random_classifier():
    return random_classifier


@pytest.fixture(scope="session", name="random_images")
def _random_images():
    return random_images


@pytest.fixture(scope="session", params=["resnet18", "squeezenet1_1"])
def model(request):
    """A ResNet with BatchNorm and a chain without, frozen, in float64; no test changes it."""
    return random_classifier(request.param)
