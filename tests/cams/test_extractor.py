"""Every method against its published definition by autograd, one frame and one class at a time."""

import gc

import pytest
import torch
from torch import nn

from tcam_cache.cams import CamExtractor, normalise
from tcam_cache.cams.fusion import fused
from tcam_cache.cams.methods import ACTIVATION, CLOSED_FORMS, GRADIENT_FORMS, closed_form
from tcam_cache.config.build import METHODS
from tcam_cache.errors import ConfigError

TAGS = (2, 0, 3)
EARLIER = {"resnet18": ("conv1", "layer1.0", "layer2.1", "layer4.0"),
           "squeezenet1_1": ("features.0", "features.1", "features.7", "features.11")}  # fmt: skip
EXACT = {"rtol": 1e-9, "atol": 1e-12}


def test_the_methods_are_those_that_the_config_offers():
    assert (*CLOSED_FORMS, ACTIVATION) == METHODS
    assert set(GRADIENT_FORMS) == set(CLOSED_FORMS) - {"cam"}


@pytest.mark.parametrize("method", METHODS)
def test_at_the_last_layer_each_method_is_its_published_definition(
    model, method, random_images, assert_is_the_definition
):
    extractor = CamExtractor(model, method)
    assert extractor.is_closed
    assert_is_the_definition(model, extractor.layers[0], method, random_images(seed=4), TAGS)


@pytest.mark.parametrize("method", [*GRADIENT_FORMS, ACTIVATION])
@pytest.mark.parametrize("place", range(4))
def test_at_any_other_layer_each_method_is_its_published_definition(
    model, method, place, random_images, assert_is_the_definition
):
    name = EARLIER[model.arch][place]
    assert not CamExtractor(model, method, [name]).is_closed
    assert_is_the_definition(model, name, method, random_images(2, seed=5), TAGS[:2])


@pytest.mark.parametrize("method", GRADIENT_FORMS)
def test_the_closed_form_is_the_gradient_form_to_the_last_digits_of_float64(
    model, method, random_images, run_to
):
    values = model.standardised(random_images())
    name = CamExtractor(model).layers[0]
    activations, logits = run_to(model, name, values)
    (found,) = torch.autograd.grad(logits[torch.arange(3), list(TAGS)].sum(), activations)
    expected = GRADIENT_FORMS[method](activations.detach(), found[None])
    ours = closed_form(method, activations.detach(), model.head.weight[list(TAGS), None])
    torch.testing.assert_close(ours[:, 0], expected, **EXACT)


def test_a_head_that_is_no_linear_layer_is_differentiated(
    random_classifier, random_images, assert_is_the_definition
):
    model = random_classifier("squeezenet1_1")
    torch.manual_seed(3)
    model.head = nn.Sequential(nn.Linear(512, 8), nn.Tanh(), nn.Linear(8, 4)).double().requires_grad_(False)
    assert not CamExtractor(model).is_closed
    assert_is_the_definition(model, "features.12", "layercam", random_images(seed=6), TAGS)


def test_a_backbone_that_ends_in_hardswish_agrees_too(
    random_classifier, random_images, run_to, assert_is_the_definition
):
    model = random_classifier("mobilenet_v3_large")
    name = CamExtractor(model).layers[0]
    assert run_to(model, name, model.standardised(random_images()))[0].min() < 0
    for method in ("layercam", "gradcam"):
        assert_is_the_definition(model, name, method, random_images(seed=7), TAGS)


@pytest.mark.parametrize("layers", [["last"], ["layer2"], ["layer1", "layer3.0"]])
def test_the_frames_and_classes_beside_it_change_no_map(random_classifier, random_images, layers):
    model = random_classifier("resnet18")
    images = random_images()
    extractor = CamExtractor(model, "layercam", layers)
    together, _ = extractor(images, TAGS)
    every, _ = extractor(images, "all")
    assert every.maps.shape[:2] == (3, 4)
    for row, tag in enumerate(TAGS):
        alone, _ = extractor(images[row : row + 1], tag)
        torch.testing.assert_close(alone.maps[0], together.maps[row])
        torch.testing.assert_close(every.maps[row, tag], together.maps[row])
        torch.testing.assert_close(every.raw_max[row, tag], together.raw_max[row])
    assert not torch.allclose(every.maps[:, 0], every.maps[:, 1])


@pytest.mark.parametrize("layers", [["last"], ["layer3"]])
def test_the_prediction_can_be_asked_for(random_classifier, random_images, layers):
    model = random_classifier("resnet18")
    extractor = CamExtractor(model, "gradcam++", layers)
    cams, logits = extractor(random_images(seed=8), "prediction")
    wanted, _ = extractor(random_images(seed=8), logits.argmax(1))
    assert torch.equal(cams.maps, wanted.maps)


