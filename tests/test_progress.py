import io
import sys

import pytest

from tcam_cache.progress import QUIET, is_main_process, progress_bar


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


def test_it_is_silent_where_stderr_is_no_terminal(monkeypatch):
    assert shown(monkeypatch, io.StringIO()) == ""


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
