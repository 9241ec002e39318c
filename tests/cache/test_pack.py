"""Tests of the pack: one memory-mapped file for training."""

import errno
import gc
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tcam_cache.cache import CamCache, CamWriter
from tcam_cache.cache import contents as checked
from tcam_cache.errors import CacheError, StorageError


def test_the_pack_is_an_ordinary_npy_of_the_shots_in_order_without_padding(cache, plan, cams_of):
    maps = np.load(cache.pack().path)
    assert maps.dtype == np.float16
    assert np.array_equal(maps, np.concatenate([cams_of(shot).cams for shot in plan.shots]))


def test_a_pack_is_made_once(cache):
    made = cache.pack().path.stat().st_mtime_ns
    assert cache.pack().path.stat().st_mtime_ns == made
    assert cache.pack().path == cache.path / "pack" / f"{cache.digest()}.npy"


def test_a_pack_of_part_of_the_shots_holds_these_in_order(path, plan, build_all, cams_of):
    build_all(path, plan, shard=(1, 2))
    maps = np.load(CamCache.open(path).pack().path)
    assert np.array_equal(maps, np.concatenate([cams_of(shot).cams for shot in plan.shots[1::2]]))


def test_a_new_pack_takes_the_place_of_the_old_one(path, plan, build_all):
    build_all(path, plan, limit=2)
    old = CamCache.open(path).pack().path
    build_all(path, plan)
    new = CamCache.open(path).pack().path
    assert old != new
    assert list(new.parent.iterdir()) == [new]


def test_a_pack_that_was_cut_short_is_made_again(cache, plan, cams_of):
    file = cache.pack().path
    file.write_bytes(file.read_bytes()[:-100])
    assert np.array_equal(cache.pack().cams(plan.shots[3].id), cams_of(plan.shots[3]).cams)


def test_a_pack_that_is_gone_is_a_named_error(cache):
    packed = cache.pack()
    packed.path.unlink()
    with pytest.raises(CacheError, match=r"call pack\(\) again"):
        packed.cams("bird/0000/001")


def test_nothing_finished_is_nothing_to_pack(path, plan):
    CamWriter.create(path, plan)
    with pytest.raises(CacheError, match=r"no shot .* finished"):
        CamCache.open(path).pack()


@pytest.mark.parametrize("batch_bytes", [0, 20_000, 10**9])
def test_shots_are_read_in_batches_of_any_size(cache, plan, cams_of, monkeypatch, batch_bytes):
    monkeypatch.setattr(checked, "BATCH_BYTES", batch_bytes)
    packed = cache.pack()
    for shot in plan.shots:
        assert np.array_equal(packed.cams(shot.id), cams_of(shot).cams)


def test_a_damaged_shot_is_never_packed(cache):
    (cache.path / "cams.zarr/cam/c.1.0.0").unlink()
    with pytest.raises(CacheError, match=r"'boat/0001/001'.*not what was committed"):
        cache.pack()
    assert not list(cache.path.glob("pack/*"))


@pytest.fixture
def read_only(monkeypatch, cache):
    """Make the cache's folder refuse every write, as a read-only disk does, for root too."""
    replace = Path.replace

    def refuse(self, target):
        if cache.path in Path(target).parents:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(target))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refuse)


@pytest.mark.usefixtures("read_only")
def test_a_cache_on_a_read_only_disk_packs_into_a_folder_that_lives_as_long_as_the_pack(
    cache, plan, cams_of, caplog
):
    packed = cache.pack()
    assert cache.path not in packed.path.parents
    assert "read-only" in caplog.text
    assert np.array_equal(packed.cams(plan.shots[2].id), cams_of(plan.shots[2]).cams)
    folder = packed.path.parent
    del packed
    gc.collect()
    assert not folder.exists()


@pytest.mark.usefixtures("read_only")
def test_a_forked_worker_that_drops_its_pack_leaves_the_file(cache):
    packed = cache.pack()
    worker = os.fork()
    if not worker:
        del packed
        gc.collect()
        os._exit(0)
    assert os.waitpid(worker, 0)[1] == 0
    assert len(packed.cams("bird/0000/001")) == 5


def test_no_room_anywhere_is_a_storage_error_and_leaves_no_file(cache, monkeypatch, tmp_path):
    def refuse(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    with pytest.raises(StorageError, match="disk is full"):
        cache.pack()
    gc.collect()
    assert not list(cache.path.glob("pack/.*")) + list(cache.path.glob("pack/*"))
    assert not list((tmp_path / "temporary").iterdir())


HOLDER = """
import sys
from tcam_cache import CamCache
packed = CamCache.open(sys.argv[1]).pack()
print(packed.path.name, flush=True)
sys.stdin.readline()
print(len(packed.cams("bird/0000/001")), flush=True)
"""


def test_a_pack_that_another_process_reads_stays_until_it_ends(path, plan, build_all):
    build_all(path, plan, limit=2)
    reader = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with reader:
        old = path / "pack" / reader.stdout.readline().strip()
        build_all(path, plan, limit=1)
        CamCache.open(path).pack()
        assert old.exists()
        reader.stdin.write("go on\n")
        reader.stdin.flush()
        assert reader.stdout.readline() == "5\n"
    CamCache.open(path).pack()
    assert not old.exists()


def test_a_pack_with_a_damaged_header_is_made_anew(path, plan, build_all):
    build_all(path, plan, limit=1)  # which is read twice for each byte
    cache = CamCache.open(path)
    pack = cache.pack().path
    sound = pack.read_bytes()
    # Every byte of the text, and the first and the last of the spaces and the line's end that follow it.
    for at in (*range(10, sound.index(b"}") + 2), 126, 127):
        pack.write_bytes(sound[:at] + bytes([sound[at] ^ 8]) + sound[at + 1 :])
        problems = cache.verify()
        assert problems == () or "is cut short" in problems[0] or "differs" in problems[0], at
    pack.write_bytes(sound.replace(b"'shape': (", b"'shape': [("))
    assert CamCache.open(path).pack().path.read_bytes() == sound
