"""Tests of the objects of a store elsewhere, in the one that needs no network: memory://."""

import errno
import os
import pickle
import sys
from pathlib import Path

import pytest

from tcam_cache.cache.storage.remote import RemoteObjects
from tcam_cache.errors import CacheError, StorageError

pytest.importorskip("fsspec")


@pytest.fixture
def objects(url):
    return RemoteObjects(url)


def test_what_is_put_is_got_listed_and_counted(objects):
    objects.put("commits/b", b"22")
    objects.put("commits/a", b"1")
    objects.put("cache.json", b"{}")
    assert objects.get("commits/a") == b"1"
    assert objects.names("commits") == ("a", "b")
    assert objects.names() == ("cache.json", "commits")
    assert objects.size() == (5, 3)
    assert objects.get_all(["commits/b", "none", "cache.json"]) == {"commits/b": b"22", "cache.json": b"{}"}
    assert objects.get_all([]) == {}


def test_what_is_not_there_is_none_and_an_absent_folder_is_empty(objects):
    assert (objects.kind(), objects.size()) == (None, (0, 0))
    objects.put("file", b"")
    assert objects.get("nothing") is None
    assert objects.names("nothing") == objects.names("file") == ()


def test_names_that_could_be_patterns_are_taken_literally(url):
    objects = RemoteObjects(f"{url}/run[1]*?")
    objects.put("a", b"1")
    assert (objects.get("a"), objects.get_all(["a"]), objects.names()) == (b"1", {"a": b"1"}, ("a",))
    assert (objects.kind(), objects.size()) == ("folder", (1, 1))


def test_a_neighbour_with_a_longer_name_is_not_listed(objects):
    RemoteObjects(objects.url + "er").put("b", b"")
    assert (objects.names(), objects.kind(), objects.size()) == ((), None, (0, 0))


def test_a_place_is_a_folder_a_file_or_nothing(objects):
    assert objects.kind() is None
    objects.put("a", b"")
    assert objects.kind() == "folder"
    assert RemoteObjects(objects.where("a")).kind() == "file"


def test_objects_are_named_as_they_are_typed(objects):
    assert (objects.place, objects.where()) == (objects.url, objects.url)
    assert objects.where("a/b") == f"{objects.url}/a/b"
    assert RemoteObjects("memory://").where("a") == "memory://a"


def test_they_can_be_carried_to_another_process(objects):
    objects.put("a", b"1")
    assert pickle.loads(pickle.dumps(objects)).get("a") == b"1"


def test_sweeping_leaves_everything(objects):
    objects.put(".a.partial", b"1")
    objects.sweep(0)
    assert objects.get(".a.partial") == b"1"


def test_what_is_derived_lies_with_the_user_apart_for_every_url(objects, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    ours, other = objects.derived("pack"), RemoteObjects(objects.url + "er").derived("pack")
    assert ours.parent == other.parent == tmp_path / "tcam_cache" and ours != other
    assert objects.derived("pack") == ours
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    assert objects.derived("pack") == tmp_path / "me/.cache/tcam_cache" / ours.name


def test_a_user_without_a_home_is_told_so(objects, monkeypatch):
    def lost():
        raise RuntimeError("could not determine home directory")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", lost)
    with pytest.raises(StorageError, match="Set XDG_CACHE_HOME"):
        objects.derived("pack")


REFUSALS = [
    (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "No space left on device"),
    (PermissionError("Access Denied"), r"no permission \(Access Denied\)"),
    (FileNotFoundError("NoSuchBucket"), r"no such bucket or folder \(NoSuchBucket\)"),
    (RuntimeError("connection reset."), "connection reset. Everything"),
    (NotImplementedError(), "NotImplementedError"),
]


def refuse(error):
    def method(*args, **kwargs):
        raise error

    return method


@pytest.mark.parametrize(("error", "reason"), REFUSALS)
def test_a_refused_write_is_a_storage_error_that_names_the_url_and_the_reason(objects, system, error, reason):
    system.setattr("pipe_file", refuse(error))
    with pytest.raises(
        StorageError, match=rf"cannot write {objects.url}/a/b: .*{reason}.*run the same command"
    ):
        objects.put("a/b", b"")


@pytest.mark.parametrize("error", [PermissionError("Access Denied"), RuntimeError("connection reset")])
def test_a_refused_read_is_a_storage_error_and_never_absence(objects, system, error):
    objects.put("a/b", b"")
    for method in ("cat_file", "ls", "find", "isfile"):
        system.setattr(method, refuse(error))
    reads = {
        "a/b": lambda: objects.get("a/b"),
        "a": lambda: objects.names("a"),
        "": objects.size,
    }
    for name, read in {**reads, "()": objects.kind, "[]": lambda: objects.get_all(["a/b", "c"])}.items():
        where = objects.where(name) if name in reads else objects.url
        with pytest.raises(StorageError, match=rf"cannot read {where}: .*{error}"):
            read()


def test_an_unknown_protocol_is_named():
    with pytest.raises(CacheError, match=r"cannot open ftpp://x/y: .*not known.*Correct the URL"):
        RemoteObjects("ftpp://x/y").get("a")


@pytest.mark.parametrize(
    ("url", "package", "advice"),
    [
        ("s3://bucket/x", "s3fs", r'Run `pip install "tcam-cache\[s3\]"`'),
        ("memory://x", "fsspec", r'Run `pip install "tcam-cache\[s3\]"`'),
        ("gs://bucket/x", "gcsfs", "Install it with pip"),
    ],
)
def test_a_missing_package_is_named_with_how_to_get_it(monkeypatch, url, package, advice):
    registry = pytest.importorskip("fsspec.registry")
    monkeypatch.delitem(registry._registry, url.split(":")[0], raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, f"{package}.core", None)
    with pytest.raises(CacheError, match=rf"{url} needs a package that is missing \(.*{package}.*{advice}"):
        RemoteObjects(url).get("a")
