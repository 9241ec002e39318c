"""Tests of a run at work on frames in memory: the same boxes as `predict` finds, and named errors."""

import copy
import csv
import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from tcam_cache import CamExtractor, Localizer, predict
from tcam_cache.cams import ScaledCams
from tcam_cache.config import PredictConfig
from tcam_cache.devices import resize_maps
from tcam_cache.errors import ConfigError, FrameError
from tcam_cache.models import Presence


@pytest.fixture(scope="module")
def localizer(small_run):
    return Localizer.open(small_run, device="cpu")


@pytest.fixture(scope="module")
def frames(small_data):
    paths = sorted((small_data / "bird/0003").glob("*.jpg"))
    return [np.array(Image.open(path)) for path in paths]


def test_one_frame_gives_its_map_box_tag_and_logits(localizer, frames):
    found = localizer.predict(frames[0])
    assert found.map.shape == frames[0].shape[:2] and found.map.dtype == np.float32
    assert 0 <= found.map.min() <= found.map.max() <= 1
    assert found.logits.shape == (3,)
    assert found.tag == localizer.classifier.classes[found.logits.argmax()]


def test_frames_are_taken_one_by_one_as_they_come(localizer, frames):
    came = []

    def camera():
        for number, frame in enumerate(frames):
            came.append(number)
            yield frame

    found = localizer.predict(camera())
    assert came == []
    first = next(found)
    assert came == [0]
    np.testing.assert_array_equal(first.map, localizer.predict(frames[0]).map)
    assert len(list(found)) == len(frames) - 1


def test_boxes_are_those_of_the_command(localizer, frames, small_run, small_data, tmp_path):
    config = PredictConfig(
        run=small_run, source=small_data / "bird/0003", out=tmp_path, workers=0, device="cpu"
    )
    predict(config)
    rows = list(csv.DictReader((tmp_path / "boxes.csv").read_text().splitlines()))
    for row, found in zip(rows, localizer.predict(frames), strict=True):
        corners = [row[name] for name in ("xmin", "ymin", "xmax", "ymax")]
        assert ([float(x) for x in corners] if corners[0] else None) == (
            pytest.approx(list(found.box), abs=0.006) if found.box else None
        )
        assert row["tag"] == found.tag


def test_a_stricter_threshold_gives_a_box_inside(localizer, frames):
    loose, strict = (localizer.predict(frames[0], threshold).box for threshold in (0.2, 0.9))
    assert loose.x0 <= strict.x0 and loose.y0 <= strict.y0 and strict.x1 <= loose.x1 and strict.y1 <= loose.y1


@pytest.mark.parametrize(
    ("frame", "named"),
    [
        (np.zeros((4, 5, 3)), "float64"),
        (np.zeros((4, 5, 4), np.uint8), r"\(4, 5, 4\)"),
        (np.zeros((0, 5, 3), np.uint8), r"\(0, 5, 3\)"),
    ],
)
def test_what_is_no_frame_is_named(localizer, frame, named):
    with pytest.raises(FrameError, match=named):
        localizer.predict(frame)


def test_what_is_no_array_in_an_iterable_is_named(localizer):
    with pytest.raises(FrameError, match="got a str"):
        next(localizer.predict(["frame.jpg"]))


def test_a_mix_is_the_weighted_mean_of_decoder_and_cam_in_one_pass(localizer, frames):
    images = torch.from_numpy(np.stack(frames[:2])).permute(0, 3, 1, 2).float() / 255
    images = functional.interpolate(images, (64, 64))
    decoded, logits = localizer.foreground(images)
    cams, _ = CamExtractor(localizer.classifier, layers=localizer.extractor.layers)(images, [1, 0])
    cam = resize_maps(cams.maps, 64)
    unit = decoded / decoded.amax((1, 2), keepdim=True)
    expected = {"mean": 0.35 * unit + 0.65 * cam, "geometric": unit**0.35 * cam**0.65}
    for mix, scores in expected.items():
        found = localizer.mixing(mix).locate(images, [1, 0])
        torch.testing.assert_close(found.scores, scores, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found.decoder, decoded, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found.logits, logits, rtol=1e-4, atol=1e-5)
    assert localizer.mixing("none").locate(images).cam is None
    assert localizer.mixing(None) is localizer and localizer.mixing("mean").threshold is None


