import io
import sys

import pytest

from tcam_cache import progress
from tcam_cache.progress import QUIET, ProgressLines, count_known, is_main_process, progress_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(monkeypatch, stream, **options):
    monkeypatch.setattr(sys, "stderr", stream)
    with progress_bar(10, "CAMs", "frame", **options) as bar:
        bar.update(2)
        bar.refresh()
    return stream.getvalue()


def test_on_a_terminal_it_says_what_is_done_how_far_and_at_what_rate(monkeypatch):
    text = shown(monkeypatch, Terminal())
    assert "CAMs" in text
    assert "2/10" in text
    assert "frames/s" in text


def test_what_was_done_before_counts_in_the_bar(monkeypatch):
    assert "9/10" in shown(monkeypatch, Terminal(), done=7)


@pytest.fixture
def in_a_pipe(monkeypatch):
    """Return a function that does work of so many seconds a step and returns what a pipe was told."""

    def work(seconds, total, done=0):
        now = [100.0]
        monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
        monkeypatch.setattr(sys, "stderr", stream := io.StringIO())
        with progress_bar(total, "CAMs", "frame", done) as bar:
            for step in seconds:
                now[0] += step
                bar.update(10)
        return stream.getvalue().splitlines()

    return work


def test_in_a_pipe_work_that_ends_soon_says_nothing(in_a_pipe):
    assert in_a_pipe([1.0] * 29, 290) == []


def test_in_a_pipe_a_line_comes_every_half_minute_with_what_is_done_and_left(in_a_pipe):
    assert in_a_pipe([10.0] * 7, 2070, done=2000) == [
        "CAMs: 2,030 of 2,070 frames, 1 frames/s, 00:40 left",
        "CAMs: 2,060 of 2,070 frames, 1 frames/s, 00:10 left",
        "CAMs: 2,070 of 2,070 frames, 1 frames/s, 00:00 left",
    ]


def test_in_a_pipe_slow_steps_and_unknown_totals_are_told_as_well(in_a_pipe):
    assert in_a_pipe([400.0], 3000) == ["CAMs: 10 of 3,000 frames, 0.025 frames/s, 33:13:20 left"]
    assert in_a_pipe([40.0], None) == ["CAMs: 10 frames, 0.25 frames/s"]


def test_in_a_pipe_it_is_silent_when_told_to_be(in_a_pipe):
    token = QUIET.set(True)
    try:
        assert in_a_pipe([100.0] * 3, 30) == []
    finally:
        QUIET.reset(token)


def test_it_is_silent_on_a_terminal_when_told_to_be(monkeypatch):
    token = QUIET.set(True)
    try:
        assert shown(monkeypatch, Terminal()) == ""
    finally:
        QUIET.reset(token)


def test_an_unknown_total_is_counted_all_the_same(monkeypatch):
    monkeypatch.setattr(sys, "stderr", stream := Terminal())
    with progress_bar(None, "frames", "frame") as bar:
        bar.update(3)
        bar.refresh()
    assert "3 frames" in stream.getvalue()


def test_an_error_inside_passes_through():
    with pytest.raises(ValueError, match="mine"), progress_bar(3, "x", "y"):
        raise ValueError("mine")


def test_of_what_torchrun_starts_the_first_process_speaks(monkeypatch):
    monkeypatch.setenv("RANK", "1")  # that of something else
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert is_main_process()
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "7")
    assert not is_main_process()
    monkeypatch.setenv("RANK", "0")
    assert is_main_process()


def test_what_was_done_before_counts_in_the_bar_and_not_in_the_rate():
    lines = ProgressLines(10, "boxes", "frame", 0)
    count_known(lines, 4)
    lines.update(1)
    assert (lines.first, lines.done) == (4, 5)


def test_what_was_done_before_is_no_matter_where_nothing_is_shown():
    token = QUIET.set(True)
    try:
        with progress_bar(10, "boxes", "frame") as bar:
            count_known(bar, 4)
            bar.update(1)
    finally:
        QUIET.reset(token)
