"""Tests of the objects of a folder."""

import fcntl
import os
import threading
import time

import pytest

from tcam_cache.cache.storage.folder import FolderObjects
from tcam_cache.errors import CacheError, StorageError


@pytest.fixture
def objects(tmp_path):
    return FolderObjects(tmp_path)


def test_what_is_put_is_got_listed_and_counted(objects):
    objects.put("commits/b", b"22")
    objects.put("commits/a", b"1")
    assert objects.get("commits/a") == b"1"
    assert objects.names("commits") == ("a", "b")
    assert objects.size() == (3, 2)


def test_what_is_not_there_is_none_and_an_absent_folder_is_empty(objects):
    objects.put("file", b"")
    assert objects.get("nothing") is None
    assert objects.get("file/below") is None
    assert objects.names("nothing") == objects.names("file") == ()


def test_an_object_that_cannot_be_read_is_a_named_error(objects):
    objects.put("folder/file", b"")
    with pytest.raises(CacheError, match=r"cannot read .*folder"):
        objects.get("folder")


def test_a_file_where_a_folder_is_needed_is_a_storage_error(objects):
    objects.put("commits", b"")
    with pytest.raises(StorageError, match="commits"):
        objects.put("commits/a", b"")


def test_unfinished_writes_are_never_listed_and_swept_only_when_old(objects):
    for name, age in (("old", 7200), ("young", 60)):
        objects.put(f"deep/er/{name}.partial", b"")
        os.utime(objects.root / f"deep/er/{name}.partial", (time.time() - age,) * 2)
    assert objects.names("deep/er") == ()
    objects.sweep(3600)
    assert [entry.name for entry in (objects.root / "deep/er").iterdir()] == ["young.partial"]


def test_who_waits_for_a_lock_file_that_is_gone_waits_for_the_next(objects, tmp_path):
    lock, turns = tmp_path / "commits/.a.lock.partial", []
    lock.parent.mkdir()

    def take():
        with objects.exclusive("commits/a"):
            turns.append("taken")

    first = lock.open("w")
    fcntl.flock(first, fcntl.LOCK_EX)
    waiting = threading.Thread(target=take)
    waiting.start()
    time.sleep(0.2)
    lock.unlink()
    with lock.open("w") as second:
        fcntl.flock(second, fcntl.LOCK_EX)
        first.close()
        waiting.join(timeout=0.3)
        assert turns == []
    waiting.join(timeout=10)
    assert turns == ["taken"] and not lock.exists()


def test_the_lock_file_of_a_killed_writer_is_young_again_once_it_is_taken(objects, tmp_path):
    lock = tmp_path / "commits/.a.lock.partial"
    lock.parent.mkdir()
    lock.touch()
    os.utime(lock, (0, 0))
    with objects.exclusive("commits/a"):
        objects.sweep(3600)
        assert lock.exists()
