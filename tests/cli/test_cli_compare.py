"""Tests of `tcam-cache compare`: the config that its stage is given."""

import json
from pathlib import Path

import pytest

from tcam_cache.config import CompareConfig
from tcam_cache.errors import ConfigError


def test_what_is_not_said_is_left_to_the_config(config_of):
    config = config_of("compare", "report", "--out", "comparison")
    assert config == CompareConfig(reports=("report",), out=Path("comparison"))


def test_every_option_and_any_number_of_reports_reach_their_settings(config_of):
    config = config_of(
        "compare", "a", "tcam=b", "runs/lr=0.1/c", "--out", "d", "--baseline", "a", "--resamples", 200,
        "--seed", 3, "--overwrite",
    )  # fmt: skip
    assert config == CompareConfig(
        reports=("a", "tcam=b", "runs/lr=0.1/c"),
        out=Path("d"),
        baseline="a",
        resamples=200,
        seed=3,
        overwrite=True,
    )


@pytest.mark.parametrize(
    ("written", "expected"), [('["a", "b=c"]', ("a", "b=c")), ('"a"', ("a",)), ("['a', 1]", ("a", "1"))]
)
def test_a_config_file_may_list_the_reports(config_of, tmp_path, written, expected):
    (tmp_path / "c.toml").write_text(f'reports = {written}\nout = "d"\n')
    assert config_of("compare", "--config", tmp_path / "c.toml").reports == expected
    assert config_of("compare", "x", "y", "--config", tmp_path / "c.toml").reports == ("x", "y")


def test_a_list_of_lists_in_a_config_file_is_refused(config_of, tcam, tmp_path):
    config_of("compare", "a", "--out", "d")
    (tmp_path / "c.toml").write_text('reports = [["a"]]\n')
    result = tcam("compare", "--out", "d", "--config", tmp_path / "c.toml")
    assert result.exit_code == 2 and "values that no option takes" in result.stderr


@pytest.mark.parametrize("words", [["--out", "d"], ["a", "--out", "d", "--resamples", "5"]])
def test_no_report_and_too_few_resamples_are_wrong_usage(config_of, tcam, words):
    config_of("compare", "a", "--out", "d")
    result = tcam("compare", *words)
    assert (result.exit_code, result.stdout) == (2, "")


def test_from_python_reports_may_be_paths_and_a_list_and_survive_json():
    config = CompareConfig(reports=[Path("a"), "tcam=b"], out="d")
    assert config.reports == ("a", "tcam=b")
    assert CompareConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize(
    ("reports", "said"),
    [((), "Give at least one"), (("a", ""), "got ''"), (("a", 3), "got 3"), ("a", "expected tuple")],
)
def test_reports_that_are_none_are_refused(reports, said):
    with pytest.raises(ConfigError) as caught:
        CompareConfig(reports=reports, out="d")
    assert said in str(caught.value)
