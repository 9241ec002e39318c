import os
import signal
import threading
import time

import pytest

from tcam_cache.progress import Timer, held_interrupts

pytestmark = pytest.mark.usefixtures("hear_ctrl_c")


def ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


def test_the_first_ctrl_c_waits_for_the_end_of_the_block():
    done = []
    with pytest.raises(KeyboardInterrupt), held_interrupts() as interrupted:
        done.append(interrupted())
        ctrl_c()
        done.append(interrupted())
    assert done == [False, True]


def test_the_second_one_does_not():
    with pytest.raises(KeyboardInterrupt), held_interrupts():
        ctrl_c()
        with pytest.raises(KeyboardInterrupt):
            ctrl_c()


@pytest.mark.parametrize("failing", [False, True])
def test_afterwards_ctrl_c_is_what_it_was(failing):
    try:
        with held_interrupts():
            if failing:
                raise ValueError
    except ValueError:
        pass
    with pytest.raises(KeyboardInterrupt):
        ctrl_c()


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda number, frame: None])
def test_who_handles_ctrl_c_otherwise_goes_on_doing_so(handler):
    signal.signal(signal.SIGINT, handler)
    with held_interrupts() as interrupted:
        assert signal.getsignal(signal.SIGINT) is handler
        ctrl_c()
        assert not interrupted()


def test_in_another_thread_nothing_is_held():
    told = []

    def work():
        with held_interrupts() as interrupted:
            told.append(interrupted())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert told == [False]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_every_few_seconds_it_is_due_once(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    timer = Timer(10.0)
    said = []
    for now[0] in (105.0, 110.0, 111.0, 119.0, 125.0, 134.0):
        said.append(timer.is_due())
    assert said == [False, True, False, False, True, False]
