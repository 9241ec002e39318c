"""Tests of other pixels under the same names: found by their size, their time, and then their bytes."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from tcam_cache.cache import CamCache, CamWriter, ShotFrames
from tcam_cache.cache.source_files import content_of, stamp_of
from tcam_cache.errors import FrameError


@dataclass(frozen=True)
class Files:
    """A source whose frames are files below a folder."""

    root: Path

    def files(self, shot):
        return tuple(self.root / shot.path(t) for t in range(len(shot)))


@pytest.fixture
def source(tmp_path, plan):
    source = Files(tmp_path / "data")
    for shot in plan.shots:
        for path in source.files(shot):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(path.name.encode())
    return source


@pytest.fixture
def writer(path, plan, source, cams_of):
    writer = CamWriter.create(path, plan)
    for shot in plan.shots:
        writer.write(shot.id, cams_of(shot), source.files(shot))
    return writer


def age(path):
    facts = path.stat()
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1_000_000_000))


def test_the_same_files_change_nothing(writer, source):
    assert writer.reopen_changed(source) == ()
    assert writer.pending() == ()


def test_other_bytes_of_the_same_length_make_a_shot_pending_again(writer, source, plan, path, cams_of):
    shot = plan.shots[2]
    changed = source.files(shot)[7]
    changed.write_bytes(changed.name.upper().encode())
    age(changed)
    assert writer.reopen_changed(source) == writer.pending() == (shot,)
    assert CamCache.open(path).missing() == (shot.id,)
    writer.write(shot.id, cams_of(shot), source.files(shot))
    assert writer.reopen_changed(source) == ()
    assert CamCache.open(path).verify() == ()


def replaced_unseen(path):
    """Give a file other bytes of the same length, and its former times back."""
    facts = path.stat()
    path.write_bytes(path.name.upper().encode())
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def test_other_bytes_under_the_same_size_and_time_are_noticed(writer, source, plan):
    replaced_unseen(source.files(plan.shots[2])[7])
    assert writer.reopen_changed(source) == (plan.shots[2],)


def test_a_check_reads_every_byte_whatever_the_stamps_say(writer, source, plan, path):
    shot = plan.shots[2]
    replaced_unseen(source.files(shot)[7])
    record = path / "commits/000002.json"
    values = json.loads(record.read_text()) | {"stamp": stamp_of(source.files(shot))}
    record.write_text(json.dumps(values))
    assert CamCache.open(path).source_changes(source, plan.shots).changed == (shot,)
    assert CamWriter.create(path, plan).reopen_changed(source) == ()


def test_files_that_change_after_their_stamp_was_taken_are_not_committed(path, plan, source, cams_of):
    writer, shot = CamWriter.create(path, plan), plan.shots[0]
    files = source.files(shot)
    stamp = stamp_of(files)
    replaced_unseen(files[1])
    with pytest.raises(FrameError, match="changed while they were read"):
        writer.write(shot.id, cams_of(shot), files, stamp)
    assert shot in writer.pending()
    writer.write(shot.id, cams_of(shot), files, stamp_of(files))
    assert shot not in writer.pending()


def test_the_stored_frames_of_a_changed_shot_go_too(writer, source, plan):
    shot = plan.shots[1]
    writer.write_frames(shot.id, ShotFrames(32, ((40, 30),), (b"jpeg",)))
    source.files(shot)[0].write_bytes(b"another picture")
    writer.reopen_changed(source)
    assert shot in writer.pending_frames(32)


def test_a_copied_data_set_with_other_times_is_the_same(writer, source, plan, path):
    for file in source.files(plan.shots[0]):
        age(file)
    assert writer.reopen_changed(source) == ()
    # The new times are kept: nothing is read again at the next build.
    before = (path / "commits/000000.json").read_text()
    assert stamp_of(source.files(plan.shots[0])) in before
    assert writer.reopen_changed(source) == ()
    assert CamCache.open(path).verify() == ()


def test_what_was_finished_stays_when_files_are_gone(writer, source, plan, path, caplog):
    source.files(plan.shots[1])[0].unlink()
    assert writer.reopen_changed(source) == writer.pending() == ()
    assert "1 finished shot(s) are kept, though files of theirs are gone" in caplog.text
    found = CamCache.open(path).source_changes(source, plan.shots)
    assert (found.changed, found.gone) == ((), (plan.shots[1],))


def test_a_shard_looks_at_its_own_shots(writer, source, plan):
    for shot in plan.shots[:2]:
        source.files(shot)[0].write_bytes(b"another picture")
    assert writer.reopen_changed(source, (1, 2)) == (plan.shots[1],)


def test_records_of_before_tell_no_files_and_are_counted(path, plan, build_all, source):
    build_all(path, plan)
    assert CamWriter.create(path, plan).reopen_changed(source) == ()
    found = CamCache.open(path).source_changes(source, plan.shots)
    assert (found.changed, found.unrecorded) == ((), plan.shots)


def test_stamp_and_content_tell_names_order_and_bytes_apart(tmp_path):
    for name, data in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        (tmp_path / name).write_bytes(data)
    a, b, c = (tmp_path / name for name in "abc")
    assert stamp_of([a]) != stamp_of([b]) and content_of([a]) == content_of([b]) != content_of([c])
    assert content_of([a, c]) != content_of([c, a])
    assert stamp_of([tmp_path / "gone"]) == content_of([tmp_path / "gone"]) == ""
