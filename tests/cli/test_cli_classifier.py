"""Tests of `tcam-cache classifier`: the config that its stage is given, and its result."""

import json
from pathlib import Path

from tcam_cache.config import ClassifierConfig

PLACES = {"manifest": Path("m"), "out": Path("g.pt")}


def test_what_is_not_said_is_left_to_the_config(config_of):
    assert config_of("classifier", "m", "--out", "g.pt") == ClassifierConfig(**PLACES)


def test_every_promised_option_reaches_its_setting(config_of):
    config = config_of(
        "classifier", "m", "--out", "g.pt", "--arch", "vgg16", "--weights", "w.pth", "--output-stride", 16,
        "--fit", "sgd",
        "--freeze-backbone", "--train-split", "all", "--val-split", "test", "--epochs", 3, "--batch-size", 4,
        "--lr", 0.5, "--frames-per-shot", 6, "--select", "last", "--validate-every", 7, "--image-size", 96,
        "--resume", "--root", "data", "--workers", 2,
    )  # fmt: skip
    assert config == ClassifierConfig(
        **PLACES,
        arch="vgg16",
        fit="sgd",
        weights="w.pth",
        output_stride=16,
        freeze_backbone=True,
        train_split="all",
        val_split="test",
        epochs=3,
        batch_size=4,
        lr=0.5,
        frames_per_shot=6,
        select="last",
        validate_every=7,
        image_size=96,
        resume=True,
        root=Path("data"),
        workers=2,
    )


def test_a_classifier_is_fitted_and_its_epochs_said(tcam, small_manifest, tmp_path):
    given = ["classifier", small_manifest, "--arch", "squeezenet1_1", "--weights", "none", "--workers", 0]
    given += ["--fit", "sgd"]
    result = tcam(*given, "--out", tmp_path / "g.pt", "--epochs", 1, "--image-size", 32, "--json")
    values = json.loads(result.stdout)
    assert (values["classifier"], values["epochs"]) == (str(tmp_path / "g.pt"), 1)
    assert "epoch 1: loss" in result.stderr and (tmp_path / "g.pt").is_file()
    again = tcam(*given, "--out", tmp_path / "g.pt", "--epochs", 1, "--image-size", 32)
    assert again.exit_code == 1 and "g.pt is there already" in again.stderr


def test_a_probe_is_asked_for_by_its_options(config_of):
    asked = ["--fit", "probe", "--probe-frames", 24, "--loss", "one-vs-rest"]
    assert config_of("classifier", "m", "--out", "g.pt", *asked) == ClassifierConfig(
        **PLACES, fit="probe", probe_frames=24, loss="one-vs-rest"
    )


def test_a_probe_with_epochs_is_wrong_usage(tcam):
    result = tcam("classifier", "m", "--out", "g.pt", "--epochs", 3)
    assert result.exit_code == 2 and "--epochs: got 3" in result.stderr and "--fit sgd" in result.stderr


def test_the_settings_of_a_fit_are_taken_again(config_of, small_classifier, tmp_path):
    config = config_of(
        "classifier", "--config", small_classifier.with_suffix(".fit") / "config.json", "--out", "h.pt"
    )
    assert (config.arch, config.epochs, config.weights, config.out) == (
        "squeezenet1_1",
        2,
        "none",
        Path("h.pt"),
    )
