import pytest
import torch
from torch.nn.functional import interpolate

from tcam_cache.cams import CamExtractor, ScaledCams, normalise, require_cells, sides_of
from tcam_cache.errors import ConfigError

TAGS = (2, 0, 3)


def shrunk(images, side):
    return interpolate(images, (side, side), mode="bilinear", align_corners=False, antialias=True)


@pytest.mark.parametrize(
    ("scales", "image_size", "sides"),
    [
        ((0.7, 1, 1.4, 1.9), 224, (160, 224, 320, 416)),
        ((1.9, 1, 0.7), 224, (160, 224, 416)),
        ((1,), 100, (100,)),
        ((1, 2), 100, (96, 192)),
        ((0.1, 1), 224, (32, 224)),
    ],
)
def test_sides_are_multiples_of_32_but_for_the_frame_itself_alone(scales, image_size, sides):
    assert sides_of(scales, image_size) == sides


def test_scales_that_make_the_same_frames_are_refused():
    with pytest.raises(ConfigError, match=r"frames of 224, 224 pixels out of 224; expected different ones"):
        sides_of((1, 1.02), 224)


@pytest.mark.parametrize("layers", [["last"], ["layer2.1.conv2"]])
@pytest.mark.parametrize("flip", [False, True])
def test_the_map_is_the_mean_of_each_size_s_own_maps_at_the_finest(
    random_classifier, random_images, layers, flip
):
    extractor = CamExtractor(random_classifier("resnet18"), "layercam", layers)
    images, tags = random_images(batch=2, height=96, width=96), TAGS[:2]
    cams, logits = ScaledCams(extractor, (32, 64, 96), flip, base=64)(images, tags)
    finest = extractor(images, tags)[0].maps.shape[-2:]
    maps = []
    for side in (32, 64, 96):
        frames = images if side == 96 else shrunk(images, side)
        for mirrored in (False, True) if flip else (False,):
            one = extractor(frames.flip(-1) if mirrored else frames, tags)[0].maps
            one = one.flip(-1) if mirrored else one
            maps.append(interpolate(one[:, None], finest, mode="bilinear", align_corners=False)[:, 0])
    expected = normalise(torch.stack(maps).mean(0))
    torch.testing.assert_close(cams.maps, expected.maps, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(cams.raw_max, expected.raw_max, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(logits, extractor(shrunk(images, 64), tags)[1])


def test_a_mirrored_frame_has_the_mirrored_map(random_classifier, random_images):
    maps = ScaledCams(CamExtractor(random_classifier("resnet18")), (64, 96), True, base=96)
    images = random_images(height=96, width=96)
    plain, mirrored = maps(images, TAGS)[0], maps(images.flip(-1), TAGS)[0]
    torch.testing.assert_close(mirrored.maps, plain.maps.flip(-1), rtol=1e-4, atol=1e-5)


def test_every_size_gives_the_map_of_the_class_that_is_predicted_at_the_frame_s_own(
    random_classifier, random_images
):
    model, images = random_classifier("resnet18"), random_images(batch=6, height=128, width=128, seed=3)
    # Around the mean of their logits classes change from one size to the next.
    model.head.bias.sub_(model(shrunk(images, 96)).mean(0))
    extractor = CamExtractor(model)
    maps = ScaledCams(extractor, (64, 96, 128), False, base=96)
    cams, logits = maps(images, "prediction")
    assert torch.equal(cams.maps, maps(images, logits.argmax(1))[0].maps)
    others = extractor(shrunk(images, 64), "prediction")[1].argmax(1)
    assert not torch.equal(others, logits.argmax(1)), "sizes that agree show nothing"


def test_all_classes_can_be_asked_for(random_classifier, random_images):
    maps = ScaledCams(CamExtractor(random_classifier("resnet18")), (64, 96), True, base=96)
    images = random_images(height=96, width=96)
    every, _ = maps(images, "all")
    assert every.maps.shape == (3, 4, 6, 6)
    torch.testing.assert_close(every.maps[1, TAGS[1]], maps(images, TAGS)[0].maps[1])


def test_a_size_with_too_few_cells_is_refused_with_what_to_do(random_classifier):
    extractor = CamExtractor(random_classifier("resnet18"))
    require_cells(extractor, (64, 96), 96)
    with pytest.raises(
        ConfigError, match=r"32 pixels make maps of 2 x 2 cells.*4 x 4.* Scales of 0\.67 or more"
    ):
        require_cells(extractor, (32, 96), 96)
