"""Tests of stage 2 shared by two processes: the results of one, written once."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
from torch import nn

from tcam_cache.errors import FrameError, RunError
from tcam_cache.inference import Localizer
from tcam_cache.inference.scoring import Validation
from tcam_cache.stages.train import train_decoder
from tcam_cache.training import DecoderTask, RunFolder, ValidationLoss


@pytest.fixture
def frozen_norms(monkeypatch):
    """Let batch norms stand still, whose statistics are those of a process's own frames."""
    start = DecoderTask.start_epoch

    def start_epoch(task, epoch):
        said = start(task, epoch)
        for module in task.decoder.modules():
            module.train(module.training and not isinstance(module, nn.BatchNorm2d))
        return said

    monkeypatch.setattr(DecoderTask, "start_epoch", start_epoch)


def log_of(run):
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def assert_close_runs(ours, theirs):
    for name in ("last", "best"):
        states = [torch.load(run / f"{name}.pt")["model"] for run in (ours, theirs)]
        torch.testing.assert_close(*states, rtol=1e-4, atol=1e-6)
    assert len(log_of(ours)) == len(log_of(theirs))
    for mine, other in zip(log_of(ours), log_of(theirs), strict=True):
        assert mine["losses"] == pytest.approx(other["losses"], rel=1e-4)
        assert mine["tau"] == pytest.approx(other["tau"], abs=0.01)
        for name in ("epoch", "lr", "barrier_t", "flat_frames", "corloc"):
            assert mine[name] == other[name], name


# Of clips, one may be of a single frame: shots have 6, 1, 5, 2 and 4.
RECIPE = {"preset": "recommended", "validate_every": 1}
CLIPS = {**RECIPE, "frames_together": 2, "frames_per_shot": 4, "colour_crf_weight": 2e-9}
ADAPTIVE = {**CLIPS, "preset": "colocam", "colour_crf_weight": 1.0}


# Of five shots: 4 + 1 frames, with none for the second process in the second step, or 3 + 2.
@pytest.mark.parametrize(
    ("given", "batch_size"),
    [(RECIPE, 4), ({"preset": "paper"}, 3), (CLIPS, 4), (ADAPTIVE, 3)],
)
def test_two_processes_with_half_the_batch_each_learn_what_one_learns(
    decoder_config, tmp_path, two_ranks, frozen_norms, given, batch_size
):
    batch_size *= given.get("frames_together", 1)
    alone, both = (
        decoder_config(out=tmp_path / name, batch_size=batch_size, epochs=2, **given)
        for name in ("alone", "both")
    )
    train_decoder(alone)
    first, second = two_ranks(lambda: train_decoder(both))
    assert (first.epochs, first.threshold) == (second.epochs, second.threshold)
    assert first.best["epoch"] == second.best["epoch"]
    assert_close_runs(both.out, alone.out)
    assert {path.name for path in both.out.iterdir()} == {path.name for path in alone.out.iterdir()}
    assert (both.out / "config.json").read_text() == (alone.out / "config.json").read_text().replace(
        str(alone.out), str(both.out)
    )


@pytest.mark.parametrize(("score", "near"), [("val_loss", {"rel": 1e-4}), ("corloc", {"abs": 1e-9})])
def test_two_processes_choose_by_the_loss_or_by_boxes_of_cams_on_the_whole_split_as_one_does(
    decoder_config, without_boxes, tmp_path, two_ranks, frozen_norms, score, near
):
    given = {"select": "loss"} if score == "val_loss" else {"manifest": without_boxes}
    alone, both = (decoder_config(out=tmp_path / name, batch_size=1, **given) for name in ("alone", "both"))
    train_decoder(alone)
    reports = two_ranks(lambda: train_decoder(both))
    (expected,) = log_of(alone.out)
    for report in reports:
        assert report.best[score] == pytest.approx(expected[score], **near)
        assert report.threshold is None and {"val_loss", "corloc"} & set(report.best) == {score}


def interrupted_in_the_first_validation(monkeypatch, kind, rank, error):
    """Raise an error when a process, or each (None), is to validate."""

    def validate(validation):
        if rank in (None, validation.ranks.rank):
            raise error
        return call(validation)

    call = kind.__call__
    monkeypatch.setattr(kind, "__call__", validate)


