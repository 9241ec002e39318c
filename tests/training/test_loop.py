import itertools
import json
import os
import signal
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from tcam_cache.config import FitConfig
from tcam_cache.errors import FrameError, RunError
from tcam_cache.training import Ranks, RunFolder, fit, joined_ranks
from tcam_cache.training import loop as fitting
from tcam_cache.training.loop import learning_rate, step_generator

TARGET = torch.tensor([1.0, -2.0, 3.0])
KEEP = {"best": "score"}


@pytest.fixture(autouse=True)
def _without_a_picture(monkeypatch):
    monkeypatch.setattr(fitting, "draw_curves", lambda log: b"%d" % len(log))


class Toy:
    """Minimise |w - target|^2 / 2, with noise of the step's generator."""

    def __init__(self, noise=0.0, at=None, action=None):
        self.module = nn.ParameterDict(
            {"w": nn.Parameter(torch.zeros(3)), "fast": nn.Parameter(torch.zeros(1))}
        )
        self.noise, self.at, self.action = noise, at, action
        self.epoch = self.step = 0
        self.counts = {"flat_frames": torch.zeros((), dtype=torch.int64)}

    def model(self):
        return self.module

    def parameter_groups(self):
        return [
            {"params": [self.module["w"]], "scale": 1.0},
            {"params": [self.module["fast"]], "scale": 10.0},
        ]

    def start_epoch(self, epoch):
        self.epoch, self.step = epoch, 0
        self.counts["flat_frames"].zero_()
        return {"barrier_t": 1.0 + epoch}

    def losses(self, batch, generator, done):
        if self.at == (self.epoch, self.step):
            self.action()
        self.step += 1
        self.counts["flat_frames"] += 1
        noise = self.noise * torch.randn(3, generator=generator)
        w = self.module["w"]
        return {"data": ((w - batch + noise) ** 2).sum() / 2, "fast": 0.01 * self.module["fast"].sum()}


class Targets:
    """Give the same target in every step."""

    def __init__(self, steps=4):
        self.steps, self.asked = steps, []

    def epoch(self, epoch, first_step=0):
        self.asked.append((epoch, first_step))
        return iter([TARGET] * (self.steps - first_step))

    def __len__(self):
        return self.steps


def config(**given):
    return FitConfig(**{"manifest": "m", "lr": 0.1, "weight_decay": 0.0, "epochs": 5, **given})


def begin(path, settings):
    return RunFolder.begin(path, settings.to_json(), settings.resume)


def scores(*values):
    return (lambda steps: lambda: {"score": next(steps)})(iter(values))


def fitted(path, task=None, validate=None, keep=KEEP, **given):
    settings = config(**given)
    return fit(task or Toy(), Targets(), settings, begin(path, settings), validate, keep)


@pytest.mark.parametrize(("optimiser", "lr"), [("sgd", 0.1), ("adamw", 0.05)])
def test_it_finds_the_optimum(tmp_path, optimiser, lr):
    task = Toy()
    settings = config(epochs=8, optimiser=optimiser, lr=lr)
    fit(task, Targets(steps=40), settings, begin(tmp_path / "run", settings), None, KEEP)
    torch.testing.assert_close(task.module["w"].detach(), TARGET, atol=1e-3, rtol=0)


class SlowTargets(Targets):
    """Give targets late, by a clock that is set by hand."""

    def __init__(self, clock):
        super().__init__(steps=1)
        self.clock = clock

    def epoch(self, epoch, first_step=0):
        for target in super().epoch(epoch, first_step):
            self.clock.now += 3.0
            yield target


def test_after_an_epoch_it_says_how_much_of_the_time_went_into_waiting_for_data(
    tmp_path, monkeypatch, caplog
):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(fitting.time, "perf_counter", lambda: clock.now)

    def work():
        clock.now += 1.0

    settings = config(epochs=1)
    with caplog.at_level("INFO"):
        task = Toy(at=(0, 0), action=work)
        fit(task, SlowTargets(clock), settings, begin(tmp_path / "run", settings), None, KEEP)
    assert "75.0% of the time waiting for data" in caplog.text


