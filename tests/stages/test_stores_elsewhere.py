"""Tests of every command that takes a cache, with one that lies in memory:// as it would on S3."""

import json

import pytest

from tcam_cache.cache import CamCache
from tcam_cache.config import InspectConfig, VerifyConfig, train_config
from tcam_cache.stages.train import train_decoder

memory = pytest.importorskip("fsspec.implementations.memory")
URL = "memory://videos/cams"


@pytest.fixture(autouse=True)
def _apart(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    yield
    memory.MemoryFileSystem.store.clear()
    memory.MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.fixture
def elsewhere(build, tcam):
    """Return the arguments that build the small cache in memory."""
    return [*build[:-1], URL]


@pytest.fixture
def built(elsewhere, tcam):
    """The URL of the complete cache."""
    assert tcam(*elsewhere).exit_code == 0
    return URL


def test_build_writes_there_and_goes_on_there(elsewhere, tcam, build_config, same_arrays, tmp_path):
    first = json.loads(tcam(*elsewhere, "--shard", "0/2", "--json", "--quiet").stdout)
    second = json.loads(tcam(*elsewhere, "--json", "--quiet").stdout)
    assert (first["cache"], first["built_frames"] + second["built_frames"]) == (URL, second["frames"])
    assert json.loads(tcam(*elsewhere, "--json").stdout)["built_frames"] == 0
    assert tcam(*elsewhere[:-1], tmp_path / "folder").exit_code == 0
    same_arrays(URL, tmp_path / "folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "folder"]


def test_other_settings_are_refused_by_the_url(built, elsewhere, fails):
    refused = fails(*elsewhere, "--image-size", 96)
    assert f"{URL} holds a cache made with other settings" in refused and "input.size: 96, not 64" in refused


def test_inspect_and_verify_read_there(built, tcam, tmp_path):
    assert f"CAM cache {URL}" in tcam("inspect", URL).stdout
    shown = tcam("inspect", URL, "dog/0001", "--png", tmp_path / "shot.png")
    assert shown.exit_code == 0 and (tmp_path / "shot.png").stat().st_size > 1000
    assert tcam("verify", URL).stdout == f"{URL}: 11 shots, each as it was written\n"


def test_verify_names_what_is_damaged_there(built, fails):
    memory.MemoryFileSystem().rm_file("/videos/cams/cams.zarr/cam/c.0.0.0")
    said = fails("verify", URL)
    assert f"{URL} is damaged in 1 place(s)" in said
    assert "bird/0001/001: a chunk is missing" in said


def test_train_packs_on_this_machine_says_where_and_finds_that_pack_again(
    built, tcam, train, small_manifest, tmp_path
):
    trained = tcam(*train, "--cache", URL)
    assert trained.exit_code == 0, trained.stderr
    (pack,) = (tmp_path / "user").rglob("*.npy")
    assert f"the packed CAMs of {URL} are in {pack}" in trained.stderr
    made = pack.stat().st_mtime_ns
    again = tcam(*train, "--cache", URL, "--out", tmp_path / "again", "--json")
    assert again.exit_code == 0 and pack.stat().st_mtime_ns == made
    assert json.loads((tmp_path / "run/config.json").read_text())["cache"] == URL
    for subject in (["--cache", URL], ["--run", tmp_path / "run"]):
        report = tmp_path / f"report{subject[0]}"
        scored = tcam("evaluate", small_manifest, *subject, "--out", report, "--workers", 0, "--overlays", 1)
        assert scored.exit_code == 0, scored.stderr


def test_a_run_is_scored_without_its_cache_when_that_does_not_answer(
    built, tcam, fails, train, small_manifest, tmp_path, monkeypatch
):
    def lost(self, path, *args, **kwargs):
        raise ConnectionError("connection reset")

    assert tcam(*train, "--cache", URL).exit_code == 0
    monkeypatch.setattr(memory.MemoryFileSystem, "cat_file", lost)
    score = ["evaluate", small_manifest, "--workers", 0, "--overlays", 1]
    assert tcam(*score, "--run", tmp_path / "run", "--out", tmp_path / "report").exit_code == 0
    said = fails(*score, "--cache", URL, "--out", tmp_path / "other")
    assert f"cannot read {URL}/cache.json: connection reset" in said


def test_nothing_there_and_a_protocol_that_is_none_are_named(fails, train, small_manifest, tmp_path):
    commands = {
        "inspect": ["inspect"],
        "verify": ["verify"],
        "train": [*train, "--cache"],
        "evaluate": ["evaluate", small_manifest, "--out", tmp_path / "report", "--cache"],
    }
    for command in commands.values():
        assert f"there is no folder {URL}. Make a cache" in fails(*command, URL)
        assert "cannot open ftpp://x: Protocol not known" in fails(*command, "ftpp://x")


def test_a_build_whose_store_refuses_says_so_and_keeps_what_is_finished(elsewhere, fails, tcam, monkeypatch):
    real, left = memory.MemoryFileSystem.pipe_file, [40]

    def put(self, path, value, **kwargs):
        left[0] -= 1
        if left[0] < 0:
            raise PermissionError("Access Denied")
        real(self, path, value, **kwargs)

    monkeypatch.setattr(memory.MemoryFileSystem, "pipe_file", put)
    said = fails(*elsewhere)
    assert "cannot write memory:" in said and "no permission (Access Denied)" in said
    cache = CamCache.open(URL)
    finished = [shot.id for shot in cache.shots() if shot.complete]
    assert 0 < len(finished) < 11 and cache.verify() == ()
    left[0] = 1000
    assert tcam(*elsewhere).exit_code == 0
    assert CamCache.open(URL).missing() == () == CamCache.open(URL).verify()


def test_configs_take_the_url_in_python_too(built, small_manifest, tmp_path, quick):
    from tcam_cache.stages.inspect import inspect_cache
    from tcam_cache.stages.verify import verify_cache

    assert inspect_cache(InspectConfig(cache=URL)).values["path"] == URL
    assert verify_cache(VerifyConfig(cache=URL)).cache == URL
    places = {"manifest": small_manifest, "cache": URL, "out": tmp_path / "run"}
    settings = {"epochs": 1, "batch_size": 4, "decoder_width": 0.125, "landmarks": 16}
    assert train_decoder(train_config(**places, **settings, **quick)).epochs == 1