@pytest.mark.parametrize("layers", [["last"], ["layer2"], ["layer1", "layer3.0"]])
def test_the_mean_activation_is_that_of_every_class(random_classifier, random_images, layers):
    model = random_classifier("resnet18")
    extractor = CamExtractor(model, ACTIVATION, layers)
    every, logits = extractor(random_images(), "all")
    assert every.maps.shape[:2] == (3, 4) and not every.flat.any()
    for targets in (0, TAGS, "prediction"):
        cams, again = extractor(random_images(), targets)
        assert torch.equal(again, logits) and torch.equal(logits, model(random_images()))
        for tag in range(4):
            assert torch.equal(every.maps[:, tag], cams.maps)
            assert torch.equal(every.raw_max[:, tag], cams.raw_max)


def test_the_mean_activation_asks_no_gradient(random_classifier, random_images, monkeypatch):
    def refused(*_given, **_named):
        raise AssertionError("it was differentiated")

    monkeypatch.setattr(torch.autograd, "grad", refused)
    model = random_classifier("resnet18")
    cams, _ = CamExtractor(model, ACTIVATION, ["layer1", "layer3"])(random_images(), TAGS)
    assert not cams.flat.any()
    with pytest.raises(AssertionError, match="differentiated"):
        CamExtractor(model, "layercam", ["layer1"])(random_images(), TAGS)


@pytest.mark.parametrize("method", ["layercam", ACTIVATION])
@pytest.mark.parametrize("output_stride", [8, 32])
def test_several_layers_are_fused_by_their_maximum_at_the_finest_resolution(
    random_classifier, random_images, by_definition, output_stride, method
):
    model = random_classifier("resnet18", output_stride)
    images, names = random_images(), ["layer4", "layer1", "layer2"]
    extractor = CamExtractor(model, method, names)
    assert extractor.layers == ("layer1.1", "layer2.1", "layer4.1")
    cams, _ = extractor(images, TAGS)
    assert cams.maps.shape == (3, 8, 12)
    for row, tag in enumerate(TAGS):
        maps = [by_definition(model, name, method, images[row], tag)[None] for name in extractor.layers]
        # ResNet's last two stages are layer3 and layer4; all before them are scaled by tanh.
        expected = normalise(fused(maps, [True, True, False]))
        torch.testing.assert_close(cams.maps[row], expected.maps[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layers", [["last"], ["layer2", "layer3"]])
@pytest.mark.parametrize("method", ["layercam", "smooth-gradcam++", ACTIVATION])
def test_it_works_in_any_gradient_mode_and_leaves_the_model_as_it_was(
    random_classifier, random_images, layers, method
):
    model = random_classifier("resnet18")
    model.stages[0].requires_grad_(True)
    flags = [value.requires_grad for value in model.parameters()]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    extractor = CamExtractor(model, method, layers)
    expected, _ = extractor(random_images(1), 2)
    for context in (torch.no_grad, torch.inference_mode, torch.enable_grad):
        with context():
            cams, logits = extractor(random_images(1), 2)
        assert torch.equal(cams.maps, expected.maps), context
        assert not cams.maps.requires_grad and not logits.requires_grad
    assert all(value.grad is None for value in model.parameters())
    assert flags == [value.requires_grad for value in model.parameters()]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(part._forward_hooks or part._backward_hooks for part in model.modules())


def live_tensors():
    gc.collect()
    return sum(isinstance(one, torch.Tensor) for one in gc.get_objects())


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("layers", [["last"], ["layer2", "last"]])
def test_no_tensor_is_left_behind_however_many_batches(random_classifier, random_images, layers):
    extractor = CamExtractor(random_classifier("resnet18"), "layercam", layers)
    extractor(random_images(1), 0)
    before = live_tensors()
    for seed in range(10):
        extractor(random_images(1, seed=seed), 0)
    assert live_tensors() <= before


def test_a_constant_head_gives_flat_maps_never_nan(random_classifier, random_images):
    model = random_classifier("squeezenet1_1")
    nn.init.constant_(model.head.weight, -1.0)
    for method in CLOSED_FORMS:
        cams, _ = CamExtractor(model, method)(random_images(), TAGS)
        assert torch.isfinite(cams.maps).all()
        assert method == "cam" or (cams.flat.all() and cams.maps.eq(0).all() and cams.raw_max.eq(0).all())


@pytest.mark.parametrize("method", GRADIENT_FORMS)
def test_a_dead_layer_gives_flat_maps_never_nan(method):
    maps = GRADIENT_FORMS[method](torch.zeros(2, 5, 3, 4), torch.zeros(1, 2, 5, 3, 4))
    assert maps.eq(0).all()


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1.0, 1e9])
def test_gradients_of_any_size_keep_their_digits_in_grad_cam_pp(scale):
    generator = torch.Generator().manual_seed(0)
    activations = torch.rand(1, 6, 3, 4, generator=generator)
    gradients = torch.randn(1, 1, 6, 3, 4, generator=generator) * scale
    ours = GRADIENT_FORMS["gradcam++"](activations, gradients)
    exact = GRADIENT_FORMS["gradcam++"](activations.double(), gradients.double())
    torch.testing.assert_close((ours / scale).double(), exact / scale, rtol=1e-4, atol=1e-6)