def test_weight_decay_pulls_the_optimum_towards_zero(tmp_path):
    task = Toy()
    settings = config(epochs=6, weight_decay=0.25)
    fit(task, Targets(steps=40), settings, begin(tmp_path / "run", settings), None, KEEP)
    torch.testing.assert_close(task.module["w"].detach(), TARGET / 1.25, atol=1e-4, rtol=0)


def test_the_learning_rate_falls_in_steps_and_never_below_its_floor():
    settings = config(lr=1.0, lr_decay=0.5, lr_step=2, lr_floor=0.2)
    assert [learning_rate(settings, epoch) for epoch in range(8)] == [1, 1, 0.5, 0.5, 0.25, 0.25, 0.2, 0.2]


def test_the_published_schedule_loses_a_tenth_every_15_epochs():
    settings = FitConfig(manifest="m", lr=0.01)
    assert [learning_rate(settings, epoch) for epoch in (0, 14, 15, 29, 30)] == pytest.approx(
        [0.01, 0.01, 0.009, 0.009, 0.0081]
    )


def test_each_group_steps_by_its_own_factor_of_the_epochs_rate(tmp_path):
    task = Toy()
    report = fitted(
        tmp_path / "run", task, epochs=4, lr=1e-3, momentum=0.0, lr_decay=0.5, lr_step=1, lr_floor=2e-4
    )
    assert [line["lr"] for line in report.log] == [1e-3, 5e-4, 2.5e-4, 2e-4]
    # The slope is 0.01 everywhere, so that 4 steps an epoch walk 4 x 0.01 x 10 x the sum of the rates.
    assert task.module["fast"].item() == pytest.approx(-4 * 0.01 * 10 * 1.95e-3, rel=1e-4)


def test_steps_draw_from_generators_of_their_own():
    draws = {
        (seed, epoch, step): torch.randn(2, generator=step_generator(seed, epoch, step)).tolist()
        for seed, epoch, step in itertools.product(range(3), repeat=3)
    }
    assert len({tuple(values) for values in draws.values()}) == 27
    assert torch.randn(2, generator=step_generator(1, 2, 0)).tolist() == draws[1, 2, 0]


def test_the_log_has_one_line_an_epoch_with_every_term(tmp_path):
    report = fitted(tmp_path / "run", validate=scores(*range(5)))
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert lines == list(report.log)
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4, 5]
    for line in lines:
        assert line.keys() >= {"lr", "barrier_t", "score", "seconds_data", "seconds_compute"}
        assert line["losses"].keys() == {"data", "fast"}
        assert line["loss"] == pytest.approx(sum(line["losses"].values()))
        assert line["flat_frames"] == 4
    assert lines[0]["losses"]["data"] > lines[-1]["losses"]["data"]
    assert report.epochs == 5


def test_a_term_in_the_log_is_the_mean_of_its_steps(tmp_path):
    report = fitted(tmp_path / "run", epochs=1, lr=0.0)
    assert report.log[0]["losses"]["data"] == pytest.approx(7.0)  # (1 + 4 + 9) / 2 in every step


def kept(path, name="best"):
    return RunFolder.open(path).load(name)


@pytest.mark.parametrize(
    ("values", "best"),
    [((1, 5, 3, 4, 2), 2), ((3, 1, 3, 3, 2), 1), ((1, 2, 3, 4, 5), 5), ((-9, -8, -9, -9, -9), 2)],
)
def test_the_best_epoch_on_val_is_kept_the_first_of_equals(tmp_path, values, best):
    report = fitted(tmp_path / "run", validate=scores(*values))
    short = Toy()
    fitted(tmp_path / "short", short, epochs=best)
    state = kept(tmp_path / "run")
    assert state["epoch"] == report.best["best"]["epoch"] == best
    assert state["scores"]["score"] == report.best["best"]["score"] == values[best - 1]
    assert torch.equal(state["model"]["w"], short.module["w"])


