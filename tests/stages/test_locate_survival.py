"""Tests of `locate` under kill -9 in every stage, and on a disk that fills up: the same boxes in the end."""

import errno
import multiprocessing
import os
import signal
from dataclasses import replace

import pytest

from tcam_cache import files
from tcam_cache.config import LocateConfig
from tcam_cache.errors import StorageError
from tcam_cache.stages.locate import locate

TINY = {
    "classifier": "arch=squeezenet1_1 weights=none image-size=64 probe-frames=2",
    "build": "scales=1 image-size=64",
    "train": "image-size=64 steps=1 epochs=2 frames-per-shot=1 batch-size=4 decoder-width=0.1 crf=false",
    "workers": 0,
    "overlays": False,
}
# What lies in OUT, of each stage.
STAGES = ("g.fit", "g.pt", "cache", "run", "boxes")


@pytest.fixture(scope="module")
def found(small_data, tmp_path_factory):
    """The config of `locate`, and the table of boxes that it finds when nothing goes wrong."""
    config = LocateConfig(source=small_data, out=tmp_path_factory.mktemp("locate") / "found", **TINY)
    locate(config)
    return config, table(config)


def table(config):
    return (config.out / "boxes/boxes.csv").read_bytes()


def at_write(number, below, act):
    """Return a replacement of what puts a file to disk, which acts at one of those below a folder."""
    whole, count = files._to_disk, []

    def put(path):
        if path.is_relative_to(below) or (path.parent == below.parent and below.suffix == ".pt"):
            count.append(path)
        if len(count) == number:
            act()
        whole(path)

    return put


def locate_and_die(config, below, number):
    files._to_disk = at_write(number, below, lambda: os.kill(os.getpid(), signal.SIGKILL))
    locate(config)


def test_killed_in_every_stage_it_goes_on_to_the_same_boxes(found, tmp_path):
    config = replace(found[0], out=tmp_path / "found")
    fork = multiprocessing.get_context("fork")
    for stage in STAGES:
        number = 3 if stage in ("cache", "run", "boxes") else 1
        child = fork.Process(target=locate_and_die, args=(config, config.out / stage, number))
        child.start()
        child.join(timeout=240)
        assert child.exitcode == -signal.SIGKILL, stage
        assert not (config.out / "boxes/boxes.csv").exists(), stage
    locate(config)
    assert table(config) == found[1]


def test_on_a_full_disk_it_says_so_in_every_stage_and_goes_on_later(found, tmp_path, monkeypatch):
    config = replace(found[0], out=tmp_path / "found")

    def refuse():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for stage in ("cache", "run", "boxes"):
        with monkeypatch.context() as patch, pytest.raises(StorageError, match="the disk is full"):
            patch.setattr(files, "_to_disk", at_write(3, config.out / stage, refuse))
            locate(config)
    locate(config)
    assert table(config) == found[1]
