"""Tests of every stage on backbones of timm's: one convolutional, one of tokens."""

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from tcam_cache.cache import CamCache
from tcam_cache.config import BuildConfig, ClassifierConfig, train_config
from tcam_cache.inference import Localizer
from tcam_cache.models import read_classifier_file
from tcam_cache.stages.build import build_cache
from tcam_cache.stages.classifier import fit_classifier
from tcam_cache.stages.train import train_decoder

pytestmark = pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed")

CNN, TOKENS = "timm:test_efficientnet", "timm:test_vit"


@pytest.fixture(scope="module")
def fitted(small_manifest, tmp_path_factory):
    """Return a function that fits a classifier on a backbone once, and returns its file."""
    folder, made = tmp_path_factory.mktemp("fitted"), {}

    def fit(arch):
        if arch not in made:
            out = folder / f"{arch.removeprefix('timm:')}.pt"
            settings = {"weights": "none", "preset": "paper", "epochs": 1, "batch_size": 8, "workers": 0}
            fit_classifier(ClassifierConfig(manifest=small_manifest, out=out, arch=arch, **settings))
            made[arch] = out
        return made[arch]

    return fit


@pytest.fixture(scope="module")
def built(small_manifest, fitted, tmp_path_factory):
    """Return a function that builds a cache of a backbone's CAMs once, and returns its folder."""
    folder, made = tmp_path_factory.mktemp("built"), {}

    def build(arch, **given):
        key = arch, *given.items()
        if key not in made:
            made[key] = folder / str(len(made))
            settings = {"manifest": small_manifest, "classifier": fitted(arch), "out": made[key]}
            build_cache(BuildConfig(**settings, workers=0, **{"scales": "1", **given}))
        return made[key]

    return build


@pytest.mark.parametrize("arch", [CNN, TOKENS])
def test_frames_are_prepared_as_the_backbone_was_trained_in_every_stage(fitted, built, arch):
    file = read_classifier_file(fitted(arch))
    assert file.frames().size == 160
    assert file.provenance["config"]["image_size"] == 160
    classifier = file.classifier("best_localization")
    assert classifier.mean.flatten().tolist() == pytest.approx(file.frames().mean)
    settings = CamCache.open(built(arch)).settings
    assert settings["input"]["size"] == 160
    assert settings["input"]["resize"] == f"squash, {file.frames().interpolation}, antialiased"
    assert settings["classifier"]["preprocessing"] == file.preprocessing
    assert {"mean", "std", "interpolation", "size"} >= set(file.preprocessing) >= {"size", "interpolation"}


def test_a_backbone_of_imagenet_s_ways_leaves_the_fingerprint_as_it_was(small_cache, small_classifier):
    settings = CamCache.open(small_cache).settings
    assert settings["input"]["resize"] == "squash, bilinear, antialiased"
    assert not {"fuse", "preprocessing"} & {*settings, *settings["classifier"]}
    values = torch.load(small_classifier, weights_only=True)
    assert "preprocessing" not in values


def test_a_file_of_before_opens_with_imagenet_s_ways(small_classifier):
    file = read_classifier_file(small_classifier)
    assert file.frames().mean == (0.485, 0.456, 0.406)
    assert (file.frames().interpolation, file.frames().size) == ("bilinear", 224)


@pytest.mark.parametrize(("arch", "layers"), [(CNN, "auto"), (TOKENS, "blocks.0"), (CNN, "blocks.2,last")])
def test_every_stage_runs_on_it(small_manifest, built, arch, layers, tmp_path):
    cache = built(arch, layers=layers)
    out = tmp_path / "run"
    settings = {"epochs": 1, "batch_size": 4, "decoder_width": 0.125, "landmarks": 16, "workers": 0}
    config = train_config(manifest=small_manifest, cache=cache, out=out, image_size=160, **settings)
    train_decoder(config)
    localizer = Localizer.open(out, "cpu")
    found = localizer.predict(np.full((48, 64, 3), 90, np.uint8))
    assert found.map.shape == (48, 64) and found.tag in localizer.classifier.classes


def test_tokens_make_a_map_of_any_frame_that_the_backbone_takes(built):
    assert CamCache.open(built(TOKENS, image_size=96)).map_size == (6, 6)
    assert CamCache.open(built(TOKENS, image_size=96, layers="blocks.0.norm2")).map_size == (6, 6)


def test_how_layers_are_fused_is_in_the_fingerprint_where_it_is_not_as_it_was(built):
    pair = "blocks.1,blocks.2"
    of = {fuse: CamCache.open(built(CNN, layers=pair, fuse=fuse)) for fuse in ("auto", "max", "mean")}
    assert of["auto"].fingerprint == of["max"].fingerprint != of["mean"].fingerprint
    assert of["mean"].settings["fuse"] == "mean" and "fuse" not in of["max"].settings
    known_good = CamCache.open(built(CNN, layers="auto"))
    assert known_good.settings.get("fuse", "max") == (
        "geometric" if len(known_good.settings["layers"]) > 1 else "max"
    )


def test_frames_of_the_same_backbone_squashed_another_way_are_other_frames(built, fitted, tmp_path):
    file = read_classifier_file(fitted(CNN))
    other = tmp_path / "other.pt"
    replace(file, preprocessing={**file.preprocessing, "interpolation": "nearest"}).save(other)
    first, second = built(CNN), tmp_path / "second"
    build_cache(
        BuildConfig(manifest=first / "manifest.jsonl", classifier=other, out=second, workers=0, scales="1")
    )
    shot = CamCache.open(first).shots()[0].id
    one, two = (CamCache.open(path) for path in (first, second))
    assert one.fingerprint != two.fingerprint
    assert not np.allclose(one.stats(shot).logits, two.stats(shot).logits, rtol=1e-5)