@pytest.mark.parametrize(("validate", "select"), [(scores(9, 1, 1, 1, 1), "last"), (None, "val")])
def test_the_last_epoch_is_kept_when_asked_for_or_without_validation(tmp_path, validate, select):
    task = Toy()
    report = fitted(tmp_path / "run", task, validate=validate, select=select)
    assert report.best["best"]["epoch"] == kept(tmp_path / "run")["epoch"] == 5
    assert torch.equal(kept(tmp_path / "run")["model"]["w"], task.module["w"])


def test_each_checkpoint_is_chosen_by_its_own_score(tmp_path):
    steps = iter([(1, 9), (2, 8), (0, 7)])
    report = fitted(
        tmp_path / "run", validate=lambda: dict(zip(("cl", "loc"), next(steps), strict=True)), epochs=3,
        keep={"best_classification": "cl", "best_localization": "loc"},
    )  # fmt: skip
    assert {name: best["epoch"] for name, best in report.best.items()} == {
        "best_classification": 2, "best_localization": 1,
    }  # fmt: skip
    assert kept(tmp_path / "run", "best_classification")["epoch"] == 2
    assert kept(tmp_path / "run", "best_localization")["epoch"] == 1


def test_validation_comes_every_few_epochs_and_after_the_last(tmp_path):
    report = fitted(tmp_path / "run", validate=scores(5, 6, 7), validate_every=2)
    assert [line["epoch"] for line in report.log if "score" in line] == [2, 4, 5]


class Poisoned(Toy):
    """Some terms are not finite in one epoch."""

    def losses(self, batch, generator, done):
        terms = super().losses(batch, generator, done)
        if self.epoch == 2 and self.step == 2:
            terms |= {"crf": torch.tensor(float("nan"), requires_grad=True),
                      "size": torch.tensor(float("inf"), requires_grad=True)}  # fmt: skip
        return terms


def test_a_loss_that_is_not_finite_names_its_terms_and_keeps_what_was_good(tmp_path):
    with pytest.raises(RunError, match=r"not finite in epoch 3\. .*lower --lr") as caught:
        fitted(tmp_path / "run", Poisoned(), validate=scores(1, 2, 3, 4, 5))
    assert caught.value.offenders == ("crf: nan, first in step 2", "size: inf, first in step 2")
    good = Toy()
    fitted(tmp_path / "good", good, epochs=2)
    run = RunFolder.open(tmp_path / "run")
    assert (run.load("last")["epoch"], run.load("best")["epoch"], len(run.log())) == (2, 2, 2)
    assert torch.equal(run.load("last")["model"]["w"], good.module["w"])


class Diverging(Toy):
    """One term breaks the weights, and so every term of the steps after it."""

    def losses(self, batch, generator, done):
        terms = super().losses(batch, generator, done)
        if (self.epoch, self.step) == (1, 2):
            terms["crf"] = self.module["w"].sum() * float("inf") * 0
        return {name: term + 0 * self.module["w"].sum() for name, term in terms.items()}


def test_only_the_terms_that_broke_first_are_named(tmp_path):
    with pytest.raises(RunError, match="the loss is not finite in epoch 2") as caught:
        fitted(tmp_path / "run", Diverging())
    assert caught.value.offenders == ("crf: nan, first in step 2",)
    assert kept(tmp_path / "run", "last")["epoch"] == 1


def test_weights_that_the_last_step_broke_are_named_before_they_are_kept(tmp_path):
    task = Toy(at=(2, 3))
    task.action = lambda: task.module["fast"].register_hook(lambda slope: slope * float("nan"))
    with pytest.raises(RunError, match="the model is not finite in epoch 3") as caught:
        fitted(tmp_path / "run", task, validate=scores(1, 2, 3, 4, 5))
    assert caught.value.offenders == ("fast",)
    assert kept(tmp_path / "run", "last")["epoch"] == kept(tmp_path / "run")["epoch"] == 2


