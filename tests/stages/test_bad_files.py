"""Tests of weights, caches and runs that do not fit, and of refused writes, on the command line."""

import errno
import json
import os

import pytest
import torch

from tcam_cache.models.backbone import torchvision_network

# Weights and classifiers


@pytest.fixture
def fit_with(small_manifest, tmp_path):
    """Return a function that saves a value as weights and returns the arguments that fit with them."""

    def arguments(value, arch="squeezenet1_1"):
        torch.save(value, tmp_path / "w.pth")
        given = ["--arch", arch, "--weights", tmp_path / "w.pth", "--out", tmp_path / "g.pt"]
        return ["classifier", small_manifest, *given]

    return arguments


def test_weights_that_do_not_fit_name_every_key(fails, fit_with):
    values = torchvision_network("squeezenet1_1").state_dict()
    del values["features.0.bias"]
    values["features.3.squeeze.weight"] = torch.zeros(1, 2, 3)
    values["extra.weight"] = torch.zeros(1)
    error = fails(*fit_with(values))
    assert "missing features.0.bias" in error and "unexpected extra.weight" in error
    assert "mis-shaped features.3.squeeze.weight: got (1, 2, 3), expected (16, 64, 1, 1)" in error


def test_weights_of_another_architecture(fails, fit_with):
    error = fails(*fit_with(torchvision_network("resnet18").state_dict()))
    assert "do not fit squeezenet1_1" in error and "unexpected layer1.0.conv1.weight" in error


@pytest.mark.parametrize("value", [[1, 2], {}, {"epoch": 3, "state_dict": {}}, torch.zeros(3)])
def test_weights_that_are_no_state_dict(fails, fit_with, value):
    error = fails(*fit_with(value))
    assert "w.pth is not a state dict" in error


@pytest.mark.parametrize("content", [b"", b"text", None])
def test_weights_that_cannot_be_read(fails, small_manifest, tmp_path, content):
    if content is not None:
        (tmp_path / "w.pth").write_bytes(content)
    given = ["--arch", "squeezenet1_1", "--weights", tmp_path / "w.pth", "--out", tmp_path / "g.pt"]
    assert "w.pth" in fails("classifier", small_manifest, *given)


def test_a_classifier_that_is_none(fails, build, small_run, small_data):
    for wrong in (small_run / "best.pt", small_data / "annotations.csv", small_data / "gone.pt"):
        build[3] = wrong
        assert wrong.name in fails(*build)


# Caches and runs


def test_a_cache_of_another_manifest(fails, tcam, index, train, data_copy, small_cache, tmp_path):
    (data_copy / "dog/0002/frame0003.jpg").unlink()
    rows = (data_copy / "annotations.csv").read_text().splitlines()
    kept = [row for row in rows if "dog/0002/frame0003" not in row]
    (data_copy / "annotations.csv").write_text("\n".join(kept))
    tcam(*index)
    train[1] = index[-1]
    scored = ["evaluate", index[-1], "--cache", small_cache, "--out", tmp_path / "report"]
    for command in ([*train, "--cache", small_cache], scored):
        error = fails(*command)
        assert "built from another manifest" in error
        assert "dog/0002: 2 frames in the manifest, 3 in the cache" in error


def test_an_incomplete_cache(fails, tcam, build, train, small_manifest, tmp_path):
    assert tcam(*build, "--shard", "0/2").exit_code == 0
    error = fails(*train, "--cache", build[-1])
    assert "not finished" in error and "bird/0001/002" in error and "dog/0001" in error
    scored = ["evaluate", small_manifest, "--cache", build[-1], "--out", tmp_path / "report", "--workers", 0]
    assert "car/0003/001" in fails(*scored) or "bird/0003" in fails(*scored)


@pytest.mark.parametrize("wrong", ["nowhere", "data"])
def test_a_cache_that_is_none(fails, train, data_copy, tmp_path, wrong):
    assert wrong in fails(*train, "--cache", tmp_path / wrong)


def test_a_run_folder_that_already_holds_a_run(fails, train, small_cache, small_run):
    train[-1] = small_run
    error = fails(*train, "--cache", small_cache)
    assert f"{small_run} already holds a run" in error and "--resume" in error


def test_a_run_that_is_none(fails, small_manifest, small_data, tmp_path):
    for folder in (small_data, tmp_path / "nowhere"):
        error = fails("evaluate", small_manifest, "--run", folder, "--out", tmp_path / "report")
        assert f"there is no run in {folder}" in error


def test_a_device_that_is_not_there(fails, build):
    assert "cuda:97" in fails(*build, "--device", "cuda:97")


# The file system


@pytest.mark.parametrize(
    ("number", "reason"), [(errno.EACCES, "no write permission"), (errno.ENOSPC, "the disk is full")]
)
@pytest.mark.parametrize("allowed", [0, 35])
def test_no_permission_and_no_space_while_building(fails, tcam, build, monkeypatch, number, reason, allowed):
    real, calls = os.replace, []

    def refuse(old, new):
        calls.append(new)
        if len(calls) > allowed:
            raise OSError(number, os.strerror(number))
        return real(old, new)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        error = fails(*build)
    assert reason in error and str(build[-1]) in error and "run the same command again" in error
    done = json.loads(tcam(*build, "--json").stdout)
    assert 0 < done["built_frames"] <= 35 and (allowed == 0) == (done["built_frames"] == 35)
    assert tcam("verify", build[-1]).exit_code == 0


def test_no_permission_for_a_manifest_a_classifier_or_a_report(
    fails, index, small_manifest, small_cache, tmp_path
):
    (tmp_path / "file").write_text("in the way")
    index[-1] = tmp_path / "file/m.jsonl"
    assert "a file stands where a folder is needed" in fails(*index)
    scored = ["evaluate", small_manifest, "--cache", small_cache, "--out", tmp_path / "file"]
    assert str(tmp_path / "file") in fails(*scored, "--workers", 0, "--overlays", 0)
