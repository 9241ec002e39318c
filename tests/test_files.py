import errno
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tcam_cache import files
from tcam_cache.errors import ConfigError, StorageError
from tcam_cache.files import (
    atomic_file,
    atomic_path,
    make_folder,
    storage_errors,
    write_bytes,
    write_json,
    write_text,
)

REASONS = [
    (errno.EACCES, "no write permission"),
    (errno.ENOSPC, "the disk is full"),
    (errno.EROFS, "the file system is read-only"),
]


def refuse(number):
    def refused(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    return refused


@pytest.mark.parametrize("home", [(os, "fsync"), (os, "replace"), (os, "open"), (Path, "open")])
@pytest.mark.parametrize(("number", "reason"), REASONS)
def test_a_refused_write_keeps_the_old_file_and_says_which_file_and_why(
    tmp_path, monkeypatch, home, number, reason
):
    path = tmp_path / "g.pt"
    path.write_bytes(b"old")
    monkeypatch.setattr(*home, refuse(number))
    with pytest.raises(StorageError) as caught:
        write_bytes(path, b"new")
    monkeypatch.undo()
    assert str(caught.value).startswith(f"cannot write {path}: {reason}. Everything finished so far is kept;")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"g.pt": b"old"}


def test_a_disk_that_fills_up_in_the_middle_keeps_the_old_file(tmp_path):
    path = tmp_path / "g.pt"
    path.write_bytes(b"old")
    with pytest.raises(StorageError, match="disk is full"), atomic_file(path) as file:
        file.write(b"half")
        refuse(errno.ENOSPC)()
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"g.pt": b"old"}


def test_the_name_of_a_temporary_file_is_never_shown(tmp_path, monkeypatch):
    def refused(path, *args):
        raise OSError(errno.EACCES, "refused", str(path))

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(StorageError, match=r"cannot write \S*/g\.pt: no write permission"):
        write_bytes(tmp_path / "g.pt", b"")


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt()])
def test_an_error_of_the_block_passes_unchanged_and_leaves_nothing(tmp_path, error):
    with pytest.raises(type(error)), atomic_file(tmp_path / "g.pt") as file:
        file.write(b"half")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_until_the_block_ends_the_old_file_is_there_whole(tmp_path):
    path = tmp_path / "g.pt"
    path.write_bytes(b"old")
    with atomic_file(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


def test_kill_9_in_the_middle_leaves_the_old_file(tmp_path):
    (tmp_path / "g.pt").write_bytes(b"old")
    script = (
        "import os, signal, sys\nfrom tcam_cache.files import atomic_file\n"
        "with atomic_file(sys.argv[1]) as file:\n"
        "    file.write(b'half'); file.flush(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "g.pt")])
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "g.pt").read_bytes() == b"old"
    assert all(file.name.endswith(files.PARTIAL) for file in tmp_path.iterdir() if file.name != "g.pt")


def test_bytes_reach_the_disk_before_they_get_their_name(tmp_path, monkeypatch):
    order = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda *args, real=real, name=name, **kw: (order.append(name), real(*args, **kw))
        )
    write_bytes(tmp_path / "g.pt", b"new")
    assert order == ["fsync", "replace"]


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_a_finished_file_follows_the_umask_like_any_other(tmp_path, umask):
    before = os.umask(umask)
    try:
        write_bytes(tmp_path / "g.pt", b"")
        assert os.umask(umask) == umask, "the umask was changed"
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "g.pt").stat().st_mode) == 0o666 & ~umask


def test_missing_parents_are_made(tmp_path):
    write_text(tmp_path / "a" / "b" / "c.txt", "grün")
    assert (tmp_path / "a/b/c.txt").read_bytes() == "grün".encode()
    assert make_folder(tmp_path / "d" / "e").is_dir()
    assert make_folder(tmp_path / "d" / "e") == tmp_path / "d" / "e"


