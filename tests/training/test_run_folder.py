import json

import pytest
import torch

from tcam_cache.config import train_config
from tcam_cache.config.train import FREE_ON_RESUME
from tcam_cache.errors import RunError, StorageError
from tcam_cache.training import RunFolder

CONFIG = {"lr": 0.01, "preset": "paper", "seed": 0, "epochs": 10, "resume": False, "workers": None}


@pytest.fixture
def run(tmp_path):
    return RunFolder.begin(tmp_path / "run", CONFIG, resume=False)


def test_a_run_starts_in_a_new_folder_or_an_empty_one(tmp_path):
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "a" / "new", tmp_path / "empty"):
        assert RunFolder.begin(path, CONFIG, resume=False).config() == CONFIG


def test_what_a_kill_left_half_written_is_no_content(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".config.json.x1y2.partial").write_bytes(b"{")
    assert RunFolder.begin(tmp_path / "run", CONFIG, resume=False).config() == CONFIG


def test_a_run_that_is_there_is_not_started_again(run):
    with pytest.raises(RunError, match=r"already holds a run\. Add --resume"):
        RunFolder.begin(run.path, CONFIG, resume=False)
    assert run.config() == CONFIG


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for resume in (False, True):
        with pytest.raises(RunError, match="holds something that is not a run"):
            RunFolder.begin(tmp_path, CONFIG, resume)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(RunError, match=r"run is a file\. Give a folder"):
        RunFolder.begin(tmp_path / "run", CONFIG, resume=False)
    with pytest.raises(StorageError, match="a file stands where a folder is needed"):
        RunFolder.begin(tmp_path / "run" / "below", CONFIG, resume=False)


def test_nothing_to_resume_is_an_error_and_makes_nothing(tmp_path):
    with pytest.raises(RunError, match=r"no run in \S+ to resume"):
        RunFolder.begin(tmp_path / "run", CONFIG, resume=True)
    assert not (tmp_path / "run").exists()


def test_resuming_with_other_settings_names_each_of_them(run):
    with pytest.raises(RunError, match="started with other settings") as caught:
        RunFolder.begin(run.path, {**CONFIG, "lr": 0.1, "preset": "authors", "new": 3}, resume=True)
    assert caught.value.offenders == ("lr: 0.1, not 0.01", "new: 3, not None", "preset: authors, not paper")
    assert run.config() == CONFIG


def test_how_long_it_lasts_and_where_it_runs_may_change_on_resume(run):
    changed = {**CONFIG, **dict.fromkeys(FREE_ON_RESUME, "something else")}
    RunFolder.begin(run.path, changed, resume=True)
    assert run.config() == changed


def test_every_setting_that_shapes_the_result_must_stay():
    settings = train_config(manifest="m", cache="c", out="o").to_json()
    bound = set(settings) - FREE_ON_RESUME
    assert set(settings) > FREE_ON_RESUME
    assert {"lr", "seed", "batch_size", "neighbours", "pixels", "preset", "image_size", "select"} <= bound


def test_opening_no_run_says_how_to_make_one(tmp_path):
    with pytest.raises(RunError, match=r"no run in \S+\. Make one with `tcam-cache train"):
        RunFolder.open(tmp_path)


def test_checkpoints_are_read_back_from_any_later_process(run):
    run.save("best", {"epoch": 3, "model": {"w": torch.arange(3.0)}, "scores": {"corloc": 51.5}})
    again = RunFolder.open(run.path)
    assert again.has("best")
    assert not again.has("last")
    state = again.load("best")
    assert (state["epoch"], state["scores"]) == (3, {"corloc": 51.5})
    assert torch.equal(state["model"]["w"], torch.arange(3.0))


def test_a_checkpoint_that_is_not_there_yet_says_so(run):
    with pytest.raises(RunError, match=r"has no best\.pt: no epoch was finished"):
        run.load("best")


def test_the_log_is_one_json_line_an_epoch(run):
    assert run.log() == []
    lines = [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}]
    run.write_log(lines)
    assert [json.loads(line) for line in (run.path / "log.jsonl").read_text().split("\n")[:-1]] == lines
    assert run.log() == lines


def test_damage_is_a_named_error(run):
    run.save("best", {"model": {"w": torch.zeros(500)}})
    run.write_log([{"epoch": 1}])
    whole = (run.path / "best.pt").read_bytes()
    for name, content, read in (
        ("best.pt", whole[: len(whole) // 2], lambda: run.load("best")),
        ("best.pt", b"", lambda: run.load("best")),
        ("log.jsonl", b'{"epoch": 1}\n{"epo', run.log),
        ("config.json", b'{"lr": 0.0', run.config),
        ("config.json", b"\xff\xfe", run.config),
    ):
        (run.path / name).write_bytes(content)
        with pytest.raises(RunError, match=rf"{name} is damaged\. Restore it, or train anew"):
            read()


def test_a_folder_that_does_not_write_reads_what_another_wrote(tmp_path):
    first = RunFolder.begin(tmp_path / "run", {}, resume=False)
    first.save("last", {"epoch": 1})
    before = {path: path.read_bytes() for path in first.path.iterdir()}
    second = RunFolder(first.path, writes=False)
    second.save("last", {"epoch": 2})
    second.write("curves.png", b"x")
    second.write_log([{"epoch": 1}])
    assert second.load("last") == {"epoch": 1}
    assert {path: path.read_bytes() for path in first.path.iterdir()} == before


def test_a_checkpoint_in_place_of_its_run_is_answered_with_the_folder(tmp_path):
    (tmp_path / "best.pt").write_bytes(b"")
    with pytest.raises(RunError, match=rf"best\.pt is a file; expected the folder .*Give {tmp_path}\."):
        RunFolder.open(tmp_path / "best.pt")