def test_bf16_moves_the_maps_a_little_and_stores_single_precision(random_classifier, random_images):
    model = random_classifier("resnet18").float()
    images = random_images().float()
    for layers in (["last"], ["layer3"]):
        exact, _ = CamExtractor(model, "layercam", layers)(images, TAGS)
        coarse, logits = CamExtractor(model, "layercam", layers, amp=torch.bfloat16)(images, TAGS)
        assert coarse.maps.dtype == logits.dtype == torch.float32
        assert 0 < (coarse.maps - exact.maps).abs().mean() < 0.05


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"method": "scorecam"}, rf"'scorecam'.*{', '.join(METHODS[:2])}"),
        (
            {"layers": ["layer9"]},
            r"(?s)conv1, bn1, relu, maxpool, layer1\.0.*layer4\.1.*layer9: no such layer",
        ),
        ({"layers": ["avgpool"]}, r"(?s)avgpool: comes after pooling, its activation is not spatial"),
        ({"layers": ["fc"]}, "not spatial"),
        ({"layers": [""]}, "an empty name: no such layer"),
        ({"layers": []}, "got 0 layer"),
        ({"method": "cam", "layers": ["layer2"]}, r"right behind the layer. Got layer2\.1 .*Take the last"),
    ],
)
def test_a_method_or_layer_that_is_none_is_refused_with_those_that_are(random_classifier, given, said):
    with pytest.raises(ConfigError, match=said.replace("++", r"\+\+")):
        CamExtractor(random_classifier("resnet18"), **given)


def test_a_classifier_in_training_mode_is_refused(random_classifier):
    with pytest.raises(ConfigError, match="freeze"):
        CamExtractor(random_classifier("resnet18").train())


def test_a_layer_with_a_single_position_is_refused_with_those_that_are(random_classifier, random_images):
    extractor = CamExtractor(random_classifier("resnet18", 32))
    with pytest.raises(ConfigError, match=r"layer layer4\.1 .*\(3, 64, 1, 1\): they are not spatial.*conv1"):
        extractor(random_images(height=32, width=32), 0)


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (4, r"\[4\]; expected some of: 0 bird, 1 boat, 2 cat, 3 dog"),
        ([0, -1, 7], r"\[-1, 7\]"),
        ([0, 1], r"shape \(2,\) .* for 3 frames"),
        ([0.0, 1.0, 2.0], "one class index"),
        ("dog", "'dog'; expected class indices, 'prediction' or 'all'"),
    ],
)
def test_a_class_that_is_none_is_refused(random_classifier, random_images, targets, said):
    with pytest.raises(ConfigError, match=said):
        CamExtractor(random_classifier("resnet18"))(random_images(), targets)


@pytest.mark.parametrize("layers", [["last"], ["layer2.1", "layer4.0"]])
@pytest.mark.parametrize("method", ["layercam", "smooth-gradcam++", ACTIVATION])
def test_features_come_from_the_pass_of_the_maps_and_are_those_of_the_classifier(
    random_classifier, random_images, layers, method
):
    model, images = random_classifier("resnet18"), random_images(1, seed=3)
    cams, logits = CamExtractor(model, method, layers)(images, 1)
    extractor = CamExtractor(model, method, layers, taps=True)
    features, deepest, tapped, of_pass = extractor.with_features(images, torch.tensor([1] * len(images)))
    torch.testing.assert_close(tapped.maps, cams.maps)
    torch.testing.assert_close(of_pass, logits)
    with torch.no_grad():
        for found, expected in zip(features, model.features(images), strict=True):
            torch.testing.assert_close(found, expected)
        torch.testing.assert_close(deepest, model.deepest(images))
    assert not any(found.requires_grad for found in (*features, deepest))


def test_an_extractor_without_taps_keeps_no_features(random_classifier, random_images):
    with pytest.raises(ConfigError, match="taps=True"):
        CamExtractor(random_classifier("resnet18")).with_features(random_images(), "prediction")
