"""Tests of what all commands share: help, exit codes, --json, --config, --quiet, Ctrl-C."""

import importlib
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from tcam_cache.errors import CacheError
from tcam_cache.version import __version__

EXECUTABLE = Path(sys.executable).with_name("tcam-cache")
SHARED = ["--config", "--quiet", "--json", "--help"]
# These compute nothing and draw nothing at random.
WITHOUT_DEVICE_AND_SEED = ("verify", "export", "import")
# It draws at random, on no device.
WITHOUT_DEVICE = ("compare",)
FITTED = [
    "--train-split", "--val-split", "--epochs", "--batch-size", "--lr", "--frames-per-shot", "--select",
    "--validate-every", "--resume", "--root", "--out", "--image-size",
]  # fmt: skip
OPTIONS = {
    "locate": ["FOOTAGE", "--out", "--effort", "--annotations", "--train", "--dry-run"],
    "demo": ["OUT"],
    "manifest": ["--layout", "--out", "--annotations", "--check"],
    "classifier": ["MANIFEST", "--arch", "--weights", "--output-stride", "--freeze-backbone", *FITTED],
    "build": [
        "MANIFEST", "--classifier", "--out", "--method", "--every", "--shard", "--jobs", "--dry-run",
        "--root",
    ],
    "train": [
        "MANIFEST", "--cache", "--preset", "--neighbours", "--fg-top", "--bg-low", "--pixels", *FITTED,
    ],
    "search": ["MANIFEST", "--cache", "--preset", "--neighbours", "--grid", "--jobs", *FITTED],
    "evaluate": ["MANIFEST", "--run", "--cache", "--split", "--threshold", "--boxes", "--out", "--root"],
    "compare": ["REPORT...", "--out", "--baseline", "--resamples", "--seed", "--overwrite"],
    "reproduce": ["TABLE", "MANIFEST", "--out", "--seeds", "--jobs", "--preset", "--train", "--dry-run"],
    "predict": ["RUN", "--out"],
    "inspect": ["CACHE", "[SHOT]", "--png", "--gif", "--mp4", "--fps"],
    "verify": ["CACHE"],
    "export": ["CACHE", "[SHOT]", "--format", "--out"],
    "import": ["MANIFEST", "FOLDER", "--out", "--method", "--classifier", "--split", "--root"],
}  # fmt: skip
LEAST = {
    "locate": ["videos", "--out", "found"],
    "demo": ["out"],
    "manifest": ["data", "--layout", "folders", "--out", "m"],
    "classifier": ["m", "--out", "g.pt"],
    "build": ["m", "--classifier", "g.pt", "--out", "cache"],
    "train": ["m", "--cache", "cache", "--out", "run"],
    "search": ["m", "--cache", "cache", "--out", "search"],
    "evaluate": ["m", "--run", "run", "--out", "report"],
    "compare": ["report", "--out", "comparison"],
    "reproduce": ["table1", "m", "--out", "tables"],
    "predict": ["run", "images", "--out", "out"],
    "inspect": ["cache"],
    "verify": ["cache"],
    "export": ["cache", "--format", "h5", "--out", "cache.h5"],
    "import": ["m", "maps", "--out", "cache"],
}


def options_of(command):
    known = importlib.import_module(f"tcam_cache_cli.{command}").command.params
    return [param for param in known if isinstance(param, click.Option)]


every_command = pytest.mark.parametrize("command", OPTIONS)
with_device_and_seed = pytest.mark.parametrize(
    "command", [name for name in OPTIONS if name not in WITHOUT_DEVICE_AND_SEED + WITHOUT_DEVICE]
)


def test_help_lists_every_command_with_what_it_does(tcam):
    lines = tcam("--help").stdout.splitlines()
    listed = [line.split()[0] for line in lines[lines.index("Commands:") + 1 :]]
    assert listed == list(OPTIONS)
    assert all(len(line.split()) > 3 for line in lines[lines.index("Commands:") + 1 :])


def test_what_a_command_does_is_not_cut_on_a_narrow_terminal(tcam):
    listed = tcam("--help").stdout.partition("Commands:")[2]
    assert listed and "..." not in listed


