"""Tests of what a cache from elsewhere may do to whoever opens it: read, and lead nowhere else."""

import json

import h5py
import numpy as np
import pytest

from tcam_cache.cache import CamCache, CamWriter
from tcam_cache.cache.format import is_attachment_name
from tcam_cache.errors import CacheError

OUTSIDE = ["../victim.txt", "/victim.txt", "a/b", "..\\victim.txt", "C:victim", "", ".", "..", "a\0b"]
OWN = ["cache.json", "commits", "frames", "pack", "cams.zarr"]


@pytest.mark.parametrize("name", OUTSIDE + OWN)
def test_an_attachment_is_a_plain_file_of_its_own(name, path, plan):
    assert not is_attachment_name(name)
    with pytest.raises(CacheError, match="plain file names"):
        CamWriter.create(path, plan, {name: b"data"})
    assert not path.exists()


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_folder_whose_marker_leads_out_is_refused(name, cache):
    marker = json.loads((cache.path / "cache.json").read_text())
    marker["attachments"][name] = "0" * 64
    (cache.path / "cache.json").write_text(json.dumps(marker))
    with pytest.raises(CacheError, match="lead out of the cache"):
        CamCache.open(cache.path)


def test_an_exported_file_whose_marker_leads_out_writes_nothing(cache, tmp_path):
    cache.to_h5(tmp_path / "x.h5")
    (tmp_path / "victim.txt").write_text("mine")
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        marker = json.loads(file["files/cache.json"][()].tobytes())
        marker["attachments"]["../victim.txt"] = marker["attachments"].pop("classifier.pt")
        del file["files/cache.json"]
        file["files/cache.json"] = np.frombuffer(json.dumps(marker).encode(), np.uint8)
    with pytest.raises(CacheError, match="lead out of the cache"):
        CamCache.open(tmp_path / "x.h5")
    assert (tmp_path / "victim.txt").read_text() == "mine"


@pytest.mark.parametrize("link", ["external", "soft", "storage"])
def test_an_exported_file_that_leads_to_another_is_refused(link, cache, tmp_path):
    cache.to_h5(tmp_path / "x.h5")
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["secret"] = np.zeros((264, 4, 6), np.float16)
    (tmp_path / "secret.raw").write_bytes(bytes(264 * 4 * 6 * 2))
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        shape = file["cam"].shape
        del file["cam"]
        if link == "external":
            file["cam"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "secret")
        elif link == "soft":
            file["cam"] = h5py.SoftLink("/frame_stats")
        else:
            external = [(str(tmp_path / "secret.raw"), 0, h5py.h5f.UNLIMITED)]
            file.create_dataset("cam", shape, np.float16, external=external)
    with pytest.raises(CacheError, match="leads to another file"):
        CamCache.open(tmp_path / "x.h5").cams("cat/0002/001")


@pytest.mark.parametrize("name", [".DS_Store", "._000000.json", "Thumbs.db", "desktop.ini", "@eaDir"])
@pytest.mark.parametrize("folder", ["", "commits", "cams.zarr", "frames", "pack"])
def test_what_systems_leave_in_its_folders_is_no_damage(name, folder, cache, plan, build_all, tmp_path):
    digest = cache.digest()
    (cache.path / folder).mkdir(exist_ok=True)
    litter = cache.path / folder / name
    litter.mkdir() if name == "@eaDir" else litter.write_bytes(b"litter")
    cache = CamCache.open(cache.path)
    assert (cache.verify(), cache.digest(), cache.missing()) == ((), digest, ())
    cache.pack()
    cache.to_h5(tmp_path / "x.h5")
    assert build_all(cache.path, plan).pending() == ()


def test_a_folder_with_nothing_but_what_systems_leave_is_empty(path, plan, build_all):
    path.mkdir()
    (path / ".DS_Store").write_bytes(b"litter")
    build_all(path, plan)
    assert CamCache.open(path).verify() == ()


LINKED = [
    "cache.json", "classifier.pt", "commits", "commits/000000.json", "frames", "pack",
    "cams.zarr", "cams.zarr/cam", "cams.zarr/cam/zarr.json", "cams.zarr/cam/c.0.0.0",
]  # fmt: skip


def use(path, plan, build_all):
    """Do everything that reads from a cache or writes into it."""
    build_all(path, plan)
    cache = CamCache.open(path)
    cache.attachment("classifier.pt")
    cache.cams(plan.shots[0].id)
    cache.frames(None, [])._folder.side(plan.shots[0].id)
    cache.pack()


@pytest.mark.parametrize("name", LINKED)
def test_a_link_that_leads_out_is_neither_read_nor_written_through(name, path, plan, build_all, tmp_path):
    build_all(path, plan, {"classifier.pt": b"data"}, limit=2)
    for folder in ("frames", "pack"):
        (path / folder).mkdir(exist_ok=True)
    outside = tmp_path / "outside"
    (path / name).rename(outside)
    (path / name).symlink_to(outside)
    if outside.is_dir():
        (outside / "mine.npy").write_bytes(b"mine")
    before = sorted(file.name for file in outside.rglob("*"))
    with pytest.raises(CacheError, match="leads out of the cache"):
        use(path, plan, build_all)
    assert sorted(file.name for file in outside.rglob("*")) == before


def test_links_within_a_cache_and_to_a_cache_are_followed(cache, plan, build_all, tmp_path):
    (cache.path / "commits").rename(cache.path / "records")
    (cache.path / "commits").symlink_to("records")
    (tmp_path / "link").symlink_to(cache.path)
    use(tmp_path / "link", plan, build_all)
    assert CamCache.open(tmp_path / "link").missing() == ()


def test_a_pack_that_is_a_link_is_made_anew(cache, tmp_path):
    path = cache.pack().path
    path.rename(tmp_path / "other.npy")
    path.symlink_to(tmp_path / "other.npy")
    assert CamCache.open(cache.path).pack().path == path and not path.is_symlink()
