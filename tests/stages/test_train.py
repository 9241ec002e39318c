"""Tests of stage 2: what a run folder holds, resuming, and which caches and folders are refused."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from tcam_cache.cache import CamCache
from tcam_cache.config import train_config
from tcam_cache.config.base import REMOVED
from tcam_cache.datasets import read_manifest, write_manifest
from tcam_cache.errors import CacheError, ConfigError, ManifestError, RunError
from tcam_cache.inference import Localizer
from tcam_cache.inference.scoring import Validation
from tcam_cache.models import read_classifier_file
from tcam_cache.stages.build import build_cache
from tcam_cache.stages.classifier import fit_classifier
from tcam_cache.stages.train import train_decoder
from tcam_cache.training import EpochBatches, ValidationLoss


@pytest.fixture(scope="module")
def report_of_one_epoch(small_manifest, small_cache, quick, many_seeds, tmp_path_factory):
    """The report of a run with the settings of `decoder_config()`."""
    out = tmp_path_factory.mktemp("trained") / "run"
    settings = {**many_seeds, "epochs": 1, "batch_size": 4, "decoder_width": 0.125, "landmarks": 16}
    return train_decoder(
        train_config(manifest=small_manifest, cache=small_cache, out=out, **settings, **quick)
    )


@pytest.fixture
def trained(report_of_one_epoch, decoder_config):
    """A copy of that run where `decoder_config()` writes, as if it had been trained there."""
    run = shutil.copytree(report_of_one_epoch.run, decoder_config().out)
    set_in_config(run, out=str(run))
    return run


def log_of(run):
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def without_times(lines):
    return [{key: value for key, value in line.items() if "seconds" not in key} for line in lines]


def config_of(run):
    return json.loads((run / "config.json").read_text())


def test_a_run_folder_holds_all_that_is_promised_and_no_more(small_run, small_classifier):
    assert {path.name for path in small_run.iterdir()} == {
        "config.json", "log.jsonl", "curves.png", "last.pt", "best.pt", "threshold.json", "classifier.pt",
    }  # fmt: skip
    encoder = read_classifier_file(small_run / "classifier.pt")
    assert encoder.hashes() == read_classifier_file(small_classifier).hashes()
    threshold = json.loads((small_run / "threshold.json").read_text())
    assert (threshold["policy"], threshold["split"]) == ("val", "val") and 0 <= threshold["value"] < 1


def test_the_log_has_every_term_of_every_epoch(small_run):
    first, second = log_of(small_run)
    for number, line in enumerate((first, second), start=1):
        assert line["epoch"] == number and line["lr"] == 0.01
        assert set(line["losses"]) == {"cross_entropy", "crf", "size"}
        assert all(map(math.isfinite, line["losses"].values()))
        assert line["loss"] == pytest.approx(sum(line["losses"].values()))
        assert line["seconds_data"] >= 0 and line["seconds_compute"] > 0
        assert 0 <= line["corloc"] <= 100 and 0 <= line["tau"] < 1
        assert line["flat_frames"] == 0
    assert (first["barrier_t"], second["barrier_t"]) == (1.0, 1.01)


def test_what_is_switched_off_is_not_in_the_log(decoder_config):
    train_decoder(decoder_config(crf=False, asc=False, neighbours=0))
    (line,) = log_of(decoder_config().out)
    assert set(line["losses"]) == {"cross_entropy"}
    assert "barrier_t" not in line


def test_best_is_the_epoch_that_the_log_says_and_last_the_last(small_run):
    log = log_of(small_run)
    best, last = (torch.load(small_run / f"{name}.pt") for name in ("best", "last"))
    assert best["scores"]["corloc"] == max(line["corloc"] for line in log)
    assert last["epoch"] == 2 and last["best"]["best"] == best["scores"]


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(decoder_config, trained, small_run):
    report = train_decoder(decoder_config(epochs=2, resume=True))
    run = decoder_config().out
    assert without_times(log_of(run)) == without_times(log_of(small_run))
    for name in ("best", "last"):
        ours, theirs = (torch.load(folder / f"{name}.pt")["model"] for folder in (run, small_run))
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert json.loads((run / "threshold.json").read_text())["value"] == report.threshold
    assert (run / "threshold.json").read_text() == (small_run / "threshold.json").read_text()


def test_a_run_on_clips_goes_on_bit_for_bit_and_is_another_than_one_on_frames_alone(
    decoder_config, without_boxes, tmp_path
):
    clips = {"frames_together": 2, "frames_per_shot": 4, "colour_crf_weight": 2e-9, "manifest": without_boxes}
    train_decoder(decoder_config(out=tmp_path / "whole", epochs=2, **clips))
    train_decoder(decoder_config(out=tmp_path / "parts", epochs=1, **clips))
    train_decoder(decoder_config(out=tmp_path / "parts", epochs=2, resume=True, **clips))
    train_decoder(decoder_config(out=tmp_path / "frames", manifest=without_boxes, frames_per_shot=4))
    whole, parts, frames = (without_times(log_of(tmp_path / name)) for name in ("whole", "parts", "frames"))
    assert parts == whole and frames[0] != whole[0]
    ours, theirs = (torch.load(tmp_path / name / "last.pt")["model"] for name in ("whole", "parts"))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert config_of(tmp_path / "whole")["frames_together"] == 2
    assert all(
        math.isfinite(line["losses"]["colour_crf"]) and line["losses"]["colour_crf"] < 0 for line in whole
    )


def test_a_run_of_colocam_learns_with_a_colour_term_that_warms_up(decoder_config, tmp_path):
    report = train_decoder(decoder_config("colocam", out=tmp_path / "run", epochs=2, batch_size=8))
    first, second = log_of(tmp_path / "run")
    assert report.epochs == 2 and set(second["losses"]) == {"cross_entropy", "crf", "colour_crf", "size"}
    # Three steps an epoch: weights of 0, 4/3 and 8/3, then 4. A frame that is a batch by itself has no term.
    assert -1.34 <= first["losses"]["colour_crf"] <= -0.44
    assert -4 <= second["losses"]["colour_crf"] <= -2.66
    assert second["losses"]["cross_entropy"] < first["losses"]["cross_entropy"]
    stored = config_of(tmp_path / "run")
    assert (stored["preset"], stored["crops"], stored["fg_region"]) == ("colocam", "frame", "box")


def test_resuming_a_finished_run_changes_nothing(decoder_config, trained):
    before = (decoder_config().out / "best.pt").read_bytes()
    assert train_decoder(decoder_config(resume=True)).epochs == 1
    assert (decoder_config().out / "best.pt").read_bytes() == before


def test_the_report_says_where_the_run_is_and_how_good(report_of_one_epoch):
    report = report_of_one_epoch
    values = json.loads(json.dumps(report.to_json()))
    assert values["epochs"] == 1 and (Path(values["run"]) / "best.pt").is_file()
    assert f"CorLoc {report.best['corloc']:.1f} at tau {report.threshold:.3f}" in report.to_text()


def test_a_folder_that_holds_a_run_is_refused_and_stays(decoder_config, small_run):
    before = (small_run / "last.pt").read_bytes()
    with pytest.raises(RunError, match=r"already holds a run.*--resume"):
        train_decoder(decoder_config(out=small_run))
    assert (small_run / "last.pt").read_bytes() == before


def test_a_folder_that_holds_something_else_is_refused(decoder_config, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/thesis.tex").write_text("mine")
    with pytest.raises(RunError, match="not a run"):
        train_decoder(decoder_config())
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.tex"]


def test_resuming_with_other_settings_names_them(decoder_config, trained):
    with pytest.raises(RunError) as caught:
        train_decoder(decoder_config(neighbours=3, seed=5, resume=True))
    assert caught.value.offenders == ("neighbours: 3, not 1", "seed: 5, not 0")


def test_a_cache_of_another_manifest_is_refused_by_shot(decoder_config, small_manifest, tmp_path):
    manifest = read_manifest(small_manifest)
    shorter = tuple(
        replace(shot, frames=shot.frames[:-1], boxes={}) if shot.id == "dog/0001" else shot
        for shot in manifest.shots[1:]
    )
    write_manifest(replace(manifest, shots=shorter), tmp_path / "m.jsonl")
    with pytest.raises(CacheError, match="another manifest") as caught:
        train_decoder(decoder_config(manifest=tmp_path / "m.jsonl"))
    assert caught.value.offenders == (
        "bird/0001/001: no frames in the manifest, 6 in the cache",
        "dog/0001: 3 frames in the manifest, 4 in the cache",
    )
    assert not decoder_config().out.exists()


def test_an_incomplete_cache_is_refused_by_the_shots_that_training_needs(build_config, decoder_config):
    build_cache(build_config(shard="0/2"))
    with pytest.raises(CacheError, match="not finished") as caught:
        train_decoder(decoder_config(cache=build_config().out))
    assert caught.value.offenders == ("bird/0001/002", "car/0001/002", "dog/0001")
    assert not decoder_config().out.exists()


def cache_without(shot_id, small_cache, folder):
    """Return a copy of the cache in which one shot is not finished."""
    cache = shutil.copytree(small_cache, folder / "unfinished")
    position = [shot.id for shot in CamCache.open(small_cache).shots()].index(shot_id)
    (cache / f"commits/{position:06d}.json").unlink()
    return cache


def test_a_cache_that_lacks_only_test_shots_is_enough(decoder_config, small_cache, tmp_path):
    cache = cache_without("dog/0002", small_cache, tmp_path)
    assert train_decoder(decoder_config(cache=cache)).epochs == 1


def test_a_split_without_shots_is_named(decoder_config, build_config, small_manifest, tmp_path):
    manifest = read_manifest(small_manifest)
    shots = tuple(replace(shot, split="test") for shot in manifest.shots)
    write_manifest(replace(manifest, shots=shots), tmp_path / "m.jsonl")
    with pytest.raises(ManifestError, match="split 'train' has no shots"):
        train_decoder(decoder_config(manifest=tmp_path / "m.jsonl"))


@pytest.mark.parametrize(
    ("preset", "pixels", "cross_entropy"),
    [("recommended", 100, "batch-mean"), ("paper", 1, "frame-sum"), ("authors", 1, "batch-mean")],
)
def test_every_preset_trains_with_its_own_values(decoder_config, preset, pixels, cross_entropy):
    report = train_decoder(decoder_config(preset))
    saved = config_of(decoder_config().out)
    assert (saved["preset"], saved["pixels"], saved["cross_entropy"]) == (preset, pixels, cross_entropy)
    assert report.best["epoch"] == 1


def test_validation_comes_every_second_epoch_and_after_the_last(decoder_config):
    train_decoder(decoder_config(epochs=5, validate_every=2))
    validated = [line["epoch"] for line in log_of(decoder_config().out) if "corloc" in line]
    assert validated == [2, 4, 5]


def test_selecting_the_last_epoch_keeps_it_whatever_the_score(decoder_config):
    report = train_decoder(decoder_config(epochs=3, select="last"))
    assert report.best["epoch"] == torch.load(decoder_config().out / "best.pt")["epoch"] == 3


@pytest.mark.parametrize("boxes", [True, False])
def test_the_epoch_of_the_lowest_loss_on_val_is_kept_whether_it_has_boxes_or_not(
    decoder_config, small_manifest, without_boxes, monkeypatch, boxes
):
    real, added = ValidationLoss.__call__, iter([1000.0, 0.0, 1000.0])
    worse = lambda self: {"val_loss": real(self)["val_loss"] + next(added)}  # noqa: E731
    monkeypatch.setattr(ValidationLoss, "__call__", worse)
    manifest = small_manifest if boxes else without_boxes
    report = train_decoder(decoder_config(manifest=manifest, epochs=3, select="loss"))
    losses = [line["val_loss"] for line in log_of(decoder_config().out)]
    assert report.best["epoch"] == torch.load(decoder_config().out / "best.pt")["epoch"] == 2
    assert report.best["val_loss"] == losses[1] < 1000 < min(losses[::2])
    assert report.threshold is None and not (decoder_config().out / "threshold.json").exists()
    assert f"on val: loss {losses[1]:.4g}; no tau was chosen" in report.to_text()


@pytest.mark.parametrize("select", ["pseudo", "val"])
def test_without_boxes_on_val_the_boxes_of_its_cams_choose_the_epoch_but_no_tau(
    decoder_config, without_boxes, monkeypatch, caplog, select
):
    best_in_the_middle = iter([10.0, 30.0, 20.0])
    scored = lambda self: {"cl_accuracy": 50.0, "corloc": next(best_in_the_middle), "tau": 0.5}  # noqa: E731
    seen = []
    monkeypatch.setattr(Validation, "__init__", lambda self, maps, frames, *rest: seen.extend(frames))
    monkeypatch.setattr(Validation, "__call__", scored)
    report = train_decoder(decoder_config(manifest=without_boxes, epochs=3, select=select))
    assert ("split 'val' has no boxes to choose by: those of its cached" in caplog.text) == (select == "val")
    assert report.best["epoch"] == torch.load(decoder_config().out / "best.pt")["epoch"] == 2
    assert {shot.video for shot, _ in seen} == {"bird/0002", "car/0002"}
    assert report.threshold is None and not (decoder_config().out / "threshold.json").exists()
    assert "on val: CorLoc 30.0 of boxes of the cached CAMs; no tau was chosen" in report.to_text()


@pytest.mark.parametrize("select", ["val", "pseudo", "last"])
def test_boxes_of_cams_choose_by_the_decoder_alone_true_ones_by_what_is_scored(
    decoder_config, monkeypatch, select
):
    mixes = []
    real = Localizer.maps
    monkeypatch.setattr(
        Localizer,
        "maps",
        lambda self, *given, **named: mixes.append(self.config.mix) or real(self, *given, **named),
    )
    train_decoder(decoder_config(epochs=1, select=select, mix="geometric"))
    assert set(mixes) == {"none" if select == "pseudo" else "geometric"}


def test_the_boxes_of_cams_that_are_not_cached_cannot_choose(
    decoder_config, small_cache, without_boxes, tmp_path
):
    cache = cache_without("car/0002", small_cache, tmp_path)
    with pytest.raises(CacheError) as caught:
        train_decoder(decoder_config(manifest=without_boxes, cache=cache, select="pseudo"))
    assert any("car/0002" in line for line in caught.value.offenders)


def test_without_boxes_and_cams_on_val_the_last_epoch_is_kept(
    decoder_config, small_cache, without_boxes, tmp_path, caplog
):
    cache = cache_without("car/0002", small_cache, tmp_path)
    report = train_decoder(decoder_config(manifest=without_boxes, cache=cache, epochs=2))
    assert (report.threshold, report.best["epoch"]) == (None, 2)
    assert "val_loss" not in log_of(decoder_config().out)[-1]
    assert "no boxes and no CAMs to choose by: the last epoch is kept" in caplog.text


def test_more_neighbours_than_any_shot_has_frames_are_refused(decoder_config):
    with pytest.raises(ConfigError, match=r"n = 7, but the longest shot of split 'train' has 6 .* 6 or less"):
        train_decoder(decoder_config(neighbours=7))
    assert not decoder_config().out.exists()
    assert train_decoder(decoder_config(neighbours=6)).epochs == 1


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"image_size": 96}, "inputs.cache.input.size: 96, not 64"),
        ({"method": "cam"}, "inputs.cache.method: cam, not layercam"),
    ],
    ids=["resolution", "method"],
)
def test_a_run_does_not_go_on_with_cams_of_another_kind(decoder_config, trained, build_config, other, named):
    build_cache(build_config(**other))
    with pytest.raises(RunError, match="other settings") as caught:
        train_decoder(decoder_config(cache=build_config().out, epochs=2, resume=True))
    assert named in caught.value.offenders
    assert len(log_of(decoder_config().out)) == 1


def test_a_run_does_not_go_on_with_cams_of_another_classifier(
    decoder_config, trained, build_config, classifier_config
):
    fit_classifier(classifier_config(seed=1))
    build_cache(build_config(classifier=classifier_config().out))
    with pytest.raises(RunError, match="other settings") as caught:
        train_decoder(decoder_config(cache=build_config().out, epochs=2, resume=True))
    fields = [line.partition(":")[0] for line in caught.value.offenders]
    assert fields == ["inputs.cache.classifier.weights", "inputs.encoder"]


def test_a_run_does_not_go_on_with_another_encoder_whose_cams_are_the_same(
    decoder_config, trained, build_config, small_classifier, tmp_path
):
    file = read_classifier_file(small_classifier)
    weights = dict(file.checkpoints["best_classification"])
    weights["head.bias"] = weights["head.bias"] + 1
    replace(file, checkpoints={**file.checkpoints, "best_classification": weights}).save(tmp_path / "g.pt")
    build_cache(build_config(classifier=tmp_path / "g.pt"))
    with pytest.raises(RunError, match="other settings") as caught:
        train_decoder(decoder_config(cache=build_config().out, epochs=2, resume=True))
    (offender,) = caught.value.offenders
    assert offender.startswith("inputs.encoder: ")


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_run_does_not_go_on_with_other_splits(decoder_config, trained, small_manifest, tmp_path, split):
    manifest = read_manifest(small_manifest)
    moved = next(shot.video for shot in manifest.shots if shot.split == split)
    shots = tuple(replace(shot, split="test") if shot.video == moved else shot for shot in manifest.shots)
    write_manifest(replace(manifest, shots=shots), tmp_path / "m.jsonl")
    with pytest.raises(RunError, match="other settings") as caught:
        train_decoder(decoder_config(manifest=tmp_path / "m.jsonl", epochs=2, resume=True))
    (offender,) = caught.value.offenders
    assert offender.startswith(f"inputs.splits.{split}: ")


def set_in_config(run, **values):
    """Write settings into the run's config.json, as an earlier version did."""
    path = run / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_run_from_before_settings_were_removed_goes_on_and_opens_where_they_were_off(
    decoder_config, trained
):
    run = decoder_config().out
    set_in_config(run, **REMOVED)
    assert Localizer.open(run, "cpu").config == decoder_config()
    assert train_decoder(decoder_config(epochs=2, resume=True)).epochs == 2
    assert not REMOVED.keys() & config_of(run).keys()