@pytest.mark.parametrize("kind", [Validation, ValidationLoss])
def test_two_processes_score_and_choose_as_one_does_the_weights_that_the_first_saves(
    decoder_config, tmp_path, two_ranks, monkeypatch, kind
):
    given = {"select": "val" if kind is Validation else "loss", "batch_size": 2, "frames_per_shot": 2}
    both, halved = (decoder_config(out=tmp_path / name, **given) for name in ("both", "halved"))
    two_ranks(lambda: train_decoder(both))
    with monkeypatch.context() as patch:
        interrupted_in_the_first_validation(patch, kind, None, KeyboardInterrupt())
        assert all(isinstance(end, KeyboardInterrupt) for end in two_ranks(lambda: train_decoder(halved)))
    train_decoder(replace(halved, resume=True))  # takes no step: validates alone, and chooses the threshold
    (ours,), (theirs,) = (log_of(run.out) for run in (both, halved))
    assert {"corloc", "tau"} <= ours.keys() if kind is Validation else "val_loss" in ours
    for name in ours.keys() - {"losses", "seconds_data", "seconds_compute"}:
        assert ours[name] == pytest.approx(theirs[name], rel=1e-6 if name == "val_loss" else 0), name
    states = [torch.load(run.out / "best.pt")["model"] for run in (both, halved)]
    assert all(map(torch.equal, *(state.values() for state in states)))
    chosen = [path.read_text() for run in (both, halved) for path in run.out.glob("threshold.json")]
    assert len(set(chosen)) == (kind is Validation) and len(chosen) != 1


def test_each_process_makes_the_maps_of_half_the_batches(decoder_config, two_ranks, monkeypatch):
    made = []
    make = Localizer.maps

    def spy(localizer, frames, source, **sizes):
        made.append([f"{shot.id} {t}" for shot, t in frames])
        return make(localizer, frames, source, **sizes)

    monkeypatch.setattr(Localizer, "maps", spy)

    def call():
        train_decoder(decoder_config(batch_size=2))
        return made

    # Six frames in batches of two; once for the epoch's score, once for the final threshold.
    bird, car = ([f"{video} {t}" for t in range(3)] for video in ("bird/0002", "car/0002"))
    assert two_ranks(call) == [2 * [[*bird[:2], *car[1:]]], 2 * [[bird[2], car[0]]]]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), FrameError("1 frame cannot be read. Replace it.")])
def test_a_process_that_ends_in_validation_ends_the_other_which_keeps_the_epochs_steps(
    decoder_config, two_ranks, monkeypatch, error
):
    interrupted_in_the_first_validation(monkeypatch, Validation, 1, error)
    config = decoder_config(batch_size=2)
    first, second = two_ranks(lambda: train_decoder(config))
    assert isinstance(first, RunError) and "its own message says why" in str(first)
    assert isinstance(second, type(error))
    state = torch.load(config.out / "last.pt")
    assert (state["epoch"], state["sums"]["step"]) == (0, 3)
    assert not (config.out / "best.pt").exists()


def test_the_final_threshold_needs_the_runs_folder_in_the_first_process_only(
    decoder_config, two_ranks, monkeypatch
):
    load = RunFolder.load

    def load_here(run, name):
        if not run.writes:
            raise RunError("the folder is on another machine. Ask there.")
        return load(run, name)

    monkeypatch.setattr(RunFolder, "load", load_here)
    first, second = two_ranks(lambda: train_decoder(decoder_config()))
    written = json.loads((decoder_config().out / "threshold.json").read_text())
    assert first.threshold == second.threshold == written["value"]


def test_only_the_first_process_writes_every_file_once(
    decoder_config, tmp_path, two_ranks, frozen_norms, monkeypatch
):
    written = []
    write = RunFolder.write

    def spy(run, name, content):
        if run.writes:
            written.append(name)
        write(run, name, content)

    monkeypatch.setattr(RunFolder, "write", spy)

    def call():
        train_decoder(decoder_config(epochs=2))
        return sorted(written)

    ones = ["classifier.pt", "curves.png", "last.pt", "last.pt", "log.jsonl", "log.jsonl"]
    first, second = two_ranks(call)
    assert [name for name in first if name != "best.pt"] == ones
    assert second == []


@pytest.mark.usefixtures("hear_ctrl_c")
@pytest.mark.parametrize("first_with", ["one", "two"])
def test_a_run_goes_on_with_another_number_of_processes_from_within_an_epoch(
    decoder_config, tmp_path, two_ranks, frozen_norms, monkeypatch, first_with
):
    whole = decoder_config(out=tmp_path / "whole", batch_size=2, epochs=2)
    train_decoder(whole)
    begun = decoder_config(batch_size=2, epochs=2)
    losses = DecoderTask.losses

    def interrupted(task, batch, generator, done):
        if task.t > 1 and len(task.seen) == 4 and task.ranks.rank == task.ranks.size - 1:
            os.kill(os.getpid(), signal.SIGINT)  # to one of them, in the second step of the second epoch
        task.seen.append(1)
        return losses(task, batch, generator, done)

    monkeypatch.setattr(DecoderTask, "seen", [], raising=False)
    with monkeypatch.context() as patch:
        patch.setattr(DecoderTask, "losses", interrupted)
        if first_with == "one":
            with pytest.raises(KeyboardInterrupt):
                train_decoder(begun)
        else:
            assert all(isinstance(end, KeyboardInterrupt) for end in two_ranks(lambda: train_decoder(begun)))
    state = torch.load(begun.out / "last.pt")
    assert (state["epoch"], state["sums"]["step"]) == (1, 2)
    going_on = decoder_config(batch_size=2, epochs=2, resume=True)
    if first_with == "one":
        two_ranks(lambda: train_decoder(going_on))
    else:
        train_decoder(going_on)
    assert_close_runs(going_on.out, whole.out)


