"""Tests of stage 0: the two checkpoints, resuming, and what is refused before any work."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tcam_cache.config import ClassifierConfig
from tcam_cache.datasets import read_manifest, write_manifest
from tcam_cache.errors import ManifestError, RunError
from tcam_cache.models import read_classifier_file
from tcam_cache.models.backbone import torchvision_network
from tcam_cache.stages.classifier import fit_classifier, fit_folder


@pytest.fixture(scope="module")
def report_of_one_epoch(small_manifest, quick, tmp_path_factory):
    """The report of a fit with the settings of `classifier_config()`."""
    settings = {"arch": "squeezenet1_1", "weights": "none", "epochs": 1, "batch_size": 8, "lr": 0.002}
    settings["preset"] = "paper"
    out = tmp_path_factory.mktemp("fitted") / "g.pt"
    return fit_classifier(ClassifierConfig(manifest=small_manifest, out=out, **settings, **quick))


@pytest.fixture
def fitted(report_of_one_epoch, classifier_config):
    """A copy of that fit where `classifier_config()` writes, as if it had been fitted there."""
    fit, out = Path(report_of_one_epoch.classifier), classifier_config().out
    shutil.copytree(fit_folder(fit), fit_folder(out))
    return shutil.copyfile(fit, out)


def hashes(path):
    return read_classifier_file(path).hashes()


def test_the_file_holds_both_checkpoints_each_best_at_its_own_score(small_classifier):
    file = read_classifier_file(small_classifier)
    log = [json.loads(line) for line in (fit_folder(small_classifier) / "log.jsonl").read_text().splitlines()]
    assert (file.arch, file.classes, file.output_stride) == ("squeezenet1_1", ("bird", "car", "dog"), 8)
    for name, score in (("best_classification", "cl_accuracy"), ("best_localization", "corloc")):
        assert file.scores[name][score] == max(line[score] for line in log)
        first = next(line for line in log if line[score] == file.scores[name][score])
        assert file.scores[name]["epoch"] == first["epoch"]
        model = file.classifier(name)
        assert model(torch.rand(1, 3, 64, 64)).shape == (1, 3)
        assert not any(parameter.requires_grad for parameter in model.parameters())


def test_the_report_says_what_each_checkpoint_reached(report_of_one_epoch):
    report = report_of_one_epoch
    assert report.epochs == 1 and set(report.best) == {"best_classification", "best_localization"}
    assert Path(json.loads(json.dumps(report.to_json()))["classifier"]).is_file()
    assert "best_localization: epoch 1, CL" in report.to_text()
    assert report.to_text().endswith("presence: none; --fit probe fits it")


def test_a_resumed_fit_equals_an_uninterrupted_one_bit_for_bit(classifier_config, fitted, small_classifier):
    fit_classifier(classifier_config(epochs=2, resume=True))
    assert hashes(fitted) == hashes(small_classifier)
    ours, theirs = (torch.load(fit_folder(path) / "last.pt") for path in (fitted, small_classifier))
    assert ours["epoch"] == theirs["epoch"] == 2
    for one, other in zip(ours["model"].values(), theirs["model"].values(), strict=True):
        assert torch.equal(one, other)


def test_another_seed_gives_other_weights(classifier_config, fitted, tmp_path):
    fit_classifier(classifier_config(seed=1, out=tmp_path / "other.pt"))
    assert hashes(fitted) != hashes(tmp_path / "other.pt")


@pytest.mark.parametrize("loss", ["cross-entropy", "one-vs-rest"])
def test_one_class_alone_is_refused_before_any_work(classifier_config, small_manifest, tmp_path, loss):
    manifest = read_manifest(small_manifest)
    birds = tuple(shot for shot in manifest.shots if shot.tag == "bird")
    write_manifest(replace(manifest, shots=birds, classes=("bird",)), tmp_path / "m.jsonl")
    with pytest.raises(ManifestError, match=r"one class, bird, alone: .*Add a second class"):
        fit_classifier(classifier_config(manifest=tmp_path / "m.jsonl", loss=loss))
    assert not fit_folder(classifier_config().out).exists()


def test_a_file_that_is_there_already_is_refused_and_stays(classifier_config):
    classifier_config().out.write_bytes(b"mine")
    with pytest.raises(RunError, match=r"g\.pt is there already.*--resume"):
        fit_classifier(classifier_config())
    assert classifier_config().out.read_bytes() == b"mine"


def test_a_fit_that_was_interrupted_before_its_file_is_refused_without_resume(classifier_config, fitted):
    fitted.unlink()
    with pytest.raises(RunError, match=r"g\.fit already holds a run"):
        fit_classifier(classifier_config())
    fit_classifier(classifier_config(resume=True))
    assert fitted.is_file()


def test_resuming_with_another_setting_names_it(classifier_config, fitted):
    with pytest.raises(RunError, match=r"lr: 0\.5, not 0\.002"):
        fit_classifier(classifier_config(lr=0.5, resume=True))


def test_a_fit_does_not_go_on_with_other_splits(classifier_config, fitted, small_manifest, tmp_path):
    manifest = read_manifest(small_manifest)
    shots = tuple(replace(shot, split="train") for shot in manifest.shots)
    write_manifest(replace(manifest, shots=shots), tmp_path / "m.jsonl")
    with pytest.raises(RunError, match="other settings") as caught:
        fit_classifier(classifier_config(manifest=tmp_path / "m.jsonl", epochs=2, resume=True))
    assert [line.partition(":")[0] for line in caught.value.offenders] == [
        "inputs.splits.train", "inputs.splits.val"
    ]  # fmt: skip


@pytest.fixture
def probe_config(small_manifest, tmp_path, quick):
    """Return a maker of configs that fit a probe on every video of the small data set."""
    settings = {"arch": "squeezenet1_1", "weights": "none", "fit": "probe", "train_split": "all"}
    defaults = {"manifest": small_manifest, "out": tmp_path / "g.pt", **settings, **quick, "image_size": 32}
    return lambda **given: ClassifierConfig(**{**defaults, **given})


def test_a_probe_fills_both_checkpoints_and_says_what_left_out_videos_gave(probe_config):
    report = fit_classifier(probe_config())
    file = read_classifier_file(report.classifier)
    ours, theirs = file.checkpoints.values()
    assert all(torch.equal(one, theirs[name]) for name, one in ours.items())
    assert file.classifier("best_localization").head.weight.abs().max() > 0
    assert file.scores == report.best and len(report.best) == 2
    scores = report.best["best_classification"]
    assert (scores["frames"], scores["videos"]) == (35, 8)
    assert 0 <= scores["left_out_accuracy"] <= 100 and 0 <= scores["corloc"] <= 100
    text = report.to_text()
    assert "probe of 35 frames of 8 videos in" in text
    assert f"AUROC {scores['presence_auroc']:.1f}; at {file.presences().threshold:.2f}, precision" in text
    assert (
        f"C {scores['strength']:.3g}, accuracy on left-out videos {scores['left_out_accuracy']:.1f}" in text
    )
    assert json.loads(json.dumps(report.to_json()))["best"] == report.best


def test_a_probe_that_was_interrupted_goes_on_to_the_same_file(probe_config, tmp_path, monkeypatch):
    fit_classifier(probe_config(out=tmp_path / "whole.pt"))

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("tcam_cache.training.head.fit_probe", interrupt)
        fit_classifier(probe_config())
    for number in (3, 7):  # as if it had stopped while these were pooled
        (tmp_path / f"g.fit/frames/{number:06d}.pt").unlink()
    fit_classifier(probe_config(resume=True))
    ours, theirs = (read_classifier_file(tmp_path / name) for name in ("g.pt", "whole.pt"))
    assert ours.hashes() == theirs.hashes() and ours.scores == theirs.scores
    assert torch.equal(ours.presences().weight, theirs.presences().weight)


def test_a_probe_without_boxes_or_a_second_video_claims_no_score(probe_config, without_boxes, caplog):
    report = fit_classifier(probe_config(manifest=without_boxes, train_split="train"))
    assert set(report.best["best_localization"]) == {"strength", "frames", "videos"}
    assert "no tag has two videos" in caplog.text and "last epoch" not in caplog.text
    assert (
        f"C {report.best['best_localization']['strength']:.3g}\n  presence: none; it takes two"
        in report.to_text()
    )
    assert read_classifier_file(report.classifier).presences() is None


def test_every_classifier_file_has_a_fit_folder_of_its_own():
    names = ("g.pt", "resnet50.seed0", "resnet50.seed1")
    assert [fit_folder(Path("a") / name) for name in names] == [
        Path("a/g.fit"), Path("a/resnet50.seed0.fit"), Path("a/resnet50.seed1.fit")
    ]  # fmt: skip


def test_every_class_without_a_training_video_is_named(classifier_config, small_manifest, tmp_path):
    manifest = read_manifest(small_manifest)
    moved = tuple(replace(shot, split="test") if shot.tag != "car" else shot for shot in manifest.shots)
    write_manifest(replace(manifest, shots=moved), tmp_path / "m.jsonl")
    with pytest.raises(ManifestError) as caught:
        fit_classifier(classifier_config(manifest=tmp_path / "m.jsonl"))
    assert caught.value.offenders == ("class bird: no video", "class dog: no video")
    assert not classifier_config().out.exists()


def test_with_a_frozen_backbone_only_the_head_moves(classifier_config, tmp_path):
    weights = torchvision_network("squeezenet1_1").state_dict()
    torch.save(weights, tmp_path / "weights.pth")
    fit_classifier(classifier_config(freeze_backbone=True, weights=str(tmp_path / "weights.pth")))
    fitted = read_classifier_file(tmp_path / "g.pt").checkpoints["best_localization"]
    backbone = [value for key, value in fitted.items() if key.startswith("stages.")]
    given = [value for key, value in weights.items() if key.startswith("features.")]
    assert len(backbone) == len(given) > 20
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(backbone, given, strict=True))
    before = read_classifier_file(tmp_path / "g.pt").classifier("best_localization").head.weight
    fit_classifier(
        classifier_config(
            freeze_backbone=True, weights=str(tmp_path / "weights.pth"), lr=0.5, out=tmp_path / "faster.pt"
        )
    )
    after = read_classifier_file(tmp_path / "faster.pt").classifier("best_localization").head.weight
    assert not torch.equal(before, after)


def test_without_boxes_to_validate_on_the_last_epoch_is_kept_and_said(
    classifier_config, small_manifest, tmp_path, caplog
):
    manifest = read_manifest(small_manifest)
    bare = tuple(replace(shot, boxes={}) for shot in manifest.shots)
    write_manifest(replace(manifest, shots=bare), tmp_path / "m.jsonl")
    report = fit_classifier(classifier_config(manifest=tmp_path / "m.jsonl", epochs=2))
    assert "split 'val' has no boxes" in caplog.text
    assert {best["epoch"] for best in report.best.values()} == {2}