def test_json_ends_with_a_newline_and_reads_back(tmp_path):
    write_json(tmp_path / "c.json", {"b": [1, None], "a": 0.5})
    text = (tmp_path / "c.json").read_text()
    assert text.endswith("}\n")
    assert json.loads(text) == {"b": [1, None], "a": 0.5}


@pytest.mark.parametrize("write", [make_folder, lambda path: write_bytes(path, b"")])
def test_a_file_where_a_folder_is_needed_is_named(tmp_path, write):
    (tmp_path / "taken").write_bytes(b"")
    with pytest.raises(StorageError, match=r"taken\S*: a file stands where a folder is needed"):
        write(tmp_path / "taken" / "below")


def test_a_folder_where_a_file_is_needed_is_named(tmp_path):
    (tmp_path / "taken" / "inside").mkdir(parents=True)
    with pytest.raises(StorageError, match=r"taken: a folder stands where a file is needed"):
        write_bytes(tmp_path / "taken", b"")
    assert [file.name for file in tmp_path.iterdir()] == ["taken"]


def test_a_name_that_is_too_long_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match="the name is too long"):
        write_bytes(tmp_path / ("x" * 300), b"")


def test_other_errors_of_the_system_are_not_called_refusals():
    with pytest.raises(FileNotFoundError), storage_errors("g.pt"):
        Path("nowhere/at/all").read_bytes()


def test_a_folder_that_cannot_be_made_is_named(tmp_path, monkeypatch):
    def nowhere(self, *args, **kwargs):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(self))

    monkeypatch.setattr(Path, "mkdir", nowhere)
    for write in (make_folder, lambda path: write_bytes(path / "g.pt", b"")):
        with pytest.raises(StorageError, match=f"cannot make the folder {tmp_path / 'new'}"):
            write(tmp_path / "new")


def test_a_file_written_by_its_name_appears_only_when_the_block_ends(tmp_path):
    path = tmp_path / "folder/a.h5"
    with atomic_path(path) as partial:
        assert partial.parent == path.parent and partial.read_bytes() == b""
        partial.write_bytes(b"all of it")
        assert not path.exists()
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == {"a.h5": b"all of it"}
    with pytest.raises(ZeroDivisionError), atomic_path(path) as partial:
        partial.write_bytes(b"half")
        raise ZeroDivisionError
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == {"a.h5": b"all of it"}


@pytest.mark.parametrize("write", [make_folder, lambda path: write_bytes(path, b"")])
@pytest.mark.parametrize("url", ["s3://bucket/a.h5", "s3://a.h5", Path("s3://bucket/a.h5")])
def test_a_url_is_refused_and_no_folder_is_made_of_its_protocol(tmp_path, monkeypatch, write, url):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"s3:/.*a\.h5"):
        write(url)
    assert list(tmp_path.iterdir()) == []


def test_files_of_other_threads_keep_their_permissions_while_one_is_written(tmp_path, monkeypatch):
    before = os.umask(0o077)
    seen = []

    def watched(descriptor):
        current = os.umask(0o077)
        seen.append(current)

    monkeypatch.setattr(os, "fsync", watched)
    try:
        with atomic_file(tmp_path / "mine") as file:
            (tmp_path / "theirs").write_bytes(b"")
            file.write(b"data")
    finally:
        os.umask(before)
    assert seen == [0o077]
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"mine": 0o600, "theirs": 0o600}


def test_no_call_changes_the_umask_of_the_process(tmp_path, monkeypatch):
    def refused(mask):
        raise AssertionError("the umask belongs to all threads")

    monkeypatch.setattr(os, "umask", refused)
    write_text(tmp_path / "file", "text")


@pytest.mark.parametrize("name", ["x" * 251 + ".pt", "ü" * 126])
def test_a_name_as_long_as_the_file_system_allows_is_written(tmp_path, name):
    write_text(tmp_path / name, "text")
    assert [path.name for path in tmp_path.iterdir()] == [name]