@pytest.mark.parametrize("mix", ["none", "geometric"])
def test_presence_is_of_the_same_pass_and_absent_where_none_was_fitted(localizer, mix):
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert localizer.presence is None and localizer.mixing(mix).locate(images).presence is None
    deepest = localizer.classifier.deepest(images)
    weight = torch.rand(4, deepest.shape[1], generator=torch.Generator().manual_seed(1)).double()
    presence = Presence(None, weight, torch.zeros(4).double(), 1.0, 0.0, 0.5, {})
    telling = dataclasses.replace(localizer, presence=presence).mixing(mix)
    torch.testing.assert_close(telling.locate(images).presence, presence.of(deepest), rtol=1e-4, atol=1e-5)


def test_presence_of_one_frame_is_that_of_its_tag(localizer, frames):
    assert localizer.predict(frames[0]).presence is None
    weight = torch.zeros(4, localizer.classifier.head.in_features).double()
    presence = Presence(None, weight, torch.tensor([3.0, 1.0, 0.0, 0.0]).double(), 1.0, 0.0, 0.5, {})
    found = dataclasses.replace(localizer, presence=presence).predict(frames[0])
    margins = {"bird": 2.0, "car": -2.0, "dog": -3.0}
    assert found.presence == pytest.approx(1 / (1 + np.exp(-margins[found.tag])), abs=1e-6)


def test_where_the_cam_is_flat_the_decoder_s_map_stands_alone(localizer, frames):
    flat = copy.deepcopy(localizer.mixing("geometric"))
    flat.classifier.head.weight.zero_()
    found = flat.predict(frames[0])
    np.testing.assert_allclose(found.map, flat.mixing("none").predict(frames[0]).map, atol=1e-6)


def test_with_scales_the_mean_of_their_cams_is_mixed_in_and_the_rest_is_of_the_run_s_own_size(
    localizer, frames
):
    plain, scaled = localizer.mixing("geometric"), localizer.mixing("geometric", "1,2,3")
    assert (plain.side, scaled.side, scaled.threshold) == (64, 192, None)
    images = torch.from_numpy(np.stack(frames[:2])).permute(0, 3, 1, 2).float() / 255
    large = functional.interpolate(images, (192, 192))
    small = functional.interpolate(large, (64, 64), mode="bilinear", antialias=True).clamp(0, 1)
    found, own = scaled.locate(large, [1, 0]), plain.locate(small, [1, 0])
    for name in ("decoder", "logits"):
        torch.testing.assert_close(getattr(found, name), getattr(own, name), rtol=1e-4, atol=1e-5)
    averaged = ScaledCams(plain.extractor, (64, 128, 192), False, base=64)
    expected = resize_maps(averaged(large, [1, 0])[0].maps, 64)
    torch.testing.assert_close(found.cam, expected, rtol=1e-4, atol=1e-5)
    assert (found.cam - own.cam).abs().max() > 0.01
    assert scaled.predict(frames[0]).map.shape == frames[0].shape[:2]
    # The class of every size is the one that the run's own size predicts.
    predicted = scaled.locate(large)
    again = scaled.locate(large, own.logits.argmax(1).tolist())
    torch.testing.assert_close(predicted.scores, again.scores)


@pytest.mark.parametrize("scales", ["0.5", "2", "0.5,2"])
def test_whatever_the_scales_the_decoder_sees_the_frame_at_the_run_s_own_size(localizer, scales, monkeypatch):
    monkeypatch.setattr("tcam_cache.inference.localizer.require_cells", lambda *given: None)
    scaled = localizer.mixing("geometric", scales)
    assert scaled.side == (64 if scales == "0.5" else 128)
    images = torch.rand(1, 3, scaled.side, scaled.side, generator=torch.Generator().manual_seed(0))
    own = functional.interpolate(images, (64, 64), mode="bilinear", antialias=True).clamp(0, 1)
    decoded, logits = localizer.foreground(own)
    found = scaled.locate(images, 0)
    torch.testing.assert_close(found.decoder, decoded, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.logits, logits, rtol=1e-4, atol=1e-5)


def test_scales_of_what_is_not_mixed_in_are_refused(localizer):
    with pytest.raises(ConfigError, match="--scales 1,2 is of a CAM that is mixed in"):
        localizer.mixing("none", "1,2")
    assert localizer.mixing("none", "1").side == 64