@every_command
def test_help_of_a_command_has_examples_that_are_right(config_of, tcam, command):
    lines = [line for line in tcam(command, "--help").stdout.splitlines() if line.startswith("  tcam-cache ")]
    assert lines
    for line in lines:
        words = shlex.split(line)
        assert words[1] == command
        config_of(*words[1:])


@every_command
def test_help_lists_what_is_required_first_and_what_every_command_has_last(command):
    names = [param.name for param in options_of(command)]
    required = [param.name for param in options_of(command) if param.required]
    assert names[: len(required)] == required
    assert names[-3:] == ["config", "quiet", "as_json"]
    if command in WITHOUT_DEVICE_AND_SEED:
        assert not {"device", "seed"} & set(names)
    elif command in WITHOUT_DEVICE:
        assert "device" not in names and "seed" in names
    else:
        assert names[-5:-3] == ["device", "seed"]


def test_help_lists_a_command_s_own_options_before_those_it_shares_with_others():
    names = [param.name for param in options_of("search")]
    order = ["cache", "grid", "preset", "lr", "crf", "momentum", "resume", "root", "device"]
    assert sorted(order, key=names.index) == order


def options_by_section(text):
    """Return the flags under each title of a help text."""
    title, found = "", {}
    for line in text.splitlines():
        if line and line[0] != " " and line.endswith(":"):
            title = line[:-1]
        elif title and (flag := re.match(r"  (?:-h, )?([\w-]+)", line)):
            found.setdefault(title, []).append(flag[1])
    return found


@pytest.mark.parametrize("command", ["train", "search"])
def test_help_of_training_is_divided_and_every_option_stands_in_one_section(tcam, command):
    sections = options_by_section(tcam(command, "--help").stdout)
    assert list(sections) == ["Everyday", "Method (Eq. 1 to 5)", "Optimiser", "Beyond the paper"]
    metavar = [flag for flags in sections.values() for flag in flags]
    assert sorted(metavar) == sorted([*(param.opts[0] for param in options_of(command)), "--help"])
    assert {"--cache", "--out", "--preset", "--epochs", "--resume", "--help"} <= set(sections["Everyday"])
    assert sections["Method (Eq. 1 to 5)"][0] == "--neighbours"
    assert "--lr" in sections["Optimiser"] and "--frames-together" in sections["Beyond the paper"]


@pytest.mark.parametrize("command", ["locate", "reproduce"])
def test_help_of_what_runs_every_stage_keeps_their_options_apart(tcam, command):
    assert list(options_by_section(tcam(command, "--help").stdout)) == ["Everyday", "Options of the stages"]


@pytest.mark.parametrize("command", sorted(set(OPTIONS) - {"train", "search", "locate", "reproduce"}))
def test_help_of_any_other_command_has_one_list_of_options(tcam, command):
    assert list(options_by_section(tcam(command, "--help").stdout)) == ["Options"]


def test_every_setting_that_a_section_names_exists():
    from tcam_cache_cli.train import SECTIONS

    names = [name for names in SECTIONS.values() for name in names]
    assert len(names) == len(set(names)) and set(names) <= {param.name for param in options_of("train")}


@every_command
def test_help_of_a_command_names_every_promised_option(tcam, command):
    metavar = tcam(command, "--help")
    assert metavar.exit_code == 0
    words = metavar.stdout.replace(",", " ").split()
    assert not set(OPTIONS[command] + SHARED) - set(words)


