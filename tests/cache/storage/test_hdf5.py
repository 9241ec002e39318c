"""Tests of an HDF5 file as a cache: what is damaged or another program's, and processes that share one."""

import errno
import os
import pickle
import subprocess
import sys
import warnings

import h5py
import numpy as np
import pytest

from tcam_cache.cache import CamCache, CamWriter
from tcam_cache.errors import CacheError


@pytest.fixture
def file(cache, tmp_path):
    """The cache of `plan` as an HDF5 file; a test may damage it."""
    cache.to_h5(tmp_path / "x.h5")
    return tmp_path / "x.h5"


@pytest.mark.parametrize("keep", [0, 7, 100, 5000, -1])
def test_a_file_cut_short_is_named(file, keep):
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(CacheError, match=r"x\.h5 is not a CAM cache: .* nor a whole HDF5 file"):
        CamCache.open(file)


def test_a_file_of_another_program_is_named(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["cam"] = np.zeros(3)
    with pytest.raises(CacheError, match=r"other\.h5 is an HDF5 file, but not one that `tcam-cache export"):
        CamCache.open(tmp_path / "other.h5")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(CacheError, match="text is not a CAM cache"):
        CamCache.open(tmp_path / "text")


def test_a_newer_format_is_refused_by_its_version(file):
    with h5py.File(file, "r+") as opened:
        marker = (
            opened["files/cache.json"][:].tobytes().replace(b'"format_version": 1', b'"format_version": 2')
        )
        opened["files/cache.json"][:] = np.frombuffer(marker, np.uint8)
    with pytest.raises(CacheError, match="format version 2"):
        CamCache.open(file)


@pytest.mark.parametrize("name", ["cam", "frame_stats"])
def test_numbers_that_were_changed_are_found_by_their_shot(file, name):
    with h5py.File(file, "r+") as opened:
        opened[name][7] = 0.25
    (problem,) = CamCache.open(file).verify()
    assert (
        problem.startswith("cat/0002/001: its numbers do not match") and "export the cache again" in problem
    )


def test_a_flipped_bit_is_an_error_and_never_read_as_a_cam(file):
    with h5py.File(file) as opened:
        chunk = opened["cam"].id.get_chunk_info(0)
    data = bytearray(file.read_bytes())
    data[chunk.byte_offset + chunk.size // 2] ^= 4
    file.write_bytes(data)
    cache = CamCache.open(file)
    with pytest.raises(CacheError, match=r"cam in .*x\.h5 is missing or damaged"):
        cache.cams("bird/0000/001")
    assert any(problem.startswith("bird/0000/001: a chunk cannot be decoded") for problem in cache.verify())


def test_a_column_that_is_gone_is_named(file):
    with h5py.File(file, "r+") as opened:
        del opened["video"]
    with pytest.raises(CacheError, match=r"video in .* is missing or damaged"):
        CamCache.open(file).shots()


def test_an_attached_file_that_is_gone_or_changed_is_found(file):
    with h5py.File(file, "r+") as opened:
        opened["files/classifier.pt"][0] = 0
    cache = CamCache.open(file)
    assert cache.verify() == ("classifier.pt: is not the file that cache.json names; export the cache again",)
    with pytest.raises(CacheError, match=r"classifier\.pt in .*x\.h5 is gone, or not the file"):
        cache.attachment("classifier.pt")


def test_it_counts_as_one_file_and_names_its_path(file):
    cache = CamCache.open(file)
    info = cache.info()
    assert (info.files, info.bytes, info.path) == (1, file.stat().st_size, str(file))
    assert cache.path == file and info.complete


def test_it_is_carried_to_other_processes_and_read_by_forked_ones(file):
    cache = CamCache.open(file)
    want = cache.window("cat/0002/001", 129, 3)
    carried = pickle.dumps(cache)
    assert len(carried) < 2000
    assert np.array_equal(pickle.loads(carried).window("cat/0002/001", 129, 3), want)
    workers = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for _ in range(3):
            workers.append(os.fork())
            if not workers[-1]:
                good = all(np.array_equal(cache.window("cat/0002/001", 129, 3), want) for _ in range(50))
                os._exit(0 if good else 1)
    assert [os.waitpid(worker, 0)[1] for worker in workers] == [0, 0, 0]


def test_others_may_have_the_file_open_at_the_same_time(file):
    cache = CamCache.open(file)
    cache.cams("bird/0000/001")
    with h5py.File(file) as opened:
        assert opened["cam"].shape[0] == 264
    assert len(cache.cams("bird/0000/001")) == 5


def test_no_cache_is_built_into_it(file, plan):
    before = file.read_bytes()
    with pytest.raises(CacheError, match=r"x\.h5 is a file; expected a folder"):
        CamWriter.create(file, plan)
    assert file.read_bytes() == before


def test_a_bit_flipped_anywhere_is_harmless_or_named(file, plan, cams_of):
    sound, generator = file.read_bytes(), np.random.default_rng(0)
    damaged, named = file.with_name("damaged.h5"), 0
    for at in generator.integers(len(sound), size=60):
        data = bytearray(sound)
        data[at] ^= 1 << generator.integers(8)
        damaged.unlink(missing_ok=True)  # Another file: HDF5 takes one that is open for the same.
        damaged.write_bytes(data)
        try:
            cache = CamCache.open(damaged)
            problems = cache.verify()
            for shot in plan.shots if not problems else ():
                assert np.array_equal(cache.cams(shot.id), cams_of(shot).cams)
        except CacheError:
            problems = ("named",)
        named += bool(problems)
    assert 10 < named < 60


def test_a_file_that_another_program_has_open_is_read_all_the_same(file, plan, cams_of):
    script = (
        f"import h5py, sys; held = h5py.File({str(file)!r}, 'r+'); print(1, flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout.readline() == "1\n"
        cams = CamCache.open(file).cams(plan.shots[0].id)
        holder.stdin.close()
    assert np.array_equal(cams, cams_of(plan.shots[0]).cams)


def test_a_file_that_a_writer_left_open_is_told_apart_from_no_cache(file):
    with h5py.File(file.with_name("y.h5"), "w", libver="latest") as new, h5py.File(file) as old:
        for name in old:
            old.copy(name, new)
        new.attrs.update(old.attrs)
    data = bytearray(file.with_name("y.h5").read_bytes())
    data[11] |= 5
    file.with_name("y.h5").write_bytes(data)
    with pytest.raises(CacheError, match=r"y\.h5 is open for writing in another program"):
        CamCache.open(file.with_name("y.h5"))


def test_a_file_that_another_program_has_open_is_verified_while_this_one_reads_it(file):
    script = f"import fcntl; held = open({str(file)!r}); fcntl.flock(held, 2); print(1, flush=True); input()"
    holder = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout.readline() == "1\n"
        cache = CamCache.open(file)
        assert cache.verify() == ()
        holder.communicate("\n")


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EACCES, errno.EAGAIN])
def test_a_disk_without_locks_is_read_all_the_same(number, file, monkeypatch):
    opened = h5py.File

    def without_locks(path, mode, **options):
        if options.get("locking") is not False:
            raise OSError(number, "unable to lock file")
        return opened(path, mode, **options)

    monkeypatch.setattr(h5py, "File", without_locks)
    assert CamCache.open(file).verify() == ()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (BlockingIOError(errno.EAGAIN, "unable to lock file"), "set HDF5_USE_FILE_LOCKING=FALSE"),
        (PermissionError(errno.EACCES, "Permission denied"), "no permission to read"),
    ],
)
def test_a_sound_file_that_cannot_be_opened_is_told_apart_from_no_cache(error, message, file, monkeypatch):
    def refused(*args, **options):
        raise error

    monkeypatch.setattr(h5py, "File", refused)
    with pytest.raises(CacheError, match=message) as caught:
        CamCache.open(file)
    assert "export" not in caught.value.message
