import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tcam_cache.cams import CLOSED_FORMS, Classifier, cams_of_tags, layer_cam, normalise
from tcam_cache.errors import ConfigError

CLASSES = ("bird", "boat", "cat", "dog")


def random_classifier(arch, seed=0):
    """Return a frozen classifier in float64 whose head and batch norms have seen something."""
    torch.manual_seed(seed)
    model = Classifier(arch, CLASSES).double()
    nn.init.normal_(model.head.weight)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.running_mean, std=0.3)
            nn.init.uniform_(part.running_var, 0.5, 2)
    return model.freeze()


def images(batch=3, height=72, width=104, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, 3, height, width, dtype=torch.float64, generator=generator)


def by_autograd(model, activations, tags):
    """Return LayerCAM by its definition: ReLU(sum_k ReLU(dS_c / dA_k) A_k)."""
    leaves = activations.detach().requires_grad_()
    scores = model.logits(leaves)[torch.arange(len(tags)), tags]
    (gradients,) = torch.autograd.grad(scores.sum(), leaves)
    return (gradients.relu() * leaves).sum(1).relu().detach()


@pytest.mark.parametrize("arch", ["resnet18", "squeezenet1_1"])
def test_the_closed_form_is_layercam_by_autograd(arch):
    model = random_classifier(arch)
    activations = model.features(images())[-1]
    assert activations.shape[-2] != activations.shape[-1]
    tags = torch.tensor([2, 0, 3])
    ours = layer_cam(activations, model.head.weight[tags])
    expected = by_autograd(model, activations, tags)
    assert expected.amax() > 0
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-15)


def test_each_frame_gets_the_map_of_its_own_tag():
    model = random_classifier("squeezenet1_1")
    activations = model.features(images())[-1]
    together = cams_of_tags(model, activations, torch.tensor([2, 0, 3]), "layercam")
    for row, tag in enumerate([2, 0, 3]):
        alone = cams_of_tags(model, activations[row : row + 1], torch.tensor([tag]), "layercam")
        torch.testing.assert_close(together.maps[row], alone.maps[0])
        torch.testing.assert_close(together.raw_max[row], alone.raw_max[0])
    other = cams_of_tags(model, activations, torch.tensor([1, 1, 1]), "layercam")
    assert not torch.allclose(together.maps, other.maps)


def test_negative_activations_are_cut_by_the_outer_relu():
    # sum_k relu(w_k) A_k / HW by hand: [2, -6] / 2 with w = (1, -5), since only the first weight counts.
    activations = torch.tensor([[[[2.0, -6.0]], [[-7.0, 9.0]]]])
    assert layer_cam(activations, torch.tensor([[1.0, -5.0]])).tolist() == [[[1.0, 0.0]]]


def test_a_backbone_that_ends_in_hardswish_agrees_with_autograd_too():
    model = random_classifier("mobilenet_v3_large")
    activations = model.features(images(batch=2))[-1]
    assert activations.min() < 0
    weights = model.head.weight[torch.tensor([0, 1])]
    uncut = torch.einsum("bk,bkhw->bhw", weights.relu(), activations)
    shift = activations - uncut.mean() / weights.relu().sum(1).mean()  # so that the outer ReLU has work
    ours = layer_cam(shift, weights)
    assert (ours == 0).any()
    assert (ours >= 0).all()
    torch.testing.assert_close(ours, by_autograd(model, shift, torch.tensor([0, 1])), rtol=1e-12, atol=1e-15)


def test_maps_run_from_0_to_1_and_keep_their_raw_extremes():
    raw = torch.tensor([[[1.0, 3.0], [2.0, 5.0]], [[-4.0, -4.0], [-2.0, -3.0]]])
    cams = normalise(raw)
    assert cams.maps.tolist() == [[[0, 0.5], [0.25, 1]], [[0, 0], [1, 0.5]]]
    assert cams.raw_min.tolist() == [1, -4]
    assert cams.raw_max.tolist() == [5, -2]
    assert cams.flat.tolist() == [False, False]


@pytest.mark.parametrize("value", [0.0, 3.5, -1.0, float("nan"), float("inf")])
def test_a_map_that_says_nothing_becomes_zeros_and_is_flagged(value):
    cams = normalise(torch.stack([torch.full((2, 3), value), torch.arange(6.0).view(2, 3)]))
    assert cams.maps[0].eq(0).all()
    assert cams.flat.tolist() == [True, False]
    assert cams.maps[1].amax() == 1


@pytest.mark.parametrize("hole", [float("nan"), float("inf"), float("-inf")])
def test_a_single_value_that_is_not_finite_flags_the_map(hole):
    raw = torch.arange(6.0).view(1, 2, 3)
    raw[0, 0, 1] = hole
    cams = normalise(raw)
    assert cams.flat.tolist() == [True]
    assert cams.maps.eq(0).all()


def test_a_constant_head_gives_flat_maps_never_nan():
    model = random_classifier("squeezenet1_1")
    nn.init.constant_(model.head.weight, -1.0)
    cams = cams_of_tags(model, model.features(images())[-1], torch.tensor([0, 1, 2]), "layercam")
    assert cams.flat.all()
    assert cams.maps.eq(0).all()
    assert cams.raw_max.eq(0).all()


@settings(max_examples=60)
@given(st.lists(st.floats(-(2.0**99), 2.0**99, width=32), min_size=6, max_size=6))
def test_whatever_the_values_maps_lie_in_0_1_and_reach_both_ends_unless_flat(values):
    raw = torch.tensor(values).view(1, 2, 3)
    cams = normalise(raw)
    assert torch.isfinite(cams.maps).all()
    assert bool(cams.flat) == (len(set(raw.flatten().tolist())) == 1)
    assert (cams.maps.amin(), cams.maps.amax()) == ((0, 0) if cams.flat else (0, 1))


def test_the_tiniest_difference_is_not_flat():
    low = torch.tensor(1.0)
    cams = normalise(torch.stack([low, torch.nextafter(low, torch.tensor(2.0))]).view(1, 1, 2))
    assert cams.maps.tolist() == [[[0, 1]]]


def test_maps_are_float32_whatever_the_features_are():
    model = random_classifier("squeezenet1_1")
    cams = cams_of_tags(model, model.features(images())[-1], torch.tensor([0, 1, 2]), "layercam")
    assert cams.maps.dtype == torch.float32


def test_an_unknown_method_lists_those_that_exist():
    model = random_classifier("squeezenet1_1")
    with pytest.raises(ConfigError, match=rf"'scorecam'.*{', '.join(CLOSED_FORMS)}"):
        cams_of_tags(model, torch.zeros(1, 512, 2, 2), torch.tensor([0]), "scorecam")


def test_a_head_that_allows_no_closed_form_is_refused_by_name():
    model = random_classifier("squeezenet1_1")
    model.head = nn.Sequential(nn.Linear(512, 8), nn.ReLU(), nn.Linear(8, 4))
    with pytest.raises(ConfigError, match=r"one linear layer as head, got Sequential"):
        cams_of_tags(model, torch.zeros(1, 512, 2, 2), torch.tensor([0]), "layercam")
