"""Tests of optional packages."""

import sys

import pytest

from tcam_cache.errors import ExtraError
from tcam_cache.extras import optional


def test_a_package_that_is_there_is_returned():
    assert optional("json", "none") is sys.modules["json"]


def test_a_package_that_is_missing_is_named_with_the_extra_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ExtraError, match=r'package av, .* Run `pip install "tcam-cache\[video\]"`'):
        optional("av", "video")
