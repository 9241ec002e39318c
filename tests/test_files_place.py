"""Tests of where a cache may lie: a folder or a URL."""

from pathlib import Path

import pytest

from tcam_cache.errors import ConfigError
from tcam_cache.files import local_path, parse_place


@pytest.mark.parametrize(
    "url",
    [
        "s3://bucket",
        "s3://bucket/a b/c",
        "memory://",
        "S3://bucket",
        "abfs+x://c@a/b",
        "simplecache::s3://b/c",
    ],
)
def test_a_url_stays_as_it_is(url):
    assert parse_place(url) == url


@pytest.mark.parametrize("url", ["s3://bucket/c/", "s3://bucket/c//"])
def test_a_slash_at_its_end_is_dropped(url):
    assert parse_place(url) == "s3://bucket/c"


@pytest.mark.parametrize(
    "text", ["cams", "../cams", "/data/cams", "~/s3", "a:b", "s3:cams", "x/s3://y", "://c"]
)
def test_any_other_text_is_a_folder(text):
    assert parse_place(text) == Path(text)


def test_a_url_of_a_file_is_that_folder():
    assert (
        parse_place("file:///data/my cams") == parse_place("local:///data/my cams") == Path("/data/my cams")
    )
    assert parse_place("file://cams") == Path("cams")


def test_a_url_that_went_through_path_is_refused_for_it_lost_a_slash():
    with pytest.raises(ConfigError, match=r"got the path 's3:/bucket/c'\. Give a URL as text"):
        parse_place(Path("s3://bucket/c"))


@pytest.mark.parametrize("given", ["s3://bucket/a.h5", "memory://a.h5", Path("s3://bucket/a.h5")])
def test_where_only_this_machine_will_do_a_url_is_refused_by_its_name(given):
    with pytest.raises(ConfigError, match=r"got the (URL |path ')\S+a\.h5"):
        local_path(given)


def test_where_only_this_machine_will_do_a_path_and_the_url_of_a_file_are_paths():
    assert local_path("a/b.h5") == local_path(Path("a/b.h5")) == local_path("file://a/b.h5") == Path("a/b.h5")
