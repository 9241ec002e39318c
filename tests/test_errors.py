import copy
import pickle

import pytest

from tcam_cache import errors
from tcam_cache.errors import SHOWN_OFFENDERS, ConfigError, FrameError, TcamCacheError

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]


def test_a_message_comes_first_and_each_offender_on_its_own_line():
    error = FrameError("2 frames cannot be read. Replace them.", ["a.jpg: empty", "b.jpg: truncated"])
    assert str(error) == "2 frames cannot be read. Replace them.\n  a.jpg: empty\n  b.jpg: truncated"


def test_without_offenders_the_message_stands_alone():
    assert str(ConfigError("no such thing.")) == "no such thing."
    assert ConfigError("no such thing.").offenders == ()


def test_all_offenders_are_kept_and_the_first_are_shown():
    names = [f"frame{number}" for number in range(SHOWN_OFFENDERS + 7)]
    error = FrameError("many.", iter(names))
    assert error.offenders == tuple(names)
    lines = str(error).splitlines()
    assert lines[SHOWN_OFFENDERS] == f"  {names[SHOWN_OFFENDERS - 1]}"
    assert lines[SHOWN_OFFENDERS + 1 :] == ["  ... and 7 more"]


def test_exactly_as_many_as_are_shown_leave_nothing_out():
    assert "more" not in str(FrameError("some.", ["x"] * SHOWN_OFFENDERS))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("carry", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_an_error_crosses_processes_with_its_message_and_offenders(kind, carry):
    error = kind("a message.", ["one", "two"])
    again = carry(error)
    assert type(again) is kind
    assert (again.message, again.offenders, str(again)) == (error.message, error.offenders, str(error))


def test_every_error_is_caught_by_its_one_ancestor():
    assert len(KINDS) == 14
    assert all(issubclass(kind, TcamCacheError) and kind.__doc__ for kind in KINDS)
