"""Stages replaced by ones that only keep the config they are given."""

import sys
import types

import pytest

STAGES = {
    "locate": ("locate", "locate"),
    "demo": ("demo", "run_demo"),
    "manifest": ("manifest", "index_dataset"),
    "classifier": ("classifier", "fit_classifier"),
    "build": ("build", "build_cache"),
    "train": ("train", "train_decoder"),
    "search": ("search", "search"),
    "evaluate": ("evaluate", "evaluate"),
    "compare": ("compare", "compare"),
    "reproduce": ("reproduce", "reproduce"),
    "predict": ("predict", "predict"),
    "inspect": ("inspect", "inspect_cache"),
    "verify": ("verify", "verify_cache"),
    "export": ("export", "export"),
    "import": ("import_", "import_cams"),
}


class Report:
    """What a replaced stage returns."""

    def to_json(self):
        return {"answer": 42}

    def to_text(self):
        return "the answer is 42"


@pytest.fixture
def replace_stage(monkeypatch):
    """Return a function that puts another one in place of a command's stage, so that nothing heavy loads."""

    def replace(command, stage):
        module, function = STAGES[command]
        fake = types.ModuleType(f"tcam_cache.stages.{module}")
        setattr(fake, function, stage)
        monkeypatch.setitem(sys.modules, fake.__name__, fake)

    return replace


@pytest.fixture
def config_of(replace_stage, tcam):
    """Return a function that runs a command and returns the config that its stage was given."""

    def run(command, *args):
        seen = []
        replace_stage(command, lambda config: seen.append(config) or Report())
        result = tcam(command, *args)
        assert result.exit_code == 0, result.output
        return seen.pop()

    return run
