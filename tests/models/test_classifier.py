import pytest
import torch
from torch import nn

from tcam_cache.models import Classifier, seeded_classifier
from tcam_cache.models.backbone import torchvision_network

CLASSES = ("bird", "cat")


def same(ours, theirs):
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_the_seed_alone_draws_the_weights_whatever_was_drawn_before():
    states = []
    for before in (0, 12345):
        torch.manual_seed(before)
        torch.rand(before % 7)
        states.append(seeded_classifier("squeezenet1_1", CLASSES, None, seed=3).state_dict())
    assert same(*states)
    assert not same(states[0], seeded_classifier("squeezenet1_1", CLASSES, None, seed=4).state_dict())


def test_drawing_weights_leaves_the_global_generator_where_it_was():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    seeded_classifier("squeezenet1_1", CLASSES, None, seed=3)
    assert torch.equal(torch.rand(3), expected)


def test_a_network_that_is_given_keeps_its_weights():
    network = torchvision_network("squeezenet1_1")
    first = network.features[0].weight.clone()
    model = seeded_classifier("squeezenet1_1", CLASSES, None, seed=3, network=network)
    assert torch.equal(model.stages[0][0].weight, first)


def test_frozen_it_has_no_gradient_and_moves_no_statistic():
    model = Classifier("resnet18", CLASSES).freeze()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    assert not any(p.requires_grad for p in model.parameters())
    logits = model(torch.rand(2, 3, 64, 64))
    assert not logits.requires_grad
    assert not any(part.training for part in model.modules())
    assert same(model.state_dict(), before)


def test_logits_are_the_linear_layer_on_the_mean_of_the_deepest_features():
    model = Classifier("squeezenet1_1", CLASSES)
    nn.init.normal_(model.head.weight)
    nn.init.normal_(model.head.bias)
    images = torch.rand(2, 3, 64, 48)
    deepest = model.freeze().features(images)[-1]
    by_hand = deepest.flatten(2).mean(2) @ model.head.weight.T + model.head.bias
    torch.testing.assert_close(model(images), by_hand)
    assert by_hand.shape == (2, 2)


def test_colours_are_normalised_with_the_statistics_of_imagenet():
    model = Classifier("squeezenet1_1", CLASSES).freeze()
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    values = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(model.features(mean + std * values)[0], model.stages[0](values))


@pytest.mark.parametrize("classes", [("one",), tuple("abcdefghij")])
def test_there_is_one_logit_a_class(classes):
    model = Classifier("squeezenet1_1", list(classes)).freeze()
    assert model.classes == classes
    assert model(torch.rand(1, 3, 64, 64)).shape == (1, len(classes))
