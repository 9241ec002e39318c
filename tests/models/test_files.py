import dataclasses
import errno
import io
import os

import pytest
import torch

from tcam_cache.errors import ConfigError, StorageError, WeightsError
from tcam_cache.models import (
    CHECKPOINTS,
    ClassifierFile,
    Presence,
    parse_classifier_file,
    read_classifier_file,
    seeded_classifier,
    weights_hash,
)
from tcam_cache.models.files import FORMAT, VERSION

CLASSES = ("bird", "cat")
OPTIONAL = {"dilated": False}


@pytest.fixture(scope="module")
def states():
    models = [seeded_classifier("squeezenet1_1", CLASSES, 16, seed) for seed in (1, 2)]
    return {name: model.state_dict() for name, model in zip(CHECKPOINTS, models, strict=True)}


@pytest.fixture(scope="module")
def file(states):
    names = {spec.name for spec in dataclasses.fields(ClassifierFile)}
    return ClassifierFile(
        arch="squeezenet1_1",
        classes=CLASSES,
        output_stride=16,
        checkpoints=states,
        scores={"best_localization": {"epoch": 3, "corloc": 51.5}},
        provenance={"config": {"seed": 1}},
        **{name: value for name, value in OPTIONAL.items() if name in names},
    )


@pytest.fixture(scope="module")
def content(file):
    return file.to_bytes()


def changed(content, **entries):
    """Return a file's content with entries replaced, or left out where the new value is None."""
    values = {**torch.load(io.BytesIO(content), weights_only=True), **entries}
    buffer = io.BytesIO()
    torch.save({key: value for key, value in values.items() if value is not None}, buffer)
    return buffer.getvalue()


def test_classes_that_it_does_not_know_are_all_named_in_any_order_and_others_are_welcome(file):
    file.require_classes(["cat"])
    file.require_classes(["cat", "bird"])
    with pytest.raises(ConfigError, match="knows bird, cat, but not these classes") as caught:
        file.require_classes(["dog", "cat", "car"])
    assert caught.value.offenders == ("dog", "car")


def test_what_is_saved_is_read_back(file, tmp_path):
    file.save(tmp_path / "g.pt")
    again = read_classifier_file(tmp_path / "g.pt")
    assert (again.arch, again.classes, again.output_stride) == (file.arch, file.classes, file.output_stride)
    assert (again.scores, again.provenance) == (file.scores, file.provenance)
    assert again.hashes() == file.hashes()
    for name in CHECKPOINTS:
        for key, value in file.checkpoints[name].items():
            assert torch.equal(again.checkpoints[name][key], value)


def test_its_bytes_parse_as_the_file_does(file, content):
    assert parse_classifier_file(content, "a copy").hashes() == file.hashes()


def test_each_checkpoint_has_its_own_hash(file, states):
    assert file.hashes() == {name: weights_hash(states[name]) for name in CHECKPOINTS}
    assert len(set(file.hashes().values())) == 2


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_classifier_of_either_checkpoint_is_frozen_and_has_its_weights(file, name):
    model = file.classifier(name)
    assert (model.arch, model.classes, model.output_stride) == ("squeezenet1_1", CLASSES, 16)
    assert weights_hash(model.state_dict()) == file.hashes()[name]
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())


def test_a_newer_version_is_refused_by_name(content):
    with pytest.raises(
        WeightsError, match=rf"^g\.pt is .* of version {VERSION + 1}, newer than version {VERSION} "
    ):
        parse_classifier_file(changed(content, version=VERSION + 1), "g.pt")


@pytest.mark.parametrize("entry", ["classes", "checkpoints", "arch"])
def test_a_file_without_an_entry_names_it(content, entry):
    with pytest.raises(WeightsError, match="damaged classifier file") as caught:
        parse_classifier_file(changed(content, **{entry: None}), "g.pt")
    assert caught.value.offenders == (entry,)


@pytest.mark.parametrize("version", [None, "one", 0])
def test_a_version_that_never_was_is_damage(content, version):
    with pytest.raises(WeightsError, match="damaged classifier file"):
        parse_classifier_file(changed(content, version=version), "g.pt")


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_named(content, share, tmp_path):
    (tmp_path / "g.pt").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(WeightsError, match=r"g\.pt .*Expected a classifier file; make one with `tcam-cache"):
        read_classifier_file(tmp_path / "g.pt")


def test_a_plain_state_dict_is_not_a_classifier_file(states, tmp_path):
    torch.save(states["best_localization"], tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"w\.pt is not a classifier file\. .*tcam-cache classifier"):
        read_classifier_file(tmp_path / "w.pt")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"cannot read \S*g\.pt: No such file.*tcam-cache classifier"):
        read_classifier_file(tmp_path / "g.pt")


def test_a_checkpoint_that_does_not_fit_its_architecture_is_a_named_error(content):
    other = parse_classifier_file(changed(content, classes=("bird", "boat", "cat")), "g.pt")
    with pytest.raises(
        WeightsError, match=r"'best_localization' is not one of squeezenet1_1[\s\S]*head\.weight"
    ):
        other.classifier("best_localization")
    empty = parse_classifier_file(changed(content, checkpoints={}), "g.pt")
    with pytest.raises(WeightsError, match="'best_localization' is not one of"):
        empty.classifier("best_localization")


def test_an_unknown_format_is_refused_even_with_all_entries(content):
    assert FORMAT != "other"
    with pytest.raises(WeightsError, match="is not a classifier file"):
        parse_classifier_file(changed(content, format="other"), "g.pt")


def test_a_full_disk_keeps_the_file_that_was_there(file, tmp_path, monkeypatch):
    (tmp_path / "g.pt").write_bytes(b"old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"g\.pt: the disk is full"):
        file.save(tmp_path / "g.pt")
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == {"g.pt": b"old"}


def test_presence_is_kept_and_files_without_it_say_none(file, tmp_path):
    presence = Presence(None, torch.ones(3, 4), torch.ones(3), 2.0, 0.5, 0.4, {"presence_auroc": 91.0})
    dataclasses.replace(file, presence=presence.to_values()).save(tmp_path / "g.pt")
    again = read_classifier_file(tmp_path / "g.pt").presences()
    assert torch.equal(again.weight, presence.weight) and again[3:] == presence[3:]
    assert file.presences() is None and b"presence" not in file.to_bytes()


def test_damaged_presence_is_named(file):
    with pytest.raises(WeightsError, match="presence is damaged: it lacks"):
        dataclasses.replace(file, presence={"concepts": None}).presences()