def test_an_error_of_the_second_process_ends_both_and_keeps_what_is_finished(
    decoder_config, two_ranks, monkeypatch
):
    losses = DecoderTask.losses

    def failing(task, batch, generator, done):
        if task.t > 1 and task.ranks.rank == 1:
            raise FrameError("1 frame cannot be read. Replace it.", ["x.jpg"])
        return losses(task, batch, generator, done)

    monkeypatch.setattr(DecoderTask, "losses", failing)
    config = decoder_config(epochs=2)
    first, second = two_ranks(lambda: train_decoder(config))
    assert isinstance(first, RunError) and "its own message says why" in str(first)
    assert isinstance(second, FrameError)
    assert torch.load(config.out / "last.pt")["epoch"] == 1


def test_a_loss_that_one_process_finds_not_finite_is_named_by_both(decoder_config, two_ranks, monkeypatch):
    losses = DecoderTask.losses

    def broken(task, batch, generator, done):
        terms = losses(task, batch, generator, done)
        return {name: term / (1 - task.ranks.rank) for name, term in terms.items()}

    monkeypatch.setattr(DecoderTask, "losses", broken)
    for error in two_ranks(lambda: train_decoder(decoder_config())):
        assert isinstance(error, RunError)
        assert "not finite in epoch 1" in str(error) and "first in step 1" in str(error)


def test_a_folder_that_holds_a_run_is_refused_by_the_first_and_ends_the_other(
    decoder_config, two_ranks, small_run
):
    first, second = two_ranks(lambda: train_decoder(decoder_config(out=small_run)))
    assert isinstance(first, RunError) and "already holds a run" in str(first)
    assert isinstance(second, RunError) and "its own message says why" in str(second)


def torchrun(*args):
    """Start `torchrun --nproc-per-node=2 --no-python tcam-cache ARGS`."""
    program = [sys.executable, "-W", "error", "-c", "from tcam_cache_cli.main import main; main()"]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*launcher, "--no-python", *program, *map(str, args)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip


@pytest.fixture
def small_training(small_manifest, small_cache, tmp_path):
    """Return the arguments that train a narrow decoder for two epochs."""
    given = ["--image-size", 64, "--workers", 0, "--landmarks", 16, "--decoder-width", 0.125]
    return ["train", small_manifest, "--cache", small_cache, "--out", tmp_path / "run", *given]


def test_two_processes_are_one_command_that_reports_once(small_training, two_ranks, tcam, tmp_path):
    first, second = two_ranks(lambda: attributes(tcam(*small_training, "--epochs", 2, "--json")))
    assert json.loads(first["stdout"])["epochs"] == 2 and first["stderr"].count("epoch 1: loss") == 1
    assert second == {"exit_code": 0, "stdout": "", "stderr": ""}
    assert [line["epoch"] for line in log_of(tmp_path / "run")] == [1, 2]


def attributes(result):
    return {name: getattr(result, name) for name in ("exit_code", "stdout", "stderr")}


def test_ctrl_c_at_torchrun_saves_once_and_says_how_to_go_on(small_training, tmp_path):
    process = torchrun(*small_training, "--epochs", 100000, "--validate-every", 100000)
    until = time.monotonic() + 90
    while not (tmp_path / "run" / "last.pt").exists() and time.monotonic() < until:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert told.count("Interrupted. Everything finished so far is kept") == 1
    assert torch.load(tmp_path / "run" / "last.pt")["epoch"] == len(log_of(tmp_path / "run"))


def test_search_and_classifier_refuse_two_processes(tcam, monkeypatch, small_manifest, small_cache, tmp_path):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "test")
    for name, value in {"RANK": 0, "WORLD_SIZE": 2, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 2}.items():
        monkeypatch.setenv(name, str(value))
    for args in (["search", small_manifest, "--cache", small_cache], ["classifier", small_manifest]):
        result = tcam(*args, "--out", tmp_path / "out")
        assert result.exit_code == 1 and f"but {args[0]} is for one" in result.stderr
    assert not (tmp_path / "out").exists()