@pytest.mark.parametrize("given", [{name: True} for name in REMOVED])
def test_a_run_that_used_a_removed_setting_is_refused_by_its_name(decoder_config, trained, given):
    run = decoder_config().out
    set_in_config(run, **{**REMOVED, **given})
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    for use in (
        lambda: Localizer.open(run, "cpu"),
        lambda: train_decoder(decoder_config(epochs=2, resume=True)),
    ):
        with pytest.raises(
            RunError, match=r"config\.json: it has settings on that were removed.*Train anew"
        ) as caught:
            use()
        assert caught.value.offenders == tuple(f"{name}: True" for name in given)
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_the_curves_are_a_picture_of_the_whole_log(small_run):
    with Image.open(small_run / "curves.png") as picture:
        assert picture.format == "PNG" and min(picture.size) > 400


def test_an_epoch_draws_as_many_frames_of_a_shot_as_asked_for(decoder_config, monkeypatch):
    drawn = []
    real = EpochBatches.epoch

    def counting(self, *when):
        for batch in real(self, *when):
            drawn.append(len(batch.tag))
            yield batch

    monkeypatch.setattr(EpochBatches, "epoch", counting)
    train_decoder(decoder_config(frames_per_shot=3))
    # Shots of 6, 1, 5, 2 and 4 frames, batches of 4.
    assert drawn == [4, 4, 4]


def test_an_encoder_at_full_resolution_such_as_vgg_is_trained_on_too(
    classifier_config, build_config, decoder_config, monkeypatch, tmp_path
):
    class SmallVgg(nn.Module):
        def __init__(self):
            super().__init__()
            layers = []
            for before, after in ((3, 8), (8, 8), (8, 16), (16, 16), (16, 16)):
                layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, 2)]
            self.features = nn.Sequential(*layers)

    monkeypatch.setattr("tcam_cache.models.chain.torchvision_network", lambda arch: SmallVgg())
    fit_classifier(classifier_config(arch="vgg16"))
    given = {"classifier": tmp_path / "g.pt"}
    assert build_cache(build_config(**given)).frames == 35
    report = train_decoder(decoder_config(cache=build_config().out))
    assert report.epochs == 1 and math.isfinite(log_of(decoder_config().out)[0]["loss"])