def test_the_installed_program_is_this_one_and_loads_no_torch_for_its_help():
    done = subprocess.run([EXECUTABLE, "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"tcam-cache, version {__version__}\n")
    script = (
        "import sys; from tcam_cache_cli.main import main\n"
        "for name in sys.argv[1:]: main([name, '--help'], standalone_mode=False)\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", script, *OPTIONS], capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


def test_python_m_is_the_same_program_and_carries_its_exit_code():
    def run(*args):
        return subprocess.run([sys.executable, "-m", "tcam_cache", *args], capture_output=True, text=True)

    assert run("--version").stdout == f"tcam-cache, version {__version__}\n"
    usage = run("train", "--help").stdout
    assert usage.startswith("Usage: python -m tcam_cache train ")
    wrong = run("trian")
    assert (wrong.returncode, wrong.stdout) == (2, "") and "Did you mean train" in wrong.stderr


@every_command
def test_the_result_is_text_or_with_json_parseable(config_of, tcam, command):
    config_of(command, *LEAST[command])
    assert tcam(command, *LEAST[command]).stdout == "the answer is 42\n"
    assert json.loads(tcam(command, *LEAST[command], "--json").stdout) == {"answer": 42}


@every_command
def test_a_named_error_is_one_message_and_exit_code_1(replace_stage, tcam, command):
    def stage(config):
        raise CacheError("there is no cache here. Build one.", ["bird/0001", "car/0002"])

    replace_stage(command, stage)
    message = "Error: there is no cache here. Build one.\n  bird/0001\n  car/0002\n"
    result = tcam(command, *LEAST[command])
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", message)
    result = tcam(command, *LEAST[command], "--json")
    assert (result.exit_code, result.stderr) == (1, message)
    assert json.loads(result.stdout) == {
        "error": "CacheError",
        "message": "there is no cache here. Build one.",
        "offenders": ["bird/0001", "car/0002"],
    }


@every_command
def test_of_several_processes_that_torchrun_started_only_those_of_train_begin(
    config_of, tcam, monkeypatch, command
):
    alone = config_of(command, *LEAST[command])
    monkeypatch.setenv("WORLD_SIZE", "2")  # that of something else
    assert config_of(command, *LEAST[command]) == alone
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "7")
    monkeypatch.setenv("RANK", "0")
    if command == "train":
        assert config_of(command, *LEAST[command]) == alone
    else:
        result = tcam(command, *LEAST[command])
        assert (result.exit_code, result.stdout) == (1, "")
        assert f"torchrun started 2 processes, but {command} is for one" in result.stderr
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert config_of(command, *LEAST[command]) == alone


@every_command
def test_ctrl_c_ends_with_130_and_says_how_to_go_on(replace_stage, tcam, command):
    def stage(config):
        raise KeyboardInterrupt

    replace_stage(command, stage)
    result = tcam(command, *LEAST[command])
    assert (result.exit_code, result.stdout) == (130, "")
    assert "run the same command again" in result.stderr and "--resume" in result.stderr


@every_command
def test_wrong_usage_ends_with_2_and_names_the_wrong_word(config_of, tcam, command):
    config_of(command, *LEAST[command])
    unknown = tcam(command, *LEAST[command], "--colour", "red")
    assert unknown.exit_code == 2 and "--colour" in unknown.stderr
    without = tcam(command, *LEAST[command][1:])
    assert without.exit_code == 2 and "Usage:" in without.stderr


@with_device_and_seed
def test_a_seed_that_is_none_is_wrong_usage(config_of, tcam, command):
    assert config_of(command, *LEAST[command], "--seed", 3).seed == 3
    not_a_number = tcam(command, *LEAST[command], "--seed", "red")
    assert not_a_number.exit_code == 2 and "--seed" in not_a_number.stderr and "red" in not_a_number.stderr
    out_of_range = tcam(command, *LEAST[command], "--seed", "-1")
    assert out_of_range.exit_code == 2 and "seed: got -1, expected at least 0" in out_of_range.stderr


REQUIRED = [
    (command, word) for command, words in LEAST.items() for word in words if word in ("--out", "--format")
] + [("train", "--cache"), ("search", "--cache")]


def without_option(command, option):
    words = LEAST[command]
    at = words.index(option)
    return words[:at] + words[at + 2 :]


@pytest.mark.parametrize(("command", "option"), REQUIRED)
def test_a_required_option_that_is_forgotten_is_named_and_a_config_file_may_hold_it(
    config_of, tcam, tmp_path, command, option
):
    config_of(command, *LEAST[command])
    given = without_option(command, option)
    forgotten = tcam(command, *given)
    assert (forgotten.exit_code, forgotten.stdout) == (2, "")
    assert f"Missing option '{option}'" in forgotten.stderr
    value = LEAST[command][LEAST[command].index(option) + 1]
    (tmp_path / "c.toml").write_text(f'{option[2:]} = "{value}"\n')
    assert config_of(command, *given, "--config", tmp_path / "c.toml") == config_of(command, *LEAST[command])


@every_command
def test_every_setting_without_a_default_is_among_those_forgotten_here(command):
    required = {param.opts[0] for param in options_of(command) if param.required}
    assert required == {option for name, option in REQUIRED if name == command}


@every_command
def test_a_path_that_is_empty_is_wrong_usage_and_not_the_folder_one_stands_in(config_of, tcam, command):
    words = LEAST[command]
    config_of(command, *words)
    # Every word but options and what takes one of some names.
    choices = ("folders", "h5", "table1")
    paths = [at for at, word in enumerate(words) if not word.startswith("--") and word not in choices]
    for at in paths:
        result = tcam(command, *words[:at], "", *words[at + 1 :])
        assert (result.exit_code, result.stdout) == (2, "") and "got nothing" in result.stderr


def test_a_path_that_is_empty_in_a_config_file_is_wrong_usage(config_of, tcam, tmp_path):
    config_of("build", *LEAST["build"])
    (tmp_path / "c.toml").write_text('out = ""\n')
    result = tcam("build", *without_option("build", "--out"), "--config", tmp_path / "c.toml")
    assert result.exit_code == 2 and "--out" in result.stderr and "got nothing" in result.stderr


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("trian", "train"),
        ("Build", "build"),
        ("manifset", "manifest"),
        ("evalute", "evaluate"),
        ("verfy", "verify"),
    ],
)
def test_a_command_that_is_none_ends_with_2_and_the_near_one_is_suggested(tcam, word, near):
    result = tcam(word, "m.jsonl", "--out", "run")
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"there is no command '{word}'. Did you mean {near}" in result.stderr