def test_a_broken_loss_is_not_kept_within_an_epoch_either(tmp_path):
    with pytest.raises(RunError, match=r"not finite in epoch 3"):
        fitted(tmp_path / "run", Poisoned(), save_minutes=0.0)
    state = kept(tmp_path / "run", "last")
    assert (state["epoch"], state["sums"]["step"]) == (2, 1)
    assert all(value.isfinite().all() for value in state["model"].values())


def test_of_losses_on_val_the_lowest_is_kept_the_first_of_equals(tmp_path):
    losses = iter([3.0, -1.0, 2.0, -1.0, 0.0])
    report = fitted(tmp_path / "run", validate=lambda: {"val_loss": next(losses)}, keep={"best": "val_loss"})
    assert report.best["best"]["epoch"] == kept(tmp_path / "run")["epoch"] == 2


def interrupt():
    raise KeyboardInterrupt


def same(ours, theirs):
    """Compare nested states bit by bit."""
    if isinstance(ours, torch.Tensor):
        return ours.dtype == theirs.dtype and torch.equal(ours, theirs)
    if isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(same(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, list | tuple):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return ours == theirs


def without_seconds(value):
    if isinstance(value, dict):
        return {key: without_seconds(one) for key, one in value.items() if not str(key).startswith("seconds")}
    return value


def assert_same_runs(ours, theirs):
    ours, theirs = RunFolder.open(ours), RunFolder.open(theirs)
    for name in ("last", "best"):
        assert same(without_seconds(ours.load(name)), without_seconds(theirs.load(name))), name
    assert [without_seconds(line) for line in ours.log()] == [without_seconds(line) for line in theirs.log()]


def score_of(task):
    """Return a validation whose score depends on the weights, and has its maximum in between."""
    return lambda: {"score": -abs(float(task.module["w"][2].detach()) - 2.9)}


SCHEDULE = {"lr": 0.02, "lr_step": 2, "weight_decay": 0.01, "epochs": 6}


def noisy(path, at=None, action=None, resume=False, **given):
    task = Toy(0.3, at, action)
    return fitted(path, task, score_of(task), resume=resume, **{**SCHEDULE, **given})


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
@pytest.mark.parametrize("at", [(0, 2), (2, 0), (3, 1), (5, 3)])
def test_interrupted_in_an_epoch_and_resumed_it_ends_as_if_it_had_not_been(tmp_path, at, optimiser):
    whole = noisy(tmp_path / "whole", optimiser=optimiser)
    with pytest.raises(KeyboardInterrupt):
        noisy(tmp_path / "run", at, interrupt, optimiser=optimiser)
    resumed = noisy(tmp_path / "run", resume=True, optimiser=optimiser)
    assert_same_runs(tmp_path / "run", tmp_path / "whole")
    assert resumed.epochs == whole.epochs == 6
    assert without_seconds(dict(resumed.best["best"])) == without_seconds(dict(whole.best["best"]))


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def killed_before(method, call):
    """Return a `RunFolder` method that kills its process instead of its k-th call."""
    real, calls = getattr(RunFolder, method), itertools.count()

    def method_or_death(self, *args):
        if next(calls) == call:
            kill()
        return real(self, *args)

    return method_or_death


def in_a_fork(work):
    """Run a function in a forked process and return its exit status."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_kill_9_in_an_epoch_and_resume_ends_as_if_nothing_had_happened(tmp_path):
    noisy(tmp_path / "whole")
    for at in ((0, 0), (1, 3), (4, 2)):
        run = tmp_path / f"run{at}"
        assert in_a_fork(lambda run=run, at=at: noisy(run, at, kill)) == -signal.SIGKILL
        noisy(run, resume=True)
        assert_same_runs(run, tmp_path / "whole")


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_saved_after_every_step_a_killed_run_goes_on_from_the_very_step(tmp_path, optimiser):
    noisy(tmp_path / "whole", optimiser=optimiser)
    for at in ((0, 1), (1, 0), (2, 3), (5, 2)):
        run = tmp_path / f"run{at}"
        assert (
            in_a_fork(lambda run=run, at=at: noisy(run, at, kill, save_minutes=0.0, optimiser=optimiser))
            == -9
        )
        settings, batches, task = config(resume=True, optimiser=optimiser, **SCHEDULE), Targets(), Toy(0.3)
        fit(task, batches, settings, begin(run, settings), score_of(task), KEEP)
        assert batches.asked[0] == at
        assert_same_runs(run, tmp_path / "whole")


@pytest.mark.parametrize("every", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("ends", [(2, 4), (3, 4, 6), (1, 2, 5), (4, 5, 6), (5, 6)])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_run_that_goes_on_keeps_the_epoch_that_a_straight_one_keeps(tmp_path, every, ends, sign):
    def run(path, epochs, resume=False):
        task, keep = Toy(0.3), {"best": "score", "low": "val_loss"}
        # Rising or falling: each epoch is better by one of the two.
        validate = lambda: {"score": sign * task.epoch, "val_loss": sign * task.epoch}  # noqa: E731
        return fitted(
            path, task, validate, keep, **{**SCHEDULE, "epochs": epochs}, validate_every=every, resume=resume
        )

    straight = run(tmp_path / "straight", ends[-1])
    for number, epochs in enumerate(ends):
        resumed = run(tmp_path / "run", epochs, resume=number > 0)
    assert {name: one["epoch"] for name, one in resumed.best.items()} == {
        name: one["epoch"] for name, one in straight.best.items()
    }
    for name in ("last", "best", "low"):
        assert same(*(without_seconds(kept(tmp_path / where, name)) for where in ("run", "straight"))), name


def test_killed_between_an_extra_checkpoint_and_the_end_of_its_epoch_it_goes_on_longer_as_a_straight_run(
    tmp_path, monkeypatch
):
    def run(path, epochs, resume=False):
        task = Toy(0.3)
        settings = {**SCHEDULE, "epochs": epochs, "validate_every": 3, "resume": resume}
        return fitted(path, task, lambda: {"score": task.epoch % 5}, **settings)

    def dies():
        # Saves: last after 1, 2; best after 3, last; best after 4; the next is killed.
        monkeypatch.setattr(RunFolder, "save", killed_before("save", 5))
        run(tmp_path / "run", 4)

    assert in_a_fork(dies) == -signal.SIGKILL
    assert (kept(tmp_path / "run")["epoch"], kept(tmp_path / "run", "last")["epoch"]) == (4, 3)
    run(tmp_path / "run", 6, resume=True)
    run(tmp_path / "whole", 6)
    assert_same_runs(tmp_path / "run", tmp_path / "whole")
    assert kept(tmp_path / "run")["epoch"] == 3


def test_a_checkpoint_of_before_that_carries_nothing_stays(tmp_path):
    task = Toy()
    fitted(tmp_path / "run", task, scores(5.0), epochs=2, validate_every=3)
    run = RunFolder.open(tmp_path / "run")
    run.save("best", {key: value for key, value in run.load("best").items() if key != "before"})
    report = fitted(tmp_path / "run", Toy(), scores(4.0, 3.0), epochs=4, validate_every=3, resume=True)
    assert report.best["best"]["epoch"] == 2


def ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.usefixtures("hear_ctrl_c")
@pytest.mark.parametrize("at", [(0, 0), (2, 1), (3, 3), (5, 3)])
def test_ctrl_c_saves_after_the_step_and_the_run_goes_on_from_the_next(tmp_path, at):
    noisy(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        noisy(tmp_path / "run", at, ctrl_c)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    settings, batches, task = config(resume=True, **SCHEDULE), Targets(), Toy(0.3)
    fit(task, batches, settings, begin(tmp_path / "run", settings), score_of(task), KEEP)
    assert batches.asked[0] == (at[0], at[1] + 1)
    assert_same_runs(tmp_path / "run", tmp_path / "whole")


@pytest.mark.usefixtures("hear_ctrl_c")
def test_ctrl_c_during_validation_keeps_the_epochs_steps(tmp_path):
    noisy(tmp_path / "whole")
    task, settings = Toy(0.3), config(**SCHEDULE)

    def interrupted():
        if task.epoch == 2:
            ctrl_c()
        return score_of(task)()

    with pytest.raises(KeyboardInterrupt):
        fit(task, Targets(), settings, begin(tmp_path / "run", settings), interrupted, KEEP)
    state = kept(tmp_path / "run", "last")
    assert (state["epoch"], state["sums"]["step"]) == (2, 4)
    noisy(tmp_path / "run", resume=True)
    assert_same_runs(tmp_path / "run", tmp_path / "whole")


@pytest.mark.usefixtures("hear_ctrl_c")
@pytest.mark.parametrize("method", ["save", "write_log"])
def test_ctrl_c_while_an_epoch_is_written_waits_until_all_of_it_is(tmp_path, monkeypatch, method):
    real, calls = getattr(RunFolder, method), itertools.count()

    def interrupted(self, *args):
        if next(calls) == 1:
            ctrl_c()
        return real(self, *args)

    monkeypatch.setattr(RunFolder, method, interrupted)
    with pytest.raises(KeyboardInterrupt):
        noisy(tmp_path / "run")
    state = kept(tmp_path / "run", "last")
    assert (state["epoch"], state["sums"]["step"]) == (len(RunFolder.open(tmp_path / "run").log()), 0)


@pytest.mark.parametrize(
    "error", [RunError("another process ended. Resume."), FrameError("unreadable. Mend.")]
)
def test_an_error_during_validation_keeps_the_epochs_steps(tmp_path, error):
    noisy(tmp_path / "whole")
    task, settings = Toy(0.3), config(**SCHEDULE)

    def failing():
        if task.epoch == 2:
            raise error
        return score_of(task)()

    with pytest.raises(type(error)):
        fit(task, Targets(), settings, begin(tmp_path / "run", settings), failing, KEEP)
    state = kept(tmp_path / "run", "last")
    assert (state["epoch"], state["sums"]["step"]) == (2, 4)
    noisy(tmp_path / "run", resume=True)
    assert_same_runs(tmp_path / "run", tmp_path / "whole")


def test_every_rank_validates_with_the_buffers_of_the_first(tmp_path):
    done, task, settings = [], Toy(), config(epochs=2)

    class Spy(Ranks):
        def copy_buffers(self, module):
            assert module is task.module
            done.append("buffers")

    def validate():
        done.append("validated")
        return {"score": 0.0}

    fit(task, Targets(), settings, begin(tmp_path / "run", settings), validate, KEEP, Spy())
    assert done == 2 * ["buffers", "validated"]


def test_a_picture_of_the_whole_log_is_there_at_the_end(tmp_path):
    fitted(tmp_path / "run")
    assert (tmp_path / "run" / "curves.png").read_bytes() == b"5"


def test_long_fits_draw_it_in_between_too(tmp_path, monkeypatch):
    monkeypatch.setattr(fitting, "_SECONDS_BETWEEN_CURVES", 0.0)
    with pytest.raises(KeyboardInterrupt):
        noisy(tmp_path / "run", (3, 0), interrupt)
    assert (tmp_path / "run" / "curves.png").read_bytes() == b"3"


@pytest.mark.parametrize(("method", "calls"), [("save", range(8)), ("write_log", range(6))])
def test_kill_9_between_any_two_writes_and_resume_ends_as_if_nothing_had_happened(
    tmp_path, monkeypatch, method, calls
):
    noisy(tmp_path / "whole")
    for call in calls:
        run = tmp_path / f"run{call}"
        with monkeypatch.context() as patch:
            patch.setattr(RunFolder, method, killed_before(method, call))
            assert in_a_fork(lambda run=run: noisy(run)) == -signal.SIGKILL
        noisy(run, resume=True)
        assert_same_runs(run, tmp_path / "whole")


def test_resuming_continues_it_does_not_start_over(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        noisy(tmp_path / "run", (3, 1), interrupt)
    settings, batches, task = config(resume=True, **SCHEDULE), Targets(), Toy(0.3)
    fit(task, batches, settings, begin(tmp_path / "run", settings), score_of(task), KEEP)
    assert batches.asked == [(3, 0), (4, 0), (5, 0)]


def test_a_finished_run_can_be_extended_and_resuming_it_as_it_is_changes_nothing(tmp_path):
    noisy(tmp_path / "run")
    before = (tmp_path / "run" / "last.pt").read_bytes()
    assert noisy(tmp_path / "run", resume=True).epochs == 6
    assert noisy(tmp_path / "run", resume=True, epochs=3).epochs == 6
    assert (tmp_path / "run" / "last.pt").read_bytes() == before
    assert noisy(tmp_path / "run", resume=True, epochs=9).epochs == 9
    noisy(tmp_path / "whole", epochs=9)
    assert_same_runs(tmp_path / "run", tmp_path / "whole")


def test_a_run_that_was_never_validated_is_not_ended_early_but_says_how_to_go_on(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        noisy(tmp_path / "run", (2, 1), interrupt, validate_every=10)
    with pytest.raises(RunError, match=r"after epoch 2, before .* no best is chosen\. Give --epochs 3"):
        noisy(tmp_path / "run", resume=True, epochs=2, validate_every=10)
    assert noisy(tmp_path / "run", resume=True, epochs=3, validate_every=10).best["best"]["epoch"] == 3


def test_ranks_go_on_as_one_where_the_first_alone_has_the_folder(tmp_path, two_ranks):
    noisy(tmp_path / "rank0", epochs=2)

    def go_on():
        with joined_ranks() as ranks:
            run = RunFolder(tmp_path / f"rank{ranks.rank}", writes=ranks.is_first)
            task, batches = Toy(0.3), Targets()
            report = fit(task, batches, config(**SCHEDULE), run, None, KEEP, ranks)
            return report.epochs, batches.asked[0], task.module["w"].tolist()

    first, second = two_ranks(go_on)
    assert first == second
    assert first[:2] == (6, (2, 0))


def test_resuming_with_other_settings_is_refused_with_the_fields_named(tmp_path):
    noisy(tmp_path / "run")
    with pytest.raises(RunError, match="started with other settings") as caught:
        noisy(tmp_path / "run", resume=True, lr=0.5, batch_size=8)
    assert caught.value.offenders == ("batch_size: 8, not 32", "lr: 0.5, not 0.02")


def test_a_log_that_lacks_epochs_is_named_and_nothing_is_trained(tmp_path):
    noisy(tmp_path / "run")
    before = (tmp_path / "run" / "last.pt").read_bytes()
    for left in ("", (tmp_path / "run" / "log.jsonl").read_text().split("\n")[0] + "\n"):
        (tmp_path / "run" / "log.jsonl").write_text(left)
        with pytest.raises(
            RunError, match=rf"ends with epoch {len(left) and 1}, but last\.pt with 6\. Restore"
        ):
            noisy(tmp_path / "run", resume=True, epochs=9)
    assert (tmp_path / "run" / "last.pt").read_bytes() == before


def test_a_run_that_is_there_is_not_trained_over(tmp_path):
    noisy(tmp_path / "run")
    before = (tmp_path / "run" / "last.pt").read_bytes()
    with pytest.raises(RunError, match="already holds a run"):
        noisy(tmp_path / "run")
    assert (tmp_path / "run" / "last.pt").read_bytes() == before


class Dated(Toy):
    """Notes how much of the fit is done at each step."""

    def losses(self, batch, generator, done):
        self.done = [*getattr(self, "done", []), done]
        return super().losses(batch, generator, done)


def test_a_task_hears_what_share_of_the_fits_steps_is_taken(tmp_path):
    task = Dated()
    fitted(tmp_path / "run", task, epochs=2)
    steps = len(task.done)
    assert steps > 2 and task.done == pytest.approx([step / steps for step in range(steps)])