def test_to_a_command_that_is_near_to_none_all_are_named(tcam):
    result = tcam("xyzzy")
    assert result.exit_code == 2 and f"Those that exist: {', '.join(OPTIONS)}." in result.stderr


@pytest.mark.parametrize("word", ["", "--trian"])
def test_what_cannot_be_a_command_ends_with_2(tcam, word):
    result = tcam(word)
    assert (result.exit_code, result.stdout) == (2, "") and "Traceback" not in result.stderr


@with_device_and_seed
def test_values_of_a_config_file_are_used_and_a_flag_wins(config_of, command, tmp_path):
    (tmp_path / "c.toml").write_text('seed = 5\ndevice = "cpu"\n')
    config = config_of(command, *LEAST[command], "--config", tmp_path / "c.toml")
    assert (config.seed, config.device) == (5, "cpu")
    config = config_of(command, *LEAST[command], "--config", tmp_path / "c.toml", "--seed", 7)
    assert (config.seed, config.device) == (7, "cpu")


@pytest.mark.parametrize(
    ("command", "name"),
    [("build", "out"), ("train", "cache"), ("evaluate", "cache"), ("inspect", "cache"), ("verify", "cache")],
)
def test_a_cache_may_be_a_url_in_a_flag_and_in_a_config_file(config_of, tmp_path, command, name):
    url, minimum = "s3://bucket/cache", LEAST[command]
    if command == "evaluate":
        minimum = ["m", "--cache", "cache", "--out", "report"]
    given = [url if word == "cache" else word for word in minimum]
    assert getattr(config_of(command, *given), name) == url
    assert getattr(config_of(command, *minimum), name) == Path("cache")
    without = [word for word in minimum if word not in ("cache", f"--{name}" if name == "cache" else "")]
    if command == "build":
        without = ["m", "--classifier", "g.pt"]
    (tmp_path / "c.toml").write_text(f'{name} = "{url}/"\n')
    assert getattr(config_of(command, *without, "--config", tmp_path / "c.toml"), name) == url


@pytest.mark.parametrize("given", [["m", "--classifier", "s3://b/g.pt", "--out", "c"]])
def test_what_is_no_cache_is_refused_as_a_url(config_of, tcam, given):
    config_of("build", *LEAST["build"])
    result = tcam("build", *given)
    assert result.exit_code == 2 and "classifier: got the URL s3:/b/g.pt" in result.stderr


def test_a_config_file_may_hold_arguments_flags_and_names_with_dashes(config_of, tmp_path):
    (tmp_path / "c.toml").write_text(
        'manifest = "m"\nclassifier = "g.pt"\nout = "cache"\nimage-size = 96\ndry_run = true\nquiet = true\n'
    )
    config = config_of("build", "--config", tmp_path / "c.toml")
    assert (config.manifest, config.out, config.image_size) == (Path("m"), Path("cache"), 96)
    assert config.dry_run


def test_json_may_stand_in_a_config_file(config_of, tcam, tmp_path):
    (tmp_path / "c.toml").write_text("json = true\n")
    config_of("verify", "cache")
    assert json.loads(tcam("verify", "cache", "--config", tmp_path / "c.toml").stdout) == {"answer": 42}


@every_command
def test_unknown_names_in_a_config_file_are_all_named(config_of, tcam, command, tmp_path):
    config_of(command, *LEAST[command])
    (tmp_path / "c.toml").write_text("colour = 1\nquiet = true\nshape = 2\n[shade]\nepochs = 3\n")
    result = tcam(command, *LEAST[command], "--config", tmp_path / "c.toml")
    assert result.exit_code == 2 and "colour, shade, shape" in result.stderr


@pytest.mark.parametrize("value", ["1.5", "true", '"many"', "[1]"])
def test_a_value_of_another_kind_in_a_config_file_is_refused(config_of, tcam, tmp_path, value):
    config_of("build", *LEAST["build"])
    (tmp_path / "c.toml").write_text(f"batch_size = {value}\n")
    result = tcam("build", *LEAST["build"], "--config", tmp_path / "c.toml")
    assert result.exit_code == 2 and "--batch-size" in result.stderr


@pytest.mark.parametrize("content", [b"seed = ", b"\xff\xfe\x00", b"# \xe9", b"s\0e\0", None])
def test_a_config_file_that_cannot_be_read_is_named(config_of, tcam, tmp_path, content):
    config_of("verify", "cache")
    if content is not None:
        (tmp_path / "c.toml").write_bytes(content)
    result = tcam("verify", "cache", "--config", tmp_path / "c.toml")
    assert result.exit_code == 2 and "c.toml" in result.stderr


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_config_file_is_read_as_any_editor_saves_it(config_of, tmp_path, encoding):
    mark = "\ufeff" if encoding.startswith("utf-16-") else ""
    (tmp_path / "c.toml").write_bytes(f'{mark}seed = 5\r\nroot = "d\u00e9j\u00e0"\r\n'.encode(encoding))
    config = config_of("build", *LEAST["build"], "--config", tmp_path / "c.toml")
    assert (config.seed, config.root) == (5, Path("d\u00e9j\u00e0"))


def test_values_that_no_option_takes_are_named_at_once(config_of, tcam, tmp_path):
    config_of("train", *LEAST["train"])
    (tmp_path / "c.toml").write_text(
        "crf = false\nepochs = [1]\nlr = true\nroot = 2020-01-01\n[window]\na = 1\n"
    )
    result = tcam("train", *LEAST["train"], "--config", tmp_path / "c.toml")
    said = " ".join(result.stderr.replace("\n", " ").split())
    assert result.exit_code == 2 and "--crf" not in said
    for name in ("--epochs = [1]", "--lr = True", "--root = datetime.date", "--window = {'a': 1}"):
        assert name in said


def test_quiet_is_silent_on_stderr_and_loud_without(tcam, small_data, tmp_path):
    arguments = ["manifest", small_data, "--layout", "folders", "--out", tmp_path / "m"]
    assert "single frame" in tcam(*arguments).stderr
    quiet = tcam(*arguments, "--quiet")
    assert (quiet.stderr, quiet.exit_code) == ("", 0) and "3 classes" in quiet.stdout


def test_quiet_still_says_warnings(tcam, small_data, tmp_path):
    (tmp_path / "data/empty").mkdir(parents=True)
    (tmp_path / "data/dog").symlink_to(small_data / "dog")
    result = tcam("manifest", tmp_path / "data", "--layout", "folders", "--out", tmp_path / "m", "--quiet")
    assert "1 class(es) with no video left out, such as empty" in result.stderr
